/** `weft drops`: packets that the switch dropped, with the one reason of each; `--reasons` explains them all. */
import type { Command } from 'commander';
import { type DropReason, dropReasons } from '../../errors/drop-reasons.js';
import { withAgentOptions } from '../connect.js';
import { type LineOptions, printFlows } from '../flow-lines.js';
import { formatOf, jsonOption, parsePodName, printRows } from '../output.js';
import { lineFormatOption } from './flows.js';

interface DropsOptions extends LineOptions {
  readonly follow?: true;
  readonly reasons?: true;
}

export function register(program: Command): void {
  withAgentOptions(
    program
      .command('drops')
      .description('Show dropped packets, each with its reason.')
      .argument('[pod]', 'only those from or to NAMESPACE/POD')
      .option('-f, --follow', 'go on as they happen')
      .option('--reasons', 'list every drop reason with its meaning')
      .addOption(lineFormatOption())
      .addOption(jsonOption()),
  ).action(async (pod: string | undefined, options: DropsOptions) => {
    if (options.reasons === true) {
      printRows<DropReason>(formatOf(options), dropReasons, [
        { title: 'REASON', value: ({ name }) => name },
        { title: 'KIND', value: ({ kind }) => kind },
        { title: 'MEANING', value: ({ help }) => help },
      ]);
      return;
    }
    await printFlows(options, {
      follow: options.follow === true,
      drops: true,
      ...(pod === undefined ? {} : parsePodName(pod)),
    });
  });
}
