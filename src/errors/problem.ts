/**
 * Problems are what weft finds wrong with its input; they are values, collected and shown. A WeftError is a Problem that ends the
 * command at hand: it carries the same stable code and the same kind of sentence (the thing, what was found, what to do).
 */
export type Severity = 'error' | 'warning' | 'info';

/** Where something stands in its source. Lines and columns start at 1; `path` is the field path, such as `spec.ingress[0].ports[1].port`. */
export interface SourceRef {
  readonly file: string;
  readonly line?: number;
  readonly column?: number;
  readonly path?: string;
}

export interface Problem {
  readonly code: string;
  readonly severity: Severity;
  readonly message: string;
  readonly fix?: string;
  readonly source?: SourceRef;
}

export class WeftError extends Error {
  readonly code: string;
  readonly problems: readonly Problem[];

  constructor(
    code: string,
    message: string,
    options: { cause?: unknown; problems?: readonly Problem[] } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'WeftError';
    this.code = code;
    this.problems = options.problems ?? [];
  }
}

/** `file:line:column`, as editors and terminals make clickable; parts that are unknown are left out. */
export function formatSource(source: SourceRef): string {
  return [source.file, source.line, source.column].filter((part) => part !== undefined).join(':');
}

/** A problem that ends the command at hand. */
export function problemError(problem: Problem): WeftError {
  const message = problem.fix === undefined ? problem.message : `${problem.message} ${problem.fix}`;
  return new WeftError(problem.code, message, { problems: [problem] });
}
