/**
 * Whether a change of the configuration is worth choosing on this board, from same-round pairs of the change and what it would replace.
 *
 * A change is chosen when something that the goal is about became better by more than `worthwhile`, with the whole interval on the better
 * side of 1, and nothing else became worse by more than `tolerated`, by its median. Doubt keeps what is there: a default that was
 * measured on many boards is a better guess than one short run.
 */
import type { Estimate } from '../statistics.js';

export type Goal = 'balanced' | 'throughput' | 'latency';
export const goals: readonly Goal[] = ['balanced', 'throughput', 'latency'];

/** A measure of a workload that tuning looks at. */
export interface Aspect {
  readonly workload: string;
  readonly measure: string;
  readonly better: 'higher' | 'lower';
  readonly kind: 'throughput' | 'latency';
}

export const aspects: readonly Aspect[] = [
  { workload: 'tcp-bulk-1', measure: 'rate', better: 'higher', kind: 'throughput' },
  { workload: 'udp-window', measure: 'rate', better: 'higher', kind: 'throughput' },
  { workload: 'connect', measure: 'rate', better: 'higher', kind: 'throughput' },
  { workload: 'tcp-rr', measure: 'p50', better: 'lower', kind: 'latency' },
  { workload: 'tcp-rr', measure: 'p99', better: 'lower', kind: 'latency' },
];

/** Change over what it would replace. */
export interface Effect {
  readonly aspect: Aspect;
  readonly ratio: Estimate;
}

export interface Decision {
  readonly chosen: boolean;
  /** One sentence for the person. */
  readonly why: string;
}

const worthwhile = 0.05;
/** What a goal accepts on the side that it is not about. */
const tolerated: Readonly<Record<Goal, Readonly<Record<Aspect['kind'], number>>>> = {
  balanced: { throughput: 0.05, latency: 0.05 },
  throughput: { throughput: 0.05, latency: 0.25 },
  latency: { throughput: 0.25, latency: 0.05 },
};

/** By how much it became better: 0.1 is ten per cent more, or less where lower is better. Negative: worse. */
function gain({ aspect, ratio }: Effect, of: number = ratio.value): number {
  return aspect.better === 'higher' ? of - 1 : 1 - of;
}

/** The end of the interval that is the less favourable one. */
const doubtful = ({ aspect, ratio }: Effect): number => (aspect.better === 'higher' ? ratio.low : ratio.high);

export function nameOf({ workload, measure }: Aspect): string {
  return measure === 'rate' ? workload : `${workload} ${measure}`;
}

const percent = (value: number): string => `${Math.abs(value * 100).toFixed(0)} %`;

/** `effects` has one for each aspect that was measured; none at all decides against the change. */
export function decide(effects: readonly Effect[], goal: Goal): Decision {
  const worse = effects
    .filter((effect) => gain(effect) < -tolerated[goal][effect.aspect.kind])
    .sort((a, b) => gain(a) - gain(b))[0];
  if (worse !== undefined)
    return { chosen: false, why: `${nameOf(worse.aspect)} becomes ${percent(gain(worse))} worse` };
  const wanted = effects.filter(({ aspect }) => goal === 'balanced' || aspect.kind === goal);
  const better = wanted
    .filter((effect) => gain(effect) > worthwhile && gain(effect, doubtful(effect)) > 0)
    .sort((a, b) => gain(b) - gain(a))[0];
  if (better !== undefined)
    return { chosen: true, why: `${nameOf(better.aspect)} becomes ${percent(gain(better))} better` };
  return { chosen: false, why: 'nothing becomes better by more than this machine’s noise' };
}
