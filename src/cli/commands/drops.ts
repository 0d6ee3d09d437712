/** `weft drops`: packets that the switch dropped, with the one reason of each; `--reasons` explains them all. */
import type { Command } from 'commander';
import type { AgentClient } from '../../agent/client.js';
import type { PortRow } from '../../agent/protocol/answers.js';
import { type DropReason, dropReasons, noise } from '../../errors/drop-reasons.js';
import { withAgentOptions, withAgents, withPodAgent } from '../connect.js';
import { type LineOptions, printFlows } from '../flow-lines.js';
import { type Column, formatOf, jsonOption, parsePodName, printNodeRows, printRows } from '../output.js';
import { lineFormatOption } from './flows.js';

interface DropsOptions extends LineOptions {
  readonly follow?: true;
  readonly reasons?: true;
  readonly counts?: true;
}

export function register(program: Command): void {
  withAgentOptions(
    program
      .command('drops')
      .description('Show dropped packets, each with its reason.')
      .argument('[pod]', 'only those from or to [NAMESPACE/]POD')
      .option('-f, --follow', 'go on as they happen')
      .option('--counts', 'count them instead, by the pod that sent them, since its port is there')
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
    if (options.counts === true) {
      await printCounts(pod, options);
      return;
    }
    await printFlows(options, {
      follow: options.follow === true,
      drops: true,
      ...(pod === undefined ? {} : parsePodName(pod)),
    });
  });
}

interface Count {
  /** `namespace/name`; of the node's own port `node/NAME`. */
  readonly pod: string;
  readonly reason: string;
  readonly kind: string;
  readonly packets: number;
}

/** Exact, where the events above are told at a bounded rate. */
async function printCounts(pod: string | undefined, options: DropsOptions): Promise<void> {
  const count = async (agent: AgentClient, wanted = {}) => {
    const { ports } = await agent.request('ports', wanted);
    return ports
      .flatMap(countsOf)
      .sort((a, b) => Number(noise.has(a.reason)) - Number(noise.has(b.reason)) || b.packets - a.packets);
  };
  if (pod === undefined) {
    const { answers } = await withAgents(options, (agent) => count(agent));
    printNodeRows(formatOf(options), answers, countColumns);
  } else {
    const wanted = parsePodName(pod);
    const value = await withPodAgent(options, wanted, (agent) => count(agent, wanted));
    printNodeRows(formatOf(options), [{ node: '', value }], countColumns);
  }
}

const kinds = new Map<string, string>(dropReasons.map(({ name, kind }) => [name, kind]));

function countsOf(port: PortRow): Count[] {
  const pod = port.kind === 'host' ? `node/${port.name}` : `${port.namespace}/${port.name}`;
  return Object.entries(port.drops ?? {}).map(([reason, packets = 0]) => ({
    pod,
    reason,
    kind: kinds.get(reason) ?? '',
    packets,
  }));
}

const countColumns: readonly Column<Count>[] = [
  { title: 'SENT BY', value: ({ pod }) => pod },
  { title: 'REASON', value: ({ reason }) => reason },
  { title: 'KIND', value: ({ kind }) => kind },
  { title: 'PACKETS', value: ({ packets }) => packets },
  {
    title: 'MEANING',
    value: ({ reason }) => dropReasons.find(({ name }) => name === reason)?.help ?? '',
    wide: true,
  },
];
