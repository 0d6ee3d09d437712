/**
 * What one run measures: the plan reduced to its scope and to what `--only` names, and how long that will take.
 */
import { cpus } from 'node:os';
import type { NodeMeasure } from './node-measure.js';
import { type Comparison, comparisons, groupOf, nodeRows, rows, type Scope } from './plan.js';

/** A workload on a contender, or a node measure of a subject. */
export interface Pair {
  readonly of: string;
  readonly workload: string;
}

export interface Selection {
  readonly pairs: readonly Pair[];
  readonly nodePairs: readonly Pair[];
  readonly comparisons: readonly Comparison[];
}

const keyOf = ({ of, workload }: Pair): string => `${of}/${workload}`;

/** Everything that a scope runs. */
export function selectionOf(scope: Scope, nodeMeasures: readonly NodeMeasure[]): Selection {
  const pairs = rows.flatMap((row) =>
    [...new Set([...row.quick, ...(scope === 'full' ? row.full : [])])].map((of) => ({
      of,
      workload: row.workload,
    })),
  );
  // What the plan asks of a node measure that nothing provides stays in, so that the report says that it is missing.
  const subjects = (workload: string): readonly string[] =>
    nodeMeasures.find(({ name }) => name === workload)?.subjects ?? comparedOf(workload);
  const nodePairs = nodeRows
    .filter(({ quick }) => quick || scope === 'full')
    .flatMap(({ workload }) => subjects(workload).map((of) => ({ of, workload })));
  const known = new Set([...pairs, ...nodePairs].map(keyOf));
  const runs = (comparison: Comparison) =>
    known.has(keyOf(comparison.subject)) && (comparison.peer === null || known.has(keyOf(comparison.peer)));
  return {
    pairs,
    nodePairs,
    comparisons: comparisons.filter((comparison) => scope === 'full' || runs(comparison)),
  };
}

/** The subjects that comparisons name of a node measure; weft where none does. */
function comparedOf(workload: string): readonly string[] {
  const quantities = comparisons.flatMap(({ subject, peer }) =>
    peer === null ? [subject] : [subject, peer],
  );
  const named = new Set(quantities.filter((other) => other.workload === workload).map(({ of }) => of));
  return named.size === 0 ? ['weft'] : [...named];
}

/**
 * What remains when only `texts` are wanted: a comparison or a pair that contains all words of one of the texts, and the pairs that the
 * comparisons need. No texts: everything.
 */
export function only(selection: Selection, texts: readonly string[]): Selection {
  if (texts.length === 0) return selection;
  const wanted = (name: string): boolean =>
    texts.some((text) =>
      text
        .split(/\s+/)
        .filter(Boolean)
        .every((word) => name.includes(word)),
    );
  const chosen = selection.comparisons.filter(({ name }) => wanted(name));
  const needed = new Set(
    chosen.flatMap(({ subject, peer }) => (peer === null ? [subject] : [subject, peer])).map(keyOf),
  );
  const keep = (pair: Pair): boolean => needed.has(keyOf(pair)) || wanted(keyOf(pair));
  const pairs = selection.pairs.filter(keep);
  const nodePairs = selection.nodePairs.filter(keep);
  // A comparison that is now possible because both of its pairs are there anyway is worth having.
  const there = new Set([...pairs, ...nodePairs].map(keyOf));
  const possible = (c: Comparison) => there.has(keyOf(c.subject)) && (!c.peer || there.has(keyOf(c.peer)));
  return {
    pairs,
    nodePairs,
    comparisons: selection.comparisons.filter((c) => wanted(c.name) || possible(c)),
  };
}

/** Pairs in the groups that are sampled together, in the plan's order. */
export function groupsOf(pairs: readonly Pair[]): readonly (readonly Pair[])[] {
  const groups = new Map<string, Pair[]>();
  for (const pair of pairs) {
    const key = groupOf(pair.workload);
    groups.set(key, [...(groups.get(key) ?? []), pair]);
  }
  return [...groups.values()];
}

export interface Pace {
  readonly rounds: number;
  readonly seconds: number;
  readonly warmUpSeconds: number;
}

/** Beside the seconds that it measures, a sample takes these to start and end its programs; those with a long run-up take more. */
export function overheadOf(workload: string): number {
  if (workload === 'flows-100000') return 1.5;
  if (workload.startsWith('busy-')) return 0.8;
  if (workload.endsWith('-fixed')) return 0.6;
  return 0.3;
}

/** As many contenders start at a time as there are cores. */
export const startsAtOnce = Math.max(1, cpus().length);

/** Seconds until a contender stands and has shown that it enforces. */
export function startOf(contender: string): number {
  const policies = Number(/-(\d+)(-|$)/.exec(contender)?.[1] ?? 0);
  if (/^(kube-router|calico)-/.test(contender)) return 0.7 + policies / 250;
  if (/^weft-/.test(contender)) return 2 + policies / 1000;
  if (/^ovs/.test(contender)) return 2;
  return 0.7 + policies / 10_000;
}

/** Seconds of all samples of a workload on one contender. */
export function pairSeconds(workload: string, pace: Pace): number {
  return samplesSeconds(overheadOf(workload), pace);
}

function samplesSeconds(overhead: number, { rounds, seconds, warmUpSeconds }: Pace): number {
  return rounds * (seconds + overhead) + warmUpSeconds + overhead;
}

/** Seconds of everything that is selected. */
export function estimateOf(selection: Selection, nodeMeasures: readonly NodeMeasure[], pace: Pace): number {
  let total = 0;
  const starts = [...new Set(selection.pairs.map(({ of }) => of))].map(startOf);
  total += Math.max(0, ...starts, starts.reduce((sum, start) => sum + start, 0) / startsAtOnce);
  for (const { workload } of selection.pairs) total += pairSeconds(workload, pace);
  for (const { workload } of selection.nodePairs) {
    const measure = nodeMeasures.find(({ name }) => name === workload);
    if (measure === undefined) continue;
    const { start, sample } = measure.estimate;
    total += start + (measure.repeat === 'once' ? sample + pace.seconds : samplesSeconds(sample, pace));
  }
  return total;
}
