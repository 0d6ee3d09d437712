/** Flow events as lines of text or JSON, for `weft flows` and `weft drops`. */

import type { FlowRecord } from '../agent/protocol/events.js';
import type { FlowsRequest } from '../agent/protocol/requests.js';
import type { AgentEvent } from '../agent/protocol.js';
import { formatEnd } from './commands/conntrack.js';
import { type AgentOptions, untilInterrupted, withAgents } from './connect.js';
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

/** Prints events until the subscription or the user ends it. JSON: one flow a line. */
export async function printFlows(
  options: LineOptions,
  request: Omit<FlowsRequest, 'id' | 'type'>,
): Promise<void> {
  const format = options.json === true ? 'json' : options.output;
  await withAgents(options, (agent, node) =>
    untilInterrupted(agent, () =>
      agent.subscribe({ type: 'flows', ...request }, (event) => printEvent(event, format, node)),
    ),
  );
}

function printEvent(event: AgentEvent, format: LineFormat, node: string): void {
  const prefix = node === '' ? '' : `${node} `;
  if (event.event === 'lost')
    process.stderr.write(`(${prefix}${event.count} events are missing here: more came than could be read)\n`);
  else if (event.event === 'flow')
    print(
      format === 'json'
        ? `${JSON.stringify({ ...(node === '' ? {} : { node }), ...event.flow })}\n`
        : `${prefix}${formatFlow(event.flow, format === 'wide')}\n`,
    );
}
