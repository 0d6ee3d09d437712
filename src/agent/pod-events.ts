/**
 * Events on pods whose traffic policy denies, for `kubectl describe pod`: optional, and never of any weight for traffic.
 *
 * Denials of one kind (pod, direction, other end, port and protocol) are one series and one Event object, as client-go's recorder does
 * it: created at the first denial, then patched with the count and the time of the latest. A pod that many kinds happen to gets one
 * Event for all the rest of them. Every series is written at most once in `flushEvery`; each pod and the node as a whole have a budget of
 * writes (a token bucket); what is over budget stays in its series and is told with the next write. Memory is bounded by `mostSeries`.
 *
 * Events of core/v1, which old servers (K3s 1.21) and new ones have, with `count`, `firstTimestamp` and `lastTimestamp`: in
 * events.k8s.io/v1 these are deprecated and read-only, and kubectl shows both alike. Which pods are ours to tell of: those of this
 * node, that is, the end whose direction denied.
 */
import { createHash } from 'node:crypto';
import type { Pod } from '../model/pod.js';
import type { FlowEnd, FlowRecord } from './protocol/events.js';

/** What became of a write, and denials that no series had room for. */
export type PodEventResult = 'sent' | 'failed' | 'unheard';

export interface PodEventsOptions {
  readonly node: () => string;
  /** null: the world has lost the pod, or it is not this node's. */
  readonly pod: (namespace: string, name: string) => Pod | undefined;
  /** POST and PATCH of JSON; rejects with whatever went wrong, which has a `status` where the server said one. */
  readonly send: (method: 'POST' | 'PATCH', path: string, body: unknown) => Promise<unknown>;
  readonly counted: (result: PodEventResult) => void;
  readonly log: (message: string, fields: Readonly<Record<string, unknown>>) => void;
  /** Milliseconds of a clock that only goes forward. */
  readonly now: () => number;
  /** Milliseconds since 1970: what Events say, and nothing waits for, since a board without a clock of its own sets it by hours. */
  readonly date: () => number;
  readonly enabled: () => boolean;
}

interface Series {
  readonly namespace: string;
  readonly pod: string;
  readonly uid: string;
  /** Of the object, once it was made; null before. */
  name: string | null;
  message: string;
  /** Dates. */
  readonly first: number;
  latest: number;
  /** When it was last added to. */
  last: number;
  count: number;
  /** As the server has it. */
  told: number;
  writing: boolean;
  /** Not written before this time. */
  next: number;
}

const flushEvery = 60_000;
/** A series that was quiet for so long is over; the next denial begins another. */
const quiet = 600_000;
const mostSeries = 1000;
const mostSeriesOfPod = 10;
/** Writes: as many at once, and one more in each so many milliseconds. */
const podBudget = { burst: 10, each: 30_000 };
const nodeBudget = { burst: 25, each: 1000 };
/** After a refusal, such as for want of a permission, nothing is sent for so long. */
const afterFailure = 60_000;
const longestMessage = 1000;

class Budget {
  #left: number;
  #at: number;
  readonly #burst: number;
  readonly #each: number;

  constructor({ burst, each }: { readonly burst: number; readonly each: number }, now: number) {
    this.#left = burst;
    this.#at = now;
    this.#burst = burst;
    this.#each = each;
  }

  has(now: number): boolean {
    const more = Math.max(0, now - this.#at) / this.#each;
    this.#left = Math.min(this.#burst, this.#left + more);
    this.#at = now;
    return this.#left >= 1;
  }

  take(): void {
    this.#left--;
  }
}

export class PodEvents {
  readonly #options: PodEventsOptions;
  readonly #series = new Map<string, Series>();
  readonly #pods = new Map<string, { readonly budget: Budget; series: number }>();
  readonly #budget: Budget;
  /** Nothing is sent before. */
  #pausedUntil = 0;
  #complained = false;

  constructor(options: PodEventsOptions) {
    this.#options = options;
    this.#budget = new Budget(nodeBudget, options.now());
  }

  take(records: readonly FlowRecord[]): void {
    if (!this.#options.enabled()) return;
    for (const record of records) if (record.verdict === 'denied') this.#denied(record);
    this.flush();
  }

  /** Writes what may be written now, and forgets what is over. To be called now and then. */
  flush(): void {
    const now = this.#options.now();
    for (const [key, series] of this.#series) {
      if (series.count > series.told && this.#options.enabled()) this.#write(series, now);
      else if (now - series.last > quiet && !series.writing) this.#forget(key, series);
    }
  }

  /** Series that are followed; for the test of their bound. */
  get size(): number {
    return this.#series.size;
  }

  #denied(record: FlowRecord): void {
    const egress = record.reason === 'policy-egress';
    if (!egress && record.reason !== 'policy-ingress') return;
    const own = egress ? record.source : (record.translated ?? record.destination);
    const other = egress ? (record.translated ?? record.destination) : record.source;
    const slash = own.name.indexOf('/');
    if (own.kind !== 'pod' || slash < 0) return;
    const [namespace, name] = [own.name.slice(0, slash), own.name.slice(slash + 1)];
    const pod = this.#options.pod(namespace, name);
    if (pod === undefined) return;
    const now = this.#options.now();
    const port = (egress ? other : own).port;
    const whom = `${nameOf(other)} ${portText(port, record.protocol)}`;
    const [kind, message] = this.#kindFor(own.name, pod.uid, egress, whom, record.isolatedBy);
    const key = `${own.name} ${pod.uid} ${kind}`;
    const known = this.#series.get(key);
    if (known !== undefined) {
      known.count++;
      known.last = now;
      known.latest = this.#options.date();
      known.message = message;
      return;
    }
    if (this.#series.size >= mostSeries) {
      this.#options.counted('unheard');
      return;
    }
    this.#podState(own.name, now).series++;
    this.#series.set(key, {
      namespace,
      pod: name,
      uid: pod.uid,
      name: null,
      message,
      first: this.#options.date(),
      latest: this.#options.date(),
      last: now,
      count: 1,
      told: 0,
      writing: false,
      next: now,
    });
  }

