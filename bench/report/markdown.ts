/** The report as Markdown: comparisons first, then medians of every workload, then what was not run. */
import type { Comparison } from '../plan.js';
import { median } from '../statistics.js';
import { bounds, digits, figure } from './figure.js';
import type { Report, Subject } from './json.js';
import type { Outcome } from './verdict.js';

const cell = (text: string): string => text.replaceAll('|', '\\|').replaceAll(/\s*\n\s*/g, ' ');
const line = (cells: readonly string[]): string => `| ${cells.map(cell).join(' | ')} |`;

export function table(head: readonly string[], body: readonly (readonly string[])[]): string {
  return [line(head), line(head.map(() => '---')), ...body.map(line)].join('\n');
}

/** `≥ 0.95`, `≤ 20 ms`. */
export function reachText({ reach, peer }: Comparison, unit: string): string {
  const value = peer === null ? figure(reach.value, unit) : String(reach.value);
  return `${reach.at === 'least' ? '≥' : '≤'} ${value}`;
}

function outcomeRow(outcome: Outcome, unitOf: (comparison: Comparison) => string): readonly string[] {
  const { comparison, estimate, verdict, why } = outcome;
  const { subject, peer } = comparison;
  const unit = unitOf(comparison);
  const what = `${subject.workload} ${subject.measure}`;
  const other =
    peer === null ? '' : peer.workload === subject.workload ? peer.of : `${peer.of} on ${peer.workload}`;
  if (estimate === undefined)
    return [what, subject.of, other, '', reachText(comparison, unit), `no verdict: ${why}`];
  const measured =
    peer === null
      ? `${figure(estimate.value, unit)} (${bounds(estimate, unit)}, ${estimate.count})`
      : `${digits(estimate.value)} (${bounds(estimate, '')}, ${estimate.count})`;
  return [what, subject.of, other, measured, reachText(comparison, unit), verdict];
}

function medians(report: Report, subject: Subject): string {
  const found = report.summaries.filter(({ workload }) => workload === subject.name);
  if (found.length === 0) return '';
  const body = [...new Set(found.map(({ of }) => of))].map((of) => [
    of,
    ...subject.measures.map(({ name, unit }) => {
      const summary = found.find((other) => other.of === of && other.measure === name);
      if (summary === undefined) return '';
      return `${figure(summary.estimate.value, unit)} (${bounds(summary.estimate, unit)})`;
    }),
  ]);
  const head = ['', ...subject.measures.map(({ name }) => name)];
  return `### ${subject.name}\n\n${subject.description}\n\n${table(head, body)}\n`;
}

/** What a hypervisor took while samples were taken; empty where there is none. */
function stolenText({ machine, samples }: Report): string {
  const shares = samples.filter(({ round, took }) => round > 0 && took > 0).map(({ stolen }) => stolen);
  if (!machine.virtual || shares.length === 0) return '';
  const most = Math.max(...shares);
  return `The hypervisor took ${digits(median(shares))} % of a core during the median sample, ${digits(most)} % during the worst. `;
}

/** `charts`: workload → file name of its chart, beside the Markdown. */
export function markdownOf(report: Report, charts: ReadonlyMap<string, string> = new Map()): string {
  const { machine, settings } = report;
  const unitOf = ({ subject }: Comparison): string =>
    report.subjects
      .find(({ name }) => name === subject.workload)
      ?.measures.find(({ name }) => name === subject.measure)?.unit ?? '';
  const count = (verdict: string) => report.outcomes.filter((outcome) => outcome.verdict === verdict).length;
  const versions = Object.entries(machine.versions).map(
    ([name, words]) => `${name}: ${words ?? 'not there'}`,
  );
  const failed = report.samples.filter((sample) => sample.failed !== undefined && sample.round > 0);
  const sections = [
    `# weft bench, ${settings.scope}`,
    `${report.started} to ${report.ended}${report.interrupted === null ? '' : `, ended early by ${report.interrupted}`}. ` +
      `${settings.rounds} rounds of ${settings.seconds} s a sample after one that is discarded` +
      `${settings.only.length === 0 ? '' : `; only ${settings.only.join(', ')}`}.`,
    `${machine.cores} × ${machine.cpu}${machine.virtual ? ' (virtual)' : ''}, ${machine.memoryMB} MB, ${machine.architecture}, ` +
      `Linux ${machine.kernel}, ${machine.system ?? 'unknown system'}; load before the start ${digits(machine.load)}` +
      `${report.standing === null ? '' : `, with all contenders standing idle ${digits(report.standing)} % of a core`}. ` +
      `${stolenText(report)}` +
      `weft ${machine.commit ?? 'of no commit'}. ${versions.join('; ')}.`,
    '## Figures to reach',
    `${count('met')} met, ${count('met by interval')} met by the interval only, ${count('not met')} not met, ` +
      `${count('no verdict')} without a verdict. In brackets: 95 % interval of the median, and how many rounds gave a pair.`,
    table(
      ['measure', 'subject', 'peer', 'subject / peer, or value', 'reach', ''],
      report.outcomes.map((outcome) => outcomeRow(outcome, unitOf)),
    ),
    '## Medians',
    'In brackets: 95 % interval.',
    ...report.subjects.flatMap((subject) => {
      const text = medians(report, subject);
      const chart = charts.get(subject.name);
      if (text === '') return [];
      return chart === undefined ? [text.trim()] : [text.trim(), `![${subject.name}](${chart})`];
    }),
    '## Contenders',
    table(
      ['contender', 'policies', 'enforcement, tried before it was timed', 'stood after'],
      report.contenders.map(({ name, policies, enforcement, took, notRun }) => [
        name,
        String(policies),
        notRun === null
          ? enforcement === 'denied'
            ? 'a denied port did not answer, an allowed one did'
            : 'none: everything answers'
          : `not run: ${notRun}`,
        took === null ? '' : `${digits(took)} s`,
      ]),
    ),
    '## Not run',
    report.notRun.length === 0
      ? 'Everything that was asked for ran.'
      : table(
          ['what', 'why'],
          report.notRun.map(({ what, why }) => [what, why]),
        ),
    ...(failed.length === 0
      ? []
      : [
          '## Failed samples',
          table(
            ['contender', 'workload', 'round', 'attempts', 'words'],
            failed.map(({ contender, workload, round, attempts, failed: words }) => [
              contender,
              workload,
              String(round),
              String(attempts),
              words ?? '',
            ]),
          ),
        ]),
  ];
  return `${sections.join('\n\n')}\n`;
}
