/** `weft install`: makes the container runtime of this host call weft. */
import { type Command, Option } from 'commander';
import { conflistName } from '../../cni/conflist.js';
import { builtPrograms, install } from '../../cni/installation.js';
import { findPlaces } from '../../cni/places.js';
import { loadConfig } from '../../config/load.js';
import { type RunOptions, withRunOptions } from '../connect.js';
import { needHostRoot } from '../host-root.js';
import { formatOption, formatTable, print, printData } from '../output.js';

interface InstallOptions extends RunOptions {
  readonly hostRoot: string;
  readonly cniBinDir?: string;
  readonly cniConfDir?: string;
  readonly programs: string;
  readonly force?: true;
  readonly output: 'table' | 'json' | 'yaml';
}

export function register(program: Command): void {
  withRunOptions(
    program
      .command('install')
      .description(
        'Make the container runtime of this host call weft: put the CNI programs and, last, the network configuration in place.',
      )
      .addOption(
        new Option(
          '--cni-bin-dir <folder>',
          "programs' folder (default: as the runtime has it, else /opt/cni/bin)",
        ),
      )
      .addOption(
        new Option(
          '--cni-conf-dir <folder>',
          "configurations' folder (default: as the runtime has it, else /etc/cni/net.d)",
        ),
      )
      .addOption(
        new Option('--host-root <folder>', "where the host's file system is mounted, in a container").default(
          '/',
        ),
      )
      .addOption(
        new Option('--programs <folder>', 'where weft-cni and loopback are').default(
          builtPrograms,
          'build/bin',
        ),
      )
      .addOption(new Option('--force', 'overwrite files that weft did not write'))
      .addOption(formatOption(null)),
  )
    .addHelpText(
      'after',
      `\nMay be repeated: what is in place already is left alone. The runtime takes the first configuration of its folder, ${conflistName}.\n`,
    )
    .action(async (options: InstallOptions) => {
      const overrides = options.runDir === undefined ? {} : { paths: { run: options.runDir } };
      const config = await loadConfig(options.config, overrides);
      const places = findPlaces(needHostRoot(options.hostRoot));
      const installed = install({
        root: options.hostRoot,
        bin: options.cniBinDir ?? places.bin,
        configurations: options.cniConfDir ?? places.configurations,
        runDir: config.paths.run,
        programs: options.programs,
        force: options.force === true,
      });
      if (options.output !== 'table') {
        printData(options.output, installed);
        return;
      }
      const words = { written: 'written', unchanged: 'in place', kept: 'kept, of another make' };
      print(
        formatTable(installed.files, [
          { title: 'FILE', value: ({ path }) => path },
          { title: 'STATE', value: ({ what }) => words[what] },
        ]),
      );
      if (installed.shadowedBy !== null)
        print(`The runtime takes ${installed.shadowedBy} before weft's: remove it, or rename it.`);
      else if (installed.others.length > 0)
        print(
          `Not used any more by the runtime: ${installed.others.join(', ')}. Running pods keep their network until they are recreated.`,
        );
    });
}