  /** A kind of its own, or where the pod has as many as it may have, the one for all the rest. */
  #kindFor(
    pod: string,
    uid: string,
    egress: boolean,
    whom: string,
    isolatedBy: readonly string[],
  ): readonly [kind: string, message: string] {
    const kind = `${egress ? 'egress' : 'ingress'} ${whom}`;
    const what = egress ? `to ${whom}` : `from ${whom}`;
    const by = isolatedBy.length === 0 ? '' : ` (isolated by ${isolatedBy.join(', ')})`;
    const message = `Denied ${egress ? 'egress' : 'ingress'} ${what}: no rule allows it${by}`;
    const full = (this.#pods.get(pod)?.series ?? 0) >= mostSeriesOfPod;
    if (!full || this.#series.has(`${pod} ${uid} ${kind}`)) return [kind, message];
    return ['others', `Denied connections of many kinds, the latest: ${message}`];
  }

  #podState(pod: string, now: number) {
    let state = this.#pods.get(pod);
    if (state === undefined) {
      state = { budget: new Budget(podBudget, now), series: 0 };
      this.#pods.set(pod, state);
    }
    return state;
  }

  #forget(key: string, series: Series): void {
    this.#series.delete(key);
    const pod = `${series.namespace}/${series.pod}`;
    const state = this.#pods.get(pod);
    if (state === undefined) return;
    state.series--;
    if (state.series <= 0) this.#pods.delete(pod);
  }

  #write(series: Series, now: number): void {
    if (series.writing || now < series.next || now < this.#pausedUntil) return;
    const { budget } = this.#podState(`${series.namespace}/${series.pod}`, now);
    if (!this.#budget.has(now) || !budget.has(now)) return;
    this.#budget.take();
    budget.take();
    series.writing = true;
    series.next = now + flushEvery;
    const { count } = series;
    this.#send(series)
      .then(
        () => {
          series.told = count;
          this.#complained = false;
          this.#options.counted('sent');
        },
        (error: Error & { readonly status?: number }) => this.#failed(series, error),
      )
      .finally(() => {
        series.writing = false;
      });
  }

  async #send(series: Series): Promise<void> {
    const { namespace } = series;
    const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/events`;
    const change = {
      count: series.count,
      lastTimestamp: timestamp(series.latest),
      message: series.message.slice(0, longestMessage),
    };
    if (series.name === null) {
      const body = { ...newEvent(series, this.#options.node()), ...change };
      await this.#options.send('POST', path, body);
      series.name = body.metadata.name;
      return;
    }
    try {
      await this.#options.send('PATCH', `${path}/${encodeURIComponent(series.name)}`, change);
    } catch (error) {
      // The server forgets Events after an hour; the next write makes a new one.
      if ((error as { readonly status?: number }).status === 404) series.name = null;
      throw error;
    }
  }

  #failed(series: Series, error: Error & { readonly status?: number }): void {
    this.#options.counted('failed');
    const now = this.#options.now();
    // A namespace that goes away takes no Events; only this series waits. Anything else is no better for the next series.
    if (error.status === 404) {
      series.next = now + (series.name === null ? 0 : flushEvery);
      return;
    }
    this.#pausedUntil = now + afterFailure;
    if (this.#complained) return;
    this.#complained = true;
    this.#options.log('Events on pods cannot be written; they are tried again', { error: error.message });
  }
}

function newEvent(series: Series, node: string) {
  const { namespace, pod, uid, first } = series;
  // Unlike any other name of this pod's Events, also of another agent's: each series begins at a time of its own.
  const digest = createHash('sha256').update(`${uid} ${node} ${series.message} ${first}`).digest('hex');
  return {
    apiVersion: 'v1',
    kind: 'Event',
    metadata: { namespace, name: `${pod.slice(0, 200)}.${digest.slice(0, 16)}` },
    involvedObject: { apiVersion: 'v1', kind: 'Pod', namespace, name: pod, ...(uid === '' ? {} : { uid }) },
    reason: 'NetworkPolicyDenied',
    type: 'Warning',
    source: { component: 'weft', host: node },
    reportingComponent: 'weft',
    reportingInstance: node,
    firstTimestamp: timestamp(first),
  };
}

/** Kubernetes' times of Events have no fractions. */
function timestamp(milliseconds: number): string {
  return `${new Date(milliseconds).toISOString().slice(0, 19)}Z`;
}

function nameOf({ kind, name, address }: FlowEnd): string {
  if (name === '') return address;
  return kind === 'pod' ? `pod ${name}` : kind === 'node' ? `node ${name}` : name;
}

function portText(port: number, protocol: string): string {
  return port === 0 ? protocol : `port ${port}/${protocol}`;
}
