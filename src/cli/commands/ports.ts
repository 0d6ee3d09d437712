/** `weft ports`: the pods on this node's switch with their counters. */
import type { Command } from 'commander';
import type { PortRow } from '../../agent/protocol/answers.js';
import { noise } from '../../errors/drop-reasons.js';
import { type AgentOptions, withAgentOptions, withAgents } from '../connect.js';
import {
  type Chosen,
  type Column,
  formatOf,
  formatOption,
  jsonOption,
  printNodeRows,
  shortNumber,
} from '../output.js';

export function register(program: Command): void {
  withAgentOptions(
    program
      .command('ports')
      .description("List the pods on this node's switch.")
      .addOption(formatOption())
      .addOption(jsonOption()),
  ).action(async (options: AgentOptions & Chosen) => {
    const { answers } = await withAgents(options, async (agent) =>
      (await agent.request('ports')).ports.toSorted(byName),
    );
    printNodeRows(formatOf(options), answers, columns);
  });
}

/** The node's own first. */
function byName(one: PortRow, other: PortRow): number {
  const [a, b] = [`${one.namespace}/${one.name}`, `${other.namespace}/${other.name}`];
  return a < b ? -1 : a > b ? 1 : 0;
}

const columns: readonly Column<PortRow>[] = [
  { title: 'NAMESPACE', value: ({ namespace }) => namespace || '-' },
  { title: 'NAME', value: ({ name, kind }) => (kind === 'host' ? `${name} (node)` : name) },
  { title: 'ADDRESSES', value: ({ addresses }) => addresses.join(' ') || '-' },
  { title: 'STATUS', value: ({ status, error }) => (error === undefined ? status : `${status}: ${error}`) },
  { title: 'RECEIVED', value: ({ received }) => count(received?.packets) },
  { title: 'SENT', value: ({ sent }) => count(sent?.packets) },
  {
    title: 'DROPPED',
    // What every pod's chatter comes to would hide what is wrong.
    value: ({ drops }) => count(drops && sum(drops, (reason) => !noise.has(reason))),
  },
  {
    title: 'NOISE',
    value: ({ drops }) => count(drops && sum(drops, (reason) => noise.has(reason))),
    wide: true,
  },
  { title: 'BYTES IN', value: ({ received }) => count(received?.bytes), wide: true },
  { title: 'BYTES OUT', value: ({ sent }) => count(sent?.bytes), wide: true },
  { title: 'CONNECTIONS', value: ({ connections }) => count(connections), wide: true },
  {
    title: 'CPU TIME',
    value: ({ workerSeconds }) => (workerSeconds === undefined ? '-' : `${workerSeconds.toFixed(2)}s`),
    wide: true,
  },
  {
    title: 'THROTTLED',
    value: ({ throttledSeconds }) =>
      throttledSeconds === undefined ? '-' : `${throttledSeconds.toFixed(1)}s`,
    wide: true,
  },
  { title: 'POLICED', value: ({ policedPackets }) => count(policedPackets), wide: true },
  { title: 'MTU', value: ({ mtu }) => mtu, wide: true },
  { title: 'INTERFACE', value: ({ ifname }) => ifname, wide: true },
  { title: 'MAC', value: ({ mac }) => mac, wide: true },
  { title: 'NETNS', value: ({ netns }) => netns || '-', wide: true },
];

function sum(drops: NonNullable<PortRow['drops']>, counts: (reason: string) => boolean): number {
  return Object.entries(drops).reduce(
    (all, [reason, packets = 0]) => all + (counts(reason) ? packets : 0),
    0,
  );
}

function count(value: number | undefined): string {
  return value === undefined ? '-' : shortNumber(value);
}
