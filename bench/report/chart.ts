/**
 * Charts as plain SVG, one for each workload: a panel for each measure, a horizontal bar for each contender with a whisker for its 95 %
 * interval. Bars begin at 0. Colours follow the reader's light or dark setting. Nothing but text is drawn from outside, and it is escaped.
 */
import type { Measure } from '../workloads/workload.js';
import { bounds, figure, scaleOf } from './figure.js';
import type { Report, Subject, Summary } from './json.js';

const width = 860;
const margin = 20;
const labels = 190;
const values = 210;
const barHeight = 16;
const rowHeight = 24;
const panelHead = 44;
const titleHeight = 56;

const style = `
  .ground { fill: #ffffff; }
  text { font: 13px system-ui, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif; fill: #1f2430; }
  .title { font-size: 17px; font-weight: 600; }
  .panel { font-weight: 600; }
  .soft { fill: #5f6b7a; font-size: 12px; }
  .weft { fill: #0b7a75; } .limit { fill: #8a93a0; } .other { fill: #6f8fc4; }
  .grid { stroke: #e3e7ec; stroke-width: 1; }
  .whisker { stroke: #1f2430; stroke-width: 1.5; fill: none; }
  @media (prefers-color-scheme: dark) {
    .ground { fill: #14181f; }
    text { fill: #e8ecf1; }
    .soft { fill: #9aa5b3; }
    .weft { fill: #2fb3a3; } .limit { fill: #77818f; } .other { fill: #5f83c7; }
    .grid { stroke: #2a323d; }
    .whisker { stroke: #e8ecf1; }
  }
`;

const escaped = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
/** Lines of at most so many characters. */
function wrapped(text: string, longest = 125): readonly string[] {
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= longest)
      lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
}
const at = (value: number): string => value.toFixed(1);

/** Ends of the grid: 1, 2 or 5 times a power of ten between lines, four to eight of them. */
export function gridOf(highest: number): readonly number[] {
  if (!(highest > 0)) return [0];
  const rough = highest / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = ([1, 2, 5, 10].find((factor) => factor * power >= rough) ?? 10) * power;
  return Array.from({ length: Math.floor(highest / step + 1e-9) + 1 }, (_, i) => i * step);
}

function kindOf(contender: string): string {
  if (/^weft/.test(contender)) return 'weft';
  return /^limit/.test(contender) ? 'limit' : 'other';
}

function bar(summary: Summary, y: number, scale: (value: number) => number): string {
  const { value, low, high } = summary.estimate;
  const middle = y + barHeight / 2;
  const [from, to] = [scale(low), scale(high)];
  const text = `${figure(value, summary.unit)}  (${bounds(summary.estimate, summary.unit)})`;
  return [
    `<text x="${margin + labels - 10}" y="${at(middle + 4.5)}" text-anchor="end">${escaped(summary.of)}</text>`,
    `<rect class="${kindOf(summary.of)}" x="${margin + labels}" y="${at(y)}" width="${at(Math.max(1, scale(value) - margin - labels))}" height="${barHeight}" rx="2"/>`,
    `<path class="whisker" d="M${at(from)} ${at(middle)}H${at(to)}M${at(from)} ${at(middle - 4)}v8M${at(to)} ${at(middle - 4)}v8"/>`,
    `<text class="soft" x="${width - margin}" y="${at(middle + 4.5)}" text-anchor="end">${escaped(text)}</text>`,
  ].join('\n');
}

function panel(measure: Measure, summaries: readonly Summary[], top: number): string {
  const highest = Math.max(...summaries.map(({ estimate }) => estimate.high), 0);
  const space = width - 2 * margin - labels - values;
  const scale = (value: number): number =>
    margin + labels + (highest > 0 ? (Math.max(0, value) / highest) * space : 0);
  const { factor, unit } = scaleOf(highest, measure.unit);
  const bottom = top + panelHead + summaries.length * rowHeight;
  const lines = gridOf(highest).map((value) => {
    const x = at(scale(value));
    const text = String(Number((value / factor).toPrecision(6)));
    return (
      `<line class="grid" x1="${x}" y1="${top + panelHead - 6}" x2="${x}" y2="${bottom}"/>` +
      `<text class="soft" x="${x}" y="${top + panelHead - 12}" text-anchor="middle">${text}</text>`
    );
  });
  const better = measure.better === 'higher' ? 'more is better' : 'less is better';
  return [
    `<text class="panel" x="${margin}" y="${top + 16}">${escaped(`${measure.name}, ${unit}`)}</text>`,
    `<text class="soft" x="${width - margin}" y="${top + 16}" text-anchor="end">${better}; median and 95 % interval</text>`,
    ...lines,
    ...summaries.map((summary, i) => bar(summary, top + panelHead + i * rowHeight + 4, scale)),
  ].join('\n');
}

/** The chart of one workload or node measure; null when nothing of it was measured. */
export function chartOf(subject: Subject, report: Report): string | null {
  const panels = subject.measures.flatMap((measure) => {
    const summaries = report.summaries.filter(
      (summary) => summary.workload === subject.name && summary.measure === measure.name,
    );
    return summaries.length === 0 ? [] : [{ measure, summaries }];
  });
  if (panels.length === 0) return null;
  const lines = wrapped(subject.description);
  let top = titleHeight + (lines.length - 1) * 16;
  const drawn = panels.map(({ measure, summaries }) => {
    const text = panel(measure, summaries, top);
    top += panelHead + summaries.length * rowHeight + 20;
    return text;
  });
  const described = `${subject.name}: ${subject.description}`;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${top}" width="${width}" height="${top}" role="img" aria-label="${escaped(described)}">
<style>${style}</style>
<rect class="ground" width="${width}" height="${top}"/>
<text class="title" x="${margin}" y="28">${escaped(subject.name)}</text>
${lines.map((line, i) => `<text class="soft" x="${margin}" y="${46 + i * 16}">${escaped(line)}</text>`).join('\n')}
${drawn.join('\n')}
</svg>
`;
}
