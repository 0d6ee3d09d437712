/**
 * Flow events on their way to observers: named, remembered for a while, handed to those who follow. An observer that does not read
 * loses events and is told how many; it never slows the agent or costs memory.
 */
import type { FlowEvent as SwitchFlow, RuleName as SwitchRule } from '../dataplane/protocol/events.js';
import { type Names, protocolName } from './names.js';
import type { FlowRecord, RuleName } from './protocol/events.js';

export interface FlowFilter {
  /** Only what a policy denied. */
  readonly denied?: boolean;
  /** Only what was dropped, for whatever reason. */
  readonly drops?: boolean;
  /** Only those from or to such pods, by key (`namespace/name`). */
  readonly pod?: (key: string) => boolean;
}

export interface FlowObserver {
  readonly filter: FlowFilter;
  flow(record: FlowRecord): void;
  lost(count: number): void;
}

export class Flows {
  readonly #names: Names;
  readonly #capacity: () => number;
  /** Oldest first; the front is cut in halves, so that adding costs nothing. */
  #history: FlowRecord[] = [];
  readonly #observers = new Set<FlowObserver>();

  constructor(names: Names, capacity: () => number) {
    this.#names = names;
    this.#capacity = capacity;
  }

  take(events: readonly SwitchFlow[], lost: number): readonly FlowRecord[] {
    if (lost > 0) for (const observer of this.#observers) observer.lost(lost);
    const records = events.map((event) => this.#record(event));
    const capacity = this.#capacity();
    for (const record of records) {
      this.#history.push(record);
      for (const observer of this.#observers) if (passes(observer.filter, record)) observer.flow(record);
    }
    if (this.#history.length > 2 * capacity) this.#history = this.#history.slice(-capacity || Infinity);
    return records;
  }

  /** The remembered flows that a filter lets pass, oldest first. */
  recent(filter: FlowFilter): readonly FlowRecord[] {
    const capacity = this.#capacity();
    return capacity === 0 ? [] : this.#history.slice(-capacity).filter((record) => passes(filter, record));
  }

  /** Whether a flow that is remembered is of the pod. */
  remembers(key: string): boolean {
    return this.recent({ pod: (other) => other === key }).length > 0;
  }

  /** Returns how to stop. */
  follow(observer: FlowObserver): () => void {
    this.#observers.add(observer);
    return () => this.#observers.delete(observer);
  }

  #record(event: SwitchFlow): FlowRecord {
    const rules = [event.egress, event.ingress].filter((rule) => rule !== undefined).map(ruleName);
    return {
      time: new Date(event.time).toISOString(),
      verdict: event.verdict,
      ...(event.reason === undefined ? {} : { reason: event.reason }),
      family: event.family,
      protocol: protocolName(event.protocol),
      source: this.#names.end(event.source.address, event.source.port),
      destination: this.#names.end(event.destination.address, event.destination.port),
      ...(event.translated === undefined
        ? {}
        : { translated: this.#names.end(event.translated.address, event.translated.port) }),
      rules,
      isolatedBy: event.isolatedBy ?? [],
      ...(event.exempt === true ? { exempt: true } : {}),
    };
  }
}

export function ruleName(rule: SwitchRule): RuleName {
  return { policy: rule.policy, direction: rule.direction, rule: rule.index };
}

function passes(filter: FlowFilter, record: FlowRecord): boolean {
  if (filter.denied === true && record.verdict !== 'denied') return false;
  if (filter.drops === true && record.verdict === 'allowed') return false;
  const { pod } = filter;
  return pod === undefined || podsOf(record).some(pod);
}

/** Keys of the pods at its ends. */
function podsOf({ source, destination, translated }: FlowRecord): readonly string[] {
  return [source, destination, translated].flatMap((end) => (end?.kind === 'pod' ? [end.name] : []));
}
