/** Findings for a person, for a program and for GitHub's pull request view. */
import { caretLine } from '../../errors/caret.js';
import type { Finding } from './finding.js';

/** Findings with the line they are about and a caret under the place, a summary at the end. */
export function printText(
  findings: readonly Finding[],
  texts: ReadonlyMap<string, string>,
  files: number,
): string {
  const rowsOf = new Map<string, readonly string[]>();
  const rowOf = ({ file, line }: Finding): string | undefined => {
    const rows = rowsOf.get(file) ?? (texts.get(file) ?? '').split(/\r?\n/);
    rowsOf.set(file, rows);
    return line === 0 || !texts.has(file) ? undefined : rows[line - 1];
  };
  const blocks = findings.map((finding) => {
    const at = [finding.file, finding.line, finding.column]
      .filter((part) => part !== 0 && part !== '')
      .join(':');
    const head = `${at}: ${finding.severity}: ${finding.message} [${finding.code}]`;
    const row = rowOf(finding);
    const frame =
      row === undefined
        ? ''
        : `\n${caretLine(row, finding.line, finding.column, caretLength(row, finding)).replace(/^/gm, '  ')}`;
    return `${head}${frame}${finding.fix === '' ? '' : `\n  fix: ${finding.fix}`}\n`;
  });
  return [...blocks, `${summary(findings, files)}\n`].join('\n');
}

/** As long as the word at the place. */
function caretLength(row: string, { column }: Finding): number {
  return /^("[^"]*"|'[^']*'|[\w./-]+)?/.exec(row.slice(column - 1))?.[0].length || 1;
}

function summary(findings: readonly Finding[], files: number): string {
  const counted = (severity: string) => findings.filter((finding) => finding.severity === severity).length;
  const parts = (['error', 'warning', 'info'] as const)
    .map((severity) => ({ severity, count: counted(severity) }))
    .filter(({ count }) => count > 0)
    .map(({ severity, count }) => `${count} ${severity}${count === 1 || severity === 'info' ? '' : 's'}`);
  return `${parts.length === 0 ? 'No findings' : parts.join(', ')} in ${files} file${files === 1 ? '' : 's'}.`;
}

/** Workflow commands, one a line (docs.github.com, "Workflow commands for GitHub Actions"). */
export function printGithub(findings: readonly Finding[]): string {
  return findings
    .map((finding) => {
      const command = finding.severity === 'info' ? 'notice' : finding.severity;
      const properties = [
        `file=${escapeProperty(finding.file)}`,
        ...(finding.line === 0 ? [] : [`line=${finding.line}`, `col=${finding.column}`]),
        `title=${escapeProperty(finding.code)}`,
      ].join(',');
      const text = finding.fix === '' ? finding.message : `${finding.message}\n${finding.fix}`;
      return `::${command} ${properties}::${escapeData(text)}\n`;
    })
    .join('');
}

function escapeData(text: string): string {
  return text.replace(/%/g, '%25').replace(/\r/g, '%0D').replace(/\n/g, '%0A');
}

function escapeProperty(text: string): string {
  return escapeData(text).replace(/:/g, '%3A').replace(/,/g, '%2C');
}
