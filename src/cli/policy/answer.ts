/** Queries → answers through one engine: every query is resolved to flows, the engine answers all flows at once, answers are put together. */

import type { Directory } from '../../policy/directory.js';
import type { Flow, FlowVerdict, SideVerdict } from '../../policy/flow.js';
import { isMisread } from '../ends.js';
import type { Engine, EngineOptions } from './engine.js';
import { parseQuery, type Query } from './query.js';
import { type Resolved, resolveQuery } from './resolve.js';

/** One direction as it is printed: the verdict, and the rule's place as a field path. */
export interface SideAnswer extends SideVerdict {
  readonly path?: string;
}

export interface BackendAnswer {
  readonly address: string;
  readonly port: number;
  readonly allowed: boolean;
  readonly egress: SideAnswer;
  readonly ingress: SideAnswer;
}

export interface Answer {
  /** null: there is nothing to judge; `reason` says why. */
  readonly allowed: boolean | null;
  /** Of a Service, those of the first backend that is denied, else of the first. null where nothing was judged. */
  readonly egress: SideAnswer | null;
  readonly ingress: SideAnswer | null;
  readonly family?: 4 | 6;
  readonly reason?: string;
  /** The query itself is malformed. */
  readonly error?: string;
  /** Every ready backend of the Service; allowed only if all of them are. */
  readonly backends?: readonly BackendAnswer[];
}

/** Answers JSON queries, in their order. */
export function answerAll(
  directory: Directory,
  engine: Engine,
  queries: readonly unknown[],
  options: EngineOptions,
): Answer[] {
  const parsed = queries.map(parseQuery);
  const flows: Flow[] = [];
  const resolved = parsed.map((query): Resolved | { error: string } => {
    if (isMisread(query)) return query;
    const result = resolveQuery(directory, query, options.ownNodeEgress);
    for (const flow of flowsOf(result)) flows.push(flow);
    return result;
  });
  const verdicts = engine(flows);
  let next = 0;
  return resolved.map((result) => {
    if ('error' in result) return { allowed: null, egress: null, ingress: null, error: result.error };
    const count = flowsOf(result).length;
    const answer = answerOf(result, verdicts.slice(next, next + count));
    next += count;
    return answer;
  });
}

export function answerOne(
  directory: Directory,
  engine: Engine,
  query: Query,
  options: EngineOptions,
): { resolved: Resolved; answer: Answer } {
  const resolved = resolveQuery(directory, query, options.ownNodeEgress);
  return { resolved, answer: answerOf(resolved, engine(flowsOf(resolved))) };
}

function flowsOf(resolved: Resolved): readonly Flow[] {
  if (resolved.kind === 'none' || resolved.kind === 'own-node') return [];
  return resolved.kind === 'flow' ? [resolved.flow] : resolved.flows;
}

function answerOf(resolved: Resolved, verdicts: readonly FlowVerdict[]): Answer {
  if (resolved.kind === 'none') {
    return { allowed: resolved.allowed, egress: null, ingress: null, reason: resolved.reason };
  }
  if (resolved.kind === 'own-node') {
    const side = (reason: 'own-node' | 'no-pod'): SideAnswer => ({ allowed: true, reason, isolatedBy: [] });
    const leaves = resolved.direction === 'egress';
    return {
      allowed: true,
      egress: side(leaves ? 'own-node' : 'no-pod'),
      ingress: side(leaves ? 'no-pod' : 'own-node'),
    };
  }
  if (resolved.kind === 'flow') {
    const verdict = verdicts[0]!;
    return { ...judged(verdict), family: resolved.flow.source.family };
  }
  const backends = resolved.flows.map((flow, index) => ({
    address: flow.destination.text,
    port: flow.port,
    ...judged(verdicts[index]!),
  }));
  const shown = backends.find((backend) => !backend.allowed) ?? backends[0]!;
  return {
    allowed: backends.every((backend) => backend.allowed),
    egress: shown.egress,
    ingress: shown.ingress,
    family: resolved.flows[0]!.source.family,
    backends,
  };
}

function judged(verdict: FlowVerdict): { allowed: boolean; egress: SideAnswer; ingress: SideAnswer } {
  return {
    allowed: verdict.egress.allowed && verdict.ingress.allowed,
    egress: withPath(verdict.egress, 'egress'),
    ingress: withPath(verdict.ingress, 'ingress'),
  };
}

function withPath(side: SideVerdict, direction: 'egress' | 'ingress'): SideAnswer {
  return side.rule === undefined ? side : { ...side, path: `spec.${direction}[${side.rule}]` };
}
