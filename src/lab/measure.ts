/** Sends planned probes and puts what came of them beside the expectation and what the switch said about it. */
import { setTimeout as pause } from 'node:timers/promises';
import type { FlowRecord } from '../agent/protocol/events.js';
import { WeftError } from '../errors/problem.js';
import type { KubernetesObject } from '../manifests/object.js';
import { parseAddress } from '../net/address.js';
import { sendProbes } from './engine.js';
import type { LineClient } from './line-client.js';
import {
  type Cell,
  denialKey,
  type Expectations,
  judgeProbes,
  mayBeTooSlow,
  type Party,
  type PlannedProbe,
  planProbes,
} from './matrix.js';
import type { Question } from './protocol.js';

/** What was expected to be let through and answered, and was not, gets this much longer before it counts. */
const secondLook = { timeout: 1500, retryTimeout: 3000, retries: 1 };
/** Milliseconds: how long the switch's last events may take on their way. */
const eventsDue = 60;

/** `events` is a connection to the agent that nobody else uses; the caller closes it. */
export async function measure(
  plan: readonly PlannedProbe[],
  expectations: Expectations,
  events: LineClient,
): Promise<Cell[]> {
  const denials = new Denials();
  await events.follow('flows', { follow: true, denied: true }, (line) => denials.take(line));
  const send = (probes: readonly PlannedProbe[], patience?: typeof secondLook) =>
    sendProbes(
      probes.map(({ from, protocol, destination, port }) => ({
        netns: from.netns,
        protocol,
        destination,
        port,
      })),
      patience,
    );
  const results = await send(plan);
  const again = judgeProbes(plan, results, expectations).flatMap((cell, i) =>
    mayBeTooSlow(cell) ? [i] : [],
  );
  if (again.length > 0) {
    const second = await send(
      again.map((i) => plan[i]!),
      secondLook,
    );
    for (const [i, index] of again.entries()) results[index] = second[i]!;
  }
  await pause(eventsDue);
  return judgeProbes(plan, results, expectations, denials.reports);
}

/** The probes of one question: one for each family that both ends have. */
export function planQuestion(
  question: Question,
  everybody: readonly Party[],
  objects: readonly KubernetesObject[],
): PlannedProbe[] {
  const { port, protocol } = question;
  const families = question.family === undefined ? ([4, 6] as const) : [question.family];
  const from = everybody.find(({ key }) => key === question.from);
  if (from === undefined) throw nobody(question.from);
  if (question.to.startsWith('svc/')) {
    const to = (key: string) => key === question.to;
    return planProbes([from], [], objects, { services: true, families, protocols: [protocol], to }).filter(
      (probe) => probe.port === port,
    );
  }
  const address = parseAddress(question.to)?.text;
  const to =
    everybody.find(({ key }) => key === question.to) ??
    everybody.find(({ addresses }) => addresses.some(({ text }) => text === address));
  if (to === undefined) throw nobody(question.to);
  return planProbes([from], [{ ...to, ports: [{ protocol, port }] }], objects, { families });
}

function nobody(end: string): WeftError {
  return new WeftError(
    'lab-no-end',
    `Nobody here is called ${end}: neither a pod nor an external host. \`weft lab status -o wide\` lists who is.`,
  );
}

/** Gathers what the switch says about denied packets, by who wanted what. */
class Denials {
  readonly reports = new Map<string, { direction: 'egress' | 'ingress'; policies: readonly string[] }>();
  /** The agent begins with what it remembers; denials from before this measurement were made by other policies perhaps. */
  readonly #since = Date.now();

  take(line: Readonly<Record<string, unknown>>): void {
    if (line.event !== 'flow') return;
    const flow = line.flow as FlowRecord;
    if (Date.parse(flow.time) < this.#since) return;
    if (flow.reason !== 'policy-egress' && flow.reason !== 'policy-ingress') return;
    const direction = flow.reason === 'policy-egress' ? 'egress' : 'ingress';
    const { source, destination, protocol } = flow;
    this.reports.set(denialKey(source.address, destination.address, protocol, destination.port), {
      direction,
      policies: flow.isolatedBy,
    });
  }
}
