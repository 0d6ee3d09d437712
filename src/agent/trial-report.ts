/**
 * What a trial has found so far: flows of the same ends, port and cause are one row. Bounded: beyond the rows allowed flows are only
 * counted, and a flow that is told again is known for as long as it is among the last ones.
 */
import type { RuleName as SwitchRule, TrialCounts, TrialEvent } from '../dataplane/protocol/events.js';
import { ruleName } from './flows.js';
import { type Names, protocolName } from './names.js';
import type { FlowEnd, TrialEnd, TrialRow, TrialTotals, TrialVerdict } from './protocol/events.js';

/** Flows that are known apart, to count each once. */
const mostFlows = 65_536;

type Growing = { -readonly [Field in keyof TrialRow]: TrialRow[Field] };

export class TrialReport {
  readonly #names: Names;
  readonly #ownerOf: (pod: string) => string;
  readonly #mostRows: number;
  readonly #rows = new Map<string, Growing>();
  /** Keys of rows that have changed since they were last taken. */
  readonly #changed = new Set<string>();
  /** In the order in which they came, the oldest goes first. */
  readonly #flows = new Set<string>();
  #counts: TrialCounts = { judged: 0, denied: 0, allowed: 0, unnamed: 0 };
  #lost = 0;
  #unlisted = 0;

  /** `ownerOf`: `namespace/pod` → `namespace/workload`. */
  constructor(names: Names, ownerOf: (pod: string) => string, mostRows: number) {
    this.#names = names;
    this.#ownerOf = ownerOf;
    this.#mostRows = mostRows;
  }

  take(events: readonly TrialEvent[], lost: number, counts: TrialCounts): void {
    this.#counts = counts;
    this.#lost += lost;
    for (const event of events) this.#add(event);
  }

  /** Rows that are new or have grown since the last call. */
  changed(): readonly TrialRow[] {
    const rows = [...this.#changed].map((key) => ({ ...this.#rows.get(key)! }));
    this.#changed.clear();
    return rows;
  }

  /** Rows that could not be told and have to be told again. */
  again(rows: readonly TrialRow[]): void {
    const ids = new Set(rows.map(({ id }) => id));
    for (const [key, { id }] of this.#rows) if (ids.has(id)) this.#changed.add(key);
  }

  get rows(): readonly TrialRow[] {
    return [...this.#rows.values()];
  }

  get totals(): TrialTotals {
    const { judged, denied, allowed, unnamed } = this.#counts;
    return { judged, denied, allowed, unnamed: unnamed + this.#lost, unlisted: this.#unlisted };
  }

  #add(event: TrialEvent): void {
    const { actual, shadow } = event;
    const source = this.#names.end(actual.source.address, actual.source.port);
    const asked = this.#names.end(actual.destination.address, actual.destination.port);
    const real =
      actual.translated === undefined
        ? asked
        : this.#names.end(actual.translated.address, actual.translated.port);
    const change = shadow.verdict;
    const [now, then] = [verdictOf(actual), verdictOf(shadow)];
    const from = this.#end(source, false);
    const to = this.#end(real, true);
    const service = asked.kind === 'service' ? asked.name : undefined;
    const protocol = protocolName(actual.protocol);
    const key = JSON.stringify([change, from, to, service, protocol, real.port, now, then]);
    const flow = JSON.stringify([
      change,
      protocol,
      ...[source, asked].flatMap(({ address, port }) => [address, port]),
    ]);
    const known = this.#flows.has(flow);
    if (!known) this.#know(flow);
    const time = new Date(actual.time).toISOString();
    const row = this.#rows.get(key);
    if (row !== undefined) {
      if (known) return;
      row.flows++;
      row.last = time;
    } else if (this.#rows.size >= this.#mostRows) {
      if (!known) this.#unlisted++;
      return;
    } else {
      this.#rows.set(key, {
        id: this.#rows.size + 1,
        change,
        source: from,
        destination: to,
        ...(service === undefined ? {} : { service }),
        protocol,
        port: real.port,
        now,
        then,
        flows: 1,
        first: time,
        last: time,
        example: { source, destination: asked, ...(real === asked ? {} : { translated: real }) },
      });
    }
    this.#changed.add(key);
  }

  #know(flow: string): void {
    this.#flows.add(flow);
    if (this.#flows.size <= mostFlows) return;
    for (const oldest of this.#flows) {
      this.#flows.delete(oldest);
      break;
    }
  }

  /** Clients in the world outside are one, whatever their addresses; servers there are told apart. */
  #end(end: FlowEnd, server: boolean): TrialEnd {
    if (end.kind === 'pod') return { kind: end.kind, name: this.#ownerOf(end.name) };
    if (end.kind === 'external') return { kind: end.kind, name: server ? end.address : '' };
    return { kind: end.kind, name: end.name };
  }
}

function verdictOf(verdict: {
  readonly verdict: string;
  readonly reason?: TrialVerdict['reason'];
  readonly egress?: SwitchRule;
  readonly ingress?: SwitchRule;
  readonly isolatedBy?: readonly string[];
}): TrialVerdict {
  return {
    verdict: verdict.verdict === 'allowed' ? 'allowed' : 'denied',
    ...(verdict.reason === undefined ? {} : { reason: verdict.reason }),
    rules: [verdict.egress, verdict.ingress].filter((rule) => rule !== undefined).map(ruleName),
    isolatedBy: verdict.isolatedBy ?? [],
  };
}
