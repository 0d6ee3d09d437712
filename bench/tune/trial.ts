/**
 * One change against what it would replace: two switches with the same pods and policies stand side by side on this machine, and their
 * samples are taken in turn, as the bench suite does.
 */
import type { Contender } from '../contenders/contender.js';
import { makeSite } from '../contenders/site.js';
import { weftWith } from '../contenders/weft.js';
import { showEnforcement } from '../enforcement.js';
import type { Sample } from '../interleave.js';
import type { Progress } from '../progress.js';
import { estimateRatio } from '../statistics.js';
import { Suite } from '../suite.js';
import { workloads } from '../workloads/all.js';
import type { SwitchOptions } from './candidate.js';
import { type Aspect, aspects, type Effect } from './decide.js';

/** Enough that there is a lookup to do; their number changes nothing. */
const policies = 100;

export interface Trial {
  readonly effects: readonly Effect[];
  /** Why something could not be measured. */
  readonly problems: readonly string[];
}

export interface Pace {
  readonly rounds: number;
  readonly seconds: number;
}

export async function trial(
  present: SwitchOptions,
  changed: SwitchOptions,
  pace: Pace,
  progress: Progress,
  signal: AbortSignal,
): Promise<Trial> {
  const contenders: readonly Contender[] = [
    weftWith('present', policies, present),
    weftWith('changed', policies, changed),
  ];
  const suite = new Suite(
    { contenders, workloads, nodeMeasures: [] },
    { scope: 'quick', only: [], warmUpSeconds: Math.min(0.3, pace.seconds), ...pace },
    { makeSite, show: showEnforcement, progress, signal },
  );
  const names = [...new Set(aspects.map(({ workload }) => workload))];
  const pairs = names.flatMap((workload) => contenders.map(({ name }) => ({ of: name, workload })));
  const { samples, notRun } = await suite.run({ pairs, nodePairs: [], comparisons: [] });
  return {
    effects: aspects.flatMap((aspect) => effectOf(aspect, samples) ?? []),
    problems: notRun.map(({ what, why }) => `${what}: ${why}`),
  };
}

/** Null where there is no pair of the same round. */
export function effectOf(aspect: Aspect, samples: readonly Sample[]): Effect | null {
  const values = (contender: string) =>
    new Map(
      samples
        .filter((sample) => sample.workload === aspect.workload && sample.contender === contender)
        .filter(({ round }) => round > 0)
        .map(({ round, values }) => [round, values?.[aspect.measure]]),
    );
  const present = values('present');
  const pairs = [...values('changed')].flatMap(([round, subject]) => {
    const peer = present.get(round);
    return subject === undefined || peer === undefined ? [] : [{ subject, peer }];
  });
  if (pairs.length === 0) return null;
  return { aspect, ratio: estimateRatio(pairs, `${aspect.workload}.${aspect.measure}`) };
}
