/** Flow events as lines of text or JSON, for `weft flows` and `weft drops`. */

import type { FlowRecord } from '../agent/protocol/events.js';
import type { FlowsRequest } from '../agent/protocol/requests.js';
import { WeftError } from '../errors/problem.js';
import { formatEnd } from './commands/conntrack.js';
import { type AgentOptions, untilInterrupted, withAgents } from './connect.js';
import { InTime } from './in-time.js';
import { print } from './output.js';

/** `12:00:01.123 DENIED  TCP shop/web:40000 -> shop/db:3306 policy-ingress (isolated by shop/deny)`. */
export function formatFlow(flow: FlowRecord, wide = false): string {
  const time = wide ? flow.time : flow.time.slice(11, 23);
  const translated = flow.translated === undefined ? '' : ` (${formatEnd(flow.translated)})`;
  const ends = `${formatEnd(flow.source)} -> ${formatEnd(flow.destination)}${translated}`;
  const addresses = wide ? ` [${flow.source.address} -> ${flow.destination.address}]` : '';
  return `${time} ${flow.verdict.toUpperCase().padEnd(7)} ${flow.protocol} ${ends}${addresses}${reasonOf(flow)}`;
}

function reasonOf(flow: FlowRecord): string {
  const rules = flow.rules.map(({ policy, direction, rule }) => `${direction} ${policy}[${rule}]`).join(', ');
  if (flow.verdict === 'allowed') {
    if (rules !== '') return ` by ${rules}`;
    if (flow.exempt !== true) return ' not isolated';
    const own = (flow.translated ?? flow.destination).address === flow.source.address;
    return own ? ' a pod and itself' : ' a pod and its own node';
  }
  const isolated = flow.isolatedBy.length === 0 ? '' : ` (isolated by ${flow.isolatedBy.join(', ')})`;
  return ` ${flow.reason ?? ''}${isolated}`;
}

export type LineFormat = 'table' | 'wide' | 'json';

/** `--json` is `-o json`: one object a line. */
export interface LineOptions extends AgentOptions {
  readonly output: LineFormat;
  readonly json?: true;
}

/** For which events of several nodes are held, so that a slower node's come before later ones. Milliseconds. */
const held = 500;

/** Prints events until the subscription or the user ends it, those of several nodes by their time. JSON: one flow a line. */
export async function printFlows(
  options: LineOptions,
  request: Omit<FlowsRequest, 'id' | 'type'>,
): Promise<void> {
  const format = options.json === true ? 'json' : options.output;
  const lines = new InTime(held, () => performance.now(), print);
  // Without following there is an end, and all are printed in one order.
  const printing = request.follow ? setInterval(() => lines.flushRipe(), held / 5) : undefined;
  // A pod that is gone is remembered by the nodes that its flows passed; unknown is one that no node knows.
  const unknown: WeftError[] = [];
  try {
    const { answers } = await withAgents(options, (agent, node) =>
      untilInterrupted(agent, () =>
        agent
          .subscribe({ type: 'flows', ...request }, (event) => {
            if (event.event === 'lost') tellLost(event.count, node);
            if (event.event !== 'flow') return;
            const line = lineOf(event.flow, format, node);
            if (node === '') print(line);
            else lines.add(event.flow.time, line);
          })
          .catch((error: unknown) => {
            if (!(error instanceof WeftError) || error.code !== 'unknown-end') throw error;
            unknown.push(error);
          }),
      ),
    );
    if (unknown.length > 0 && unknown.length === answers.length) throw unknown[0];
  } finally {
    clearInterval(printing);
    lines.flush();
  }
}

function tellLost(count: number, node: string): void {
  const prefix = node === '' ? '' : `${node} `;
  process.stderr.write(`(${prefix}${count} events are missing here: more came than could be read)\n`);
}

function lineOf(flow: FlowRecord, format: LineFormat, node: string): string {
  if (format === 'json') return `${JSON.stringify({ ...(node === '' ? {} : { node }), ...flow })}\n`;
  return `${node === '' ? '' : `${node} `}${formatFlow(flow, format === 'wide')}\n`;
}
