/** What samples say about a comparison. Pure: the same samples give the same verdicts, so a report can be judged again. */
import type { Sample } from '../interleave.js';
import type { Comparison, Quantity, Reach } from '../plan.js';
import { type Estimate, estimate, estimateRatio } from '../statistics.js';

/**
 * `met`: the estimate itself is there. `met by interval`: only the interval includes or passes the figure. `no verdict`: no pair of
 * samples, and `why` says what was missing.
 */
export type Verdict = 'met' | 'met by interval' | 'not met' | 'no verdict';

export interface Outcome {
  readonly comparison: Comparison;
  readonly verdict: Verdict;
  /** Of the ratio subject / peer, or of the value in `unit` where there is no peer. */
  readonly estimate?: Estimate;
  /** Medians of both sides over the rounds that count here, in `unit`. */
  readonly subject?: number;
  readonly peer?: number;
  readonly why?: string;
}

/** Something that the plan wants and that was not measured. */
export interface Absence {
  readonly what: string;
  readonly why: string;
}

/** Samples by contender, workload and round; the warm-up is left out here, for good. */
export class Samples {
  readonly #values = new Map<string, Map<number, Readonly<Record<string, number>>>>();
  readonly #failures = new Map<string, string>();

  /** `notRun`: what (a contender, or contender/workload) → why it gave no samples. */
  constructor(samples: readonly Sample[], notRun: readonly Absence[] = []) {
    for (const { what, why } of notRun) this.#failures.set(what, why);
    for (const { contender, workload, round, values, failed } of samples) {
      const key = `${contender}/${workload}`;
      if (failed !== undefined) this.#failures.set(key, failed);
      if (round === 0 || values === undefined) continue;
      const rounds = this.#values.get(key) ?? new Map<number, Readonly<Record<string, number>>>();
      this.#values.set(key, rounds.set(round, values));
    }
  }

  /** Round → value. */
  of({ of, workload, measure }: Quantity): ReadonlyMap<number, number> {
    const found = new Map<number, number>();
    for (const [round, values] of this.#values.get(`${of}/${workload}`) ?? []) {
      const value = values[measure];
      if (value !== undefined) found.set(round, value);
    }
    return found;
  }

  /** Why there is nothing: the last failure, or that nobody measured it. */
  absence({ of, workload }: Quantity): string {
    return this.#failures.get(`${of}/${workload}`) ?? this.#failures.get(of) ?? 'not run';
  }
}

function reached({ at, value }: Reach, found: Estimate): Verdict {
  const passes = (bound: number) => (at === 'least' ? bound >= value : bound <= value);
  if (passes(found.value)) return 'met';
  return passes(at === 'least' ? found.high : found.low) ? 'met by interval' : 'not met';
}

export function judge(comparison: Comparison, samples: Samples): Outcome {
  const { name, subject, peer, reach } = comparison;
  const subjects = samples.of(subject);
  const without = (quantity: Quantity, why = samples.absence(quantity)): Outcome => ({
    comparison,
    verdict: 'no verdict',
    why: `${quantity.of} on ${quantity.workload}: ${why}`,
  });
  if (subjects.size === 0) return without(subject);
  if (peer === null) {
    const found = estimate([...subjects.values()], name);
    return { comparison, verdict: reached(reach, found), estimate: found, subject: found.value };
  }
  const peers = samples.of(peer);
  if (peers.size === 0) return without(peer);
  const both = [...subjects].flatMap(([round, value]) => {
    const other = peers.get(round);
    return other === undefined ? [] : [{ subject: value, peer: other }];
  });
  if (both.length === 0) return without(peer, 'no round in which both were measured');
  // A difference of processor times may come out at 0 or below it: then there is no ratio in that round.
  const pairs = both.filter((pair) => pair.subject > 0 && pair.peer > 0);
  if (pairs.length * 2 <= both.length) return without(subject, `${peer.measure} not above 0 on both sides`);
  const found = estimateRatio(pairs, name);
  return {
    comparison,
    verdict: reached(reach, found),
    estimate: found,
    subject: estimate([...subjects.values()], name).value,
    peer: estimate([...peers.values()], name).value,
  };
}

/** Median and interval of one quantity in its own unit, or null. */
export function summarize(quantity: Quantity, samples: Samples): Estimate | null {
  const values = [...samples.of(quantity).values()];
  const { of, workload, measure } = quantity;
  return values.length === 0 ? null : estimate(values, `${of}/${workload}.${measure}`);
}
