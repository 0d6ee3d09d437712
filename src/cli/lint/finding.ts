/** What lint finds, in the form in which it is printed. */
import type { Problem, Severity } from '../../errors/problem.js';

export interface Finding {
  readonly file: string;
  /** From 1; 0 where a finding is about the whole file. */
  readonly line: number;
  readonly column: number;
  readonly severity: Severity;
  readonly code: string;
  /** Field path inside the object; '' where there is none. */
  readonly path: string;
  readonly message: string;
  /** What to do, as a sentence; '' where it depends. */
  readonly fix: string;
}

export function findingOf(problem: Problem): Finding {
  const { source } = problem;
  return {
    file: source?.file ?? '',
    line: source?.line ?? 0,
    column: source?.column ?? 0,
    severity: problem.severity,
    code: problem.code,
    path: source?.path ?? '',
    message: problem.message,
    fix: problem.fix ?? '',
  };
}

/** In the order in which a reader meets them, each once. */
export function sortFindings(findings: readonly Finding[]): Finding[] {
  const seen = new Set<string>();
  return [...findings]
    .sort(
      (a, b) =>
        compareText(a.file, b.file) || a.line - b.line || a.column - b.column || compareText(a.code, b.code),
    )
    .filter((finding) => {
      const key = JSON.stringify(finding);
      if (seen.has(key)) return false;
      seen.add(key);
      return true;
    });
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
