/** Puts a report's files into a folder: report.json, report.md and a chart for each workload. */
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { chartOf } from './chart.js';
import type { Report } from './json.js';
import { markdownOf } from './markdown.js';

/** JSON with one line for each element of the long lists: readable, and a new run is a readable difference. */
export function jsonText(report: Report): string {
  const fields = Object.entries(report).map(([name, value]) => {
    const text = Array.isArray(value)
      ? `[${value.map((element) => `\n    ${JSON.stringify(element)}`).join(',')}\n  ]`
      : JSON.stringify(value);
    return `  ${JSON.stringify(name)}: ${text}`;
  });
  return `{\n${fields.join(',\n')}\n}\n`;
}

/**
 * `name`: of the two main files; charts are `NAME-WORKLOAD.svg`. Charts of that name from an earlier report are removed. Returns the path of
 * the Markdown.
 */
export function writeReport(report: Report, folder: string, name: string): string {
  mkdirSync(folder, { recursive: true });
  for (const old of readdirSync(folder))
    if (old.startsWith(`${name}-`) && old.endsWith('.svg')) rmSync(join(folder, old));
  const charts = new Map<string, string>();
  for (const subject of report.subjects) {
    const chart = chartOf(subject, report);
    if (chart === null) continue;
    charts.set(subject.name, `${name}-${subject.name}.svg`);
    writeFileSync(join(folder, `${name}-${subject.name}.svg`), chart);
  }
  writeFileSync(join(folder, `${name}.json`), jsonText(report));
  const path = join(folder, `${name}.md`);
  writeFileSync(path, markdownOf(report, charts));
  return path;
}
