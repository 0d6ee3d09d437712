/** Showing problems to a person, and the one rule by which the command line refuses input. */
import type { Writable } from 'node:stream';
import { caretFrame } from '../../errors/caret.js';
import { formatSource, type Problem, WeftError } from '../../errors/problem.js';
import { losses } from '../../manifests/losses.js';
import type { ManifestObject } from '../../manifests/object.js';

const mostShown = 20;

/**
 * Text that cannot be read or parsed ends the command with every problem shown: nobody knows what the missing part would have said.
 * (An object that parses but is invalid is decoded closed; whether that is good enough is the command's choice.)
 */
export function refuseUnreadable(read: {
  readonly problems: readonly Problem[];
  readonly texts: ReadonlyMap<string, string>;
}): void {
  const errors = read.problems.filter((problem) => problem.severity === 'error');
  if (errors.length > 0) {
    const shown = errors.slice(0, mostShown).map((problem) => formatProblem(problem, read.texts));
    const more = errors.length > shown.length ? `\n… and ${errors.length - shown.length} more.` : '';
    throw new WeftError('input', `The input cannot be read.\n${shown.join('\n')}${more}`, {
      problems: errors,
    });
  }
}

/** Refuses objects that would be left out though they close something: an answer without them would be wrong, and open. */
export function refuseLosses(
  written: readonly ManifestObject[],
  texts: ReadonlyMap<string, string> = new Map(),
): void {
  refuseUnreadable({ problems: losses(written), texts });
}

/** Refuses invalid objects too: what `lab up` and `apply` do, so that a typing error is found before it isolates somebody. */
export function refuseInvalid(problems: readonly Problem[], texts: ReadonlyMap<string, string>): void {
  const errors = problems.filter((problem) => problem.severity === 'error');
  if (errors.length > 0) {
    throw new WeftError('input', errors.map((problem) => formatProblem(problem, texts)).join('\n'), {
      problems: errors,
    });
  }
}

export function reportProblems(
  problems: readonly Problem[],
  texts: ReadonlyMap<string, string>,
  output: Writable,
): void {
  for (const problem of problems.slice(0, mostShown)) output.write(`${formatProblem(problem, texts)}\n`);
  const more = problems.length - mostShown;
  if (more > 0) output.write(`… and ${more} more; weft policy lint shows them all.\n`);
}

/** `file:line:column: severity: message [code]`, the line with a caret, what to do. */
export function formatProblem(problem: Problem, texts: ReadonlyMap<string, string>): string {
  const { source } = problem;
  const head = `${source === undefined ? '' : `${formatSource(source)}: `}${problem.severity}: ${problem.message} [${problem.code}]`;
  const text = source === undefined ? undefined : texts.get(source.file);
  const frame =
    text === undefined || source?.line === undefined
      ? ''
      : `\n${caretFrame(text, source.line, source.column ?? 1).replace(/^/gm, '  ')}`;
  return `${head}${frame}${problem.fix === undefined ? '' : `\n  fix: ${problem.fix}`}`;
}
