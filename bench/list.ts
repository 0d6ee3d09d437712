/** The plan as text: `--list`, and the table of bench/README.md, which is tested against it. */
import type { NodeMeasure } from './node-measure.js';
import { nodeRows, rows } from './plan.js';
import { duration } from './progress.js';
import { table } from './report/markdown.js';
import { estimateOf, groupsOf, type Pace, type Selection } from './selection.js';

/** Who runs what in quick and in full, as Markdown. Full runs what quick runs too. */
export function planTable(nodeMeasures: readonly NodeMeasure[]): string {
  const code = (names: readonly string[]): string => names.map((name) => `\`${name}\``).join(' ') || '—';
  const subjects = (workload: string): readonly string[] =>
    nodeMeasures.find(({ name }) => name === workload)?.subjects ?? [];
  return table(
    ['workload', 'quick', 'full: those of quick, and'],
    [
      ...rows.map(({ workload, quick, full }) => [
        workload,
        code(quick),
        code(full.filter((name) => !quick.includes(name))),
      ]),
      ...nodeRows.map(({ workload, quick }) => [
        workload,
        code(quick ? subjects(workload) : []),
        code(quick ? [] : subjects(workload)),
      ]),
    ],
  );
}

/** What a run would do, for people. */
export function listOf(selection: Selection, nodeMeasures: readonly NodeMeasure[], pace: Pace): string {
  const names = (of: readonly string[]) => of.join(' ');
  const lines = [
    'workloads and the contenders that take turns:',
    ...groupsOf(selection.pairs).map(
      (group) =>
        `  ${[...new Set(group.map(({ workload }) => workload))].join(', ')}: ${names([...new Set(group.map(({ of }) => of))])}`,
    ),
    'node measures and their subjects:',
    ...[...new Set(selection.nodePairs.map(({ workload }) => workload))].map(
      (name) =>
        `  ${name}: ${names(selection.nodePairs.filter(({ workload }) => workload === name).map(({ of }) => of))}`,
    ),
    'comparisons:',
    ...selection.comparisons.map(
      ({ name, reach }) => `  ${name}, to reach ${reach.at === 'least' ? '≥' : '≤'} ${reach.value}`,
    ),
    `${selection.pairs.length + selection.nodePairs.length} pairs, ${pace.rounds} rounds of ${pace.seconds} s and a warm-up: about ` +
      `${duration(estimateOf(selection, nodeMeasures, pace))}`,
  ];
  return `${lines.join('\n')}\n`;
}
