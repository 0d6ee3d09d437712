/** `weft conntrack`: the connections that the switch tracks. */
import { type Command, InvalidArgumentError } from 'commander';
import type { AgentClient } from '../../agent/client.js';
import type { ConnectionRow } from '../../agent/protocol/answers.js';
import type { FlowEnd } from '../../agent/protocol/events.js';
import { type AgentOptions, withAgentOptions, withAgents, withPodAgent } from '../connect.js';
import {
  type Chosen,
  type Column,
  formatOf,
  formatOption,
  jsonOption,
  parsePodName,
  printNodeRows,
  shortDuration,
  shortNumber,
} from '../output.js';

interface ConntrackOptions extends AgentOptions, Chosen {
  readonly limit: number;
}

export function register(program: Command): void {
  withAgentOptions(
    program
      .command('conntrack')
      .description('List the connections that the switch tracks.')
      .argument('[pod]', 'only those of [NAMESPACE/]POD')
      .option('--limit <count>', 'at most this many', wholeNumber, 1000)
      .addOption(formatOption())
      .addOption(jsonOption()),
  ).action(async (pod: string | undefined, options: ConntrackOptions) => {
    const request = { limit: options.limit, ...(pod === undefined ? {} : parsePodName(pod)) };
    const ask = async (agent: AgentClient) => (await agent.request('connections', request)).connections;
    if (pod === undefined) {
      const { answers } = await withAgents(options, ask);
      printNodeRows(formatOf(options), answers, columns);
    } else {
      const value = await withPodAgent(options, parsePodName(pod), ask);
      printNodeRows(formatOf(options), [{ node: '', value }], columns);
    }
  });
}

const columns: readonly Column<ConnectionRow>[] = [
  { title: 'PROTOCOL', value: ({ protocol }) => protocol },
  { title: 'STATE', value: ({ state }) => state },
  { title: 'SOURCE', value: ({ source }) => formatEnd(source) },
  { title: 'DESTINATION', value: ({ destination }) => formatEnd(destination) },
  { title: 'TO', value: ({ translated }) => (translated === undefined ? '-' : formatEnd(translated)) },
  { title: 'SENT', value: ({ packets }) => shortNumber(packets.original) },
  { title: 'REPLIED', value: ({ packets }) => shortNumber(packets.reply) },
  { title: 'AGE', value: ({ ageSeconds }) => shortDuration(ageSeconds) },
  { title: 'EXPIRES', value: ({ expiresSeconds }) => shortDuration(expiresSeconds), wide: true },
  { title: 'BYTES SENT', value: ({ bytes }) => shortNumber(bytes.original), wide: true },
  { title: 'BYTES REPLIED', value: ({ bytes }) => shortNumber(bytes.reply), wide: true },
  {
    title: 'JUDGED AT',
    value: ({ generation }) => (generation === '0' ? 'next packet' : generation),
    wide: true,
  },
];

/** `shop/web:80`, `203.0.113.9:443`, `[2001:db8::1]:443`. */
export function formatEnd(end: FlowEnd): string {
  const name =
    end.name === '' || end.kind === 'external'
      ? end.address.includes(':') && end.port !== 0
        ? `[${end.address}]`
        : end.address
      : end.kind === 'service'
        ? `svc/${end.name}`
        : end.kind === 'node' || end.kind === 'forwarded'
          ? `${end.kind}/${end.name}`
          : end.name;
  return end.port === 0 ? name : `${name}:${end.port}`;
}

export function wholeNumber(text: string): number {
  if (!/^[1-9][0-9]{0,8}$/.test(text)) throw new InvalidArgumentError('It has to be a whole number above 0.');
  return Number(text);
}
