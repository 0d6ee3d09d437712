/** `weft uninstall`: takes weft off this host. */
import { type Command, Option } from 'commander';
import { uninstall } from '../../agent/uninstall.js';
import { loadConfig } from '../../config/load.js';
import { type RunOptions, withRunOptions } from '../connect.js';
import { needHostRoot } from '../host-root.js';
import { formatOption, formatTable, print, printData } from '../output.js';

interface UninstallOptions extends RunOptions {
  readonly hostRoot?: string;
  readonly output: 'table' | 'json' | 'yaml';
}

export function register(program: Command): void {
  withRunOptions(
    program
      .command('uninstall')
      .description(
        'Take weft off this host: interfaces, nft table, rules, kernel settings, CNI programs and configuration, files of network managers, the run directory.',
      )
      .addOption(
        new Option(
          '--host-root <folder>',
          "where the host's file system is mounted, in a container (default: host.root of the configuration)",
        ),
      )
      .addOption(formatOption(null)),
  )
    .addHelpText(
      'after',
      '\nStop agent and switch first; pods that still run lose their network. May be repeated. Ends with 1 where something was left.\n',
    )
    .action(async (options: UninstallOptions) => {
      const overrides = options.runDir === undefined ? {} : { paths: { run: options.runDir } };
      const config = await loadConfig(options.config, overrides);
      const done = await uninstall(config, needHostRoot(options.hostRoot ?? config.host.root));
      if (done.some(({ state }) => state === 'left')) process.exitCode = 1;
      if (options.output !== 'table') {
        printData(options.output, done);
        return;
      }
      if (done.length === 0) print('There was nothing of weft on this host.');
      else
        print(
          formatTable(done, [
            { title: 'WHAT', value: ({ what }) => what },
            { title: 'STATE', value: ({ state, why }) => (why === undefined ? state : `${state}: ${why}`) },
          ]),
        );
    });
}
