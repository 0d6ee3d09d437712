/** `weft why` without files: the running switch's answer, told to a person. */
import type { AgentClient } from '../agent/client.js';
import type { WhyAnswer, WhyPort } from '../agent/protocol/answers.js';
import type { QuestionEnd } from '../agent/protocol/requests.js';
import { noise } from '../errors/drop-reasons.js';
import { WeftError } from '../errors/problem.js';
import { type End, endGrammar, isMisread, parseSource, parseTarget, withPort } from './ends.js';
import { formatFlow } from './flow-lines.js';
import { sideLines } from './policy/why.js';

export type LiveExplanation = Omit<WhyAnswer, 'type' | 'id'>;

/** Throws `usage`, and what the agent refuses. */
export async function askWhy(
  agent: AgentClient,
  fromText: string,
  toText: string,
  family: 4 | 6 | undefined,
): Promise<LiveExplanation> {
  const from = parseSource(fromText);
  if (isMisread(from)) throw new WeftError('usage', from.error);
  if (from.kind === 'service')
    throw new WeftError(
      'usage',
      `A Service starts no connections; name a pod, a node or an address. Write ${endGrammar}.`,
    );
  const target = parseTarget(toText);
  if (isMisread(target)) throw new WeftError('usage', target.error);
  const {
    type: _type,
    id: _id,
    ...answer
  } = await agent.request('why', {
    from: plain(from),
    to: plain(target.end),
    ...(target.port === undefined ? {} : { port: target.port }),
    ...(target.protocol === undefined ? {} : { protocol: target.protocol }),
    ...(family === undefined ? {} : { family }),
  });
  return answer;
}

/** A pod of the question whose node can answer it: the one that starts, else the one that is asked. null: neither is a pod. */
export function podOf(
  fromText: string,
  toText: string,
): { readonly namespace: string; readonly name: string } | null {
  const from = parseSource(fromText);
  if (!isMisread(from) && from.kind === 'pod') return from;
  const target = parseTarget(toText);
  return !isMisread(target) && target.end.kind === 'pod' ? target.end : null;
}

function plain(end: End): QuestionEnd {
  return end.kind === 'address' ? { kind: 'address', address: end.address.text } : end;
}

/** What several nodes say to one connection, which needs the leave of each. */
export interface WholeExplanation {
  readonly allowed: boolean | null;
  /** In the order of the packet's way. */
  readonly nodes: readonly LiveExplanation[];
  /** Nodes that have a say and did not answer; they leave nothing but a denial certain. */
  readonly failures?: readonly { readonly node: string; readonly message: string }[];
}

export function wholeOf(
  nodes: readonly LiveExplanation[],
  failures: readonly { readonly node: string; readonly message: string }[],
): WholeExplanation {
  const say = (what: boolean) => nodes.some(({ allowed }) => allowed === what);
  const allowed = say(false) ? false : failures.length > 0 ? null : say(true) ? true : null;
  return { allowed, nodes, ...(failures.length > 0 ? { failures } : {}) };
}

/** The verdict of all first, then what each node says. */
export function printWholeWhy({ allowed, nodes, failures = [] }: WholeExplanation): string {
  const lines = [`${wordOf(allowed)}: ${nodes[0]?.from} -> ${nodes[0]?.to}`];
  for (const answer of nodes)
    lines.push(
      `  node ${answer.node}: ${wordOf(answer.allowed).toLowerCase()}${answer.reason === undefined ? '' : `, ${answer.reason}`}`,
    );
  for (const { node, message } of failures) lines.push(`  node ${node}: did not answer: ${message}`);
  const asked = new Set([...nodes, ...failures].map(({ node }) => node));
  return [
    `${lines.join('\n')}\n`,
    ...nodes.map((answer) =>
      printLiveWhy({ ...answer, alsoAsk: answer.alsoAsk.filter((node) => !asked.has(node)) }, true),
    ),
  ].join('\n');
}

function wordOf(allowed: boolean | null): string {
  return allowed === null ? 'NO ANSWER' : allowed ? 'ALLOWED' : 'DENIED';
}

/** The answer as text. `part`: others have answered too. An ALLOWED that is not the whole verdict names its node at once. */
export function printLiveWhy(answer: LiveExplanation, part = false): string {
  const whose =
    part || (answer.allowed === true && answer.alsoAsk.length > 0) ? ` BY NODE ${answer.node}` : '';
  const lines = [
    `${wordOf(answer.allowed)}${whose}: ${answer.from} -> ${answer.to}`,
    `  (as the switch of node ${answer.node} enforces it now: revision ${answer.acknowledged}, generation ${answer.generation || '-'})`,
  ];
  if (answer.reason !== undefined) lines.push(`  ${answer.reason}`);
  for (const note of answer.notes) lines.push(`  (${note})`);
  for (const sentence of answer.unsettled) lines.push(`  Not settled: ${sentence}`);
  if (answer.alsoAsk.length > 0) lines.push(`  Ask on node ${answer.alsoAsk.join(' and ')}, too.`);
  if (answer.service !== undefined)
    lines.push(
      '',
      `  Service ${withFamily(answer.service)} is translated to ${backends(answer.flows.length)}.`,
    );
  for (const flow of answer.flows) {
    if (answer.service !== undefined || answer.flows.length > 1) {
      const address = withPort(flow.destination, flow.port);
      const name = flow.destinationName === flow.destination ? '' : ` (${flow.destinationName})`;
      const why = flow.reason === undefined ? '' : `, ${flow.reason}`;
      lines.push('', `  backend ${address}${name}: ${flow.allowed ? 'allowed' : 'denied'}${why}`);
    }
    for (const side of flow.sides) lines.push('', ...sideLines(side, flow));
  }
  const dropped = answer.ports.map(dropLine).filter((line) => line !== '');
  if (dropped.length > 0) lines.push('', '  Dropped so far of what these pods sent:', ...dropped);
  lines.push('', answer.recent.length === 0 ? '  No recent event of it.' : '  Latest events of it:');
  for (const flow of answer.recent) lines.push(`    ${formatFlow(flow)}`);
  return `${lines.join('\n')}\n`;
}

/** Without the chatter that every pod makes. */
function dropLine({ pod, drops }: WhyPort): string {
  const reasons = Object.entries(drops).filter(([reason]) => !noise.has(reason));
  if (reasons.length === 0) return '';
  return `    ${pod}: ${reasons.map(([reason, count]) => `${count} ${reason}`).join(', ')}`;
}

/** `shop/web:80/TCP/6`: a Service port has a name for each family. */
function withFamily(service: string): string {
  return service.replace(/\/([46])$/, ' over IPv$1');
}

function backends(count: number): string {
  return count === 0 ? 'no backend' : count === 1 ? 'one backend' : `one of ${count} backends`;
}
