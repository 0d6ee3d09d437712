/** `weft flows`: who talked to whom, what was decided, and by which policy and rule. */
import { type Command, Option } from 'commander';
import { withAgentOptions } from '../connect.js';
import { type LineOptions, printFlows } from '../flow-lines.js';
import { jsonOption, parsePodName } from '../output.js';

interface FlowsOptions extends LineOptions {
  readonly follow?: true;
  readonly denied?: true;
}

export function register(program: Command): void {
  withAgentOptions(
    program
      .command('flows')
      .description('Show new connections and denials with the policy and rule that decided.')
      .argument('[pod]', 'only those from or to [NAMESPACE/]POD')
      .option('-f, --follow', 'go on as they happen')
      .option('--denied', 'only what a policy denied')
      .addOption(lineFormatOption())
      .addOption(jsonOption()),
  ).action((pod: string | undefined, options: FlowsOptions) =>
    printFlows(options, {
      follow: options.follow === true,
      denied: options.denied === true,
      ...(pod === undefined ? {} : parsePodName(pod)),
    }),
  );
}

export function lineFormatOption(): Option {
  return new Option('-o, --output <format>', 'table, wide (addresses too) or json (one object a line)')
    .choices(['table', 'wide', 'json'])
    .default('table');
}
