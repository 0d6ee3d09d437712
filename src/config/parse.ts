/**
 * Text of a configuration file → validated, frozen `Config`, or the problems with their positions. All problems of a file are
 * found in one pass. Nothing is ever half in force: with one error there is no configuration.
 */
import { isAlias, isMap, isScalar, isSeq, LineCounter, type Node, parseDocument, type Scalar } from 'yaml';
import { caretFrame } from '../errors/caret.js';
import { closestName } from '../errors/closest.js';
import { formatSource, type Problem, type SourceRef } from '../errors/problem.js';
import { formatDuration, type ListOption, type Option, parseDuration, type Section } from './option.js';
import { type Config, options } from './options.js';

export type ParsedConfig =
  | { readonly config: Config; readonly problems: readonly [] }
  | { readonly config: null; readonly problems: readonly Problem[] };

/** `file` names the text in messages. An empty text is the default configuration. */
export function parseConfig(text: string, file: string): ParsedConfig {
  const lines = new LineCounter();
  // The core schema without merge keys; aliases stay possible within bounds, duplicate keys are errors.
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: true });
  const reader = new Reader(text, file, lines);
  for (const error of document.errors) {
    reader.report(
      error.code === 'DUPLICATE_KEY' ? 'config-duplicate-key' : 'config-syntax',
      '',
      error.pos,
      error.code === 'DUPLICATE_KEY' ? 'This key is given twice.' : `${error.message}.`,
      error.code === 'DUPLICATE_KEY' ? 'Remove one of the two.' : 'Correct the YAML here.',
    );
  }
  if (reader.problems.length > 0) return { config: null, problems: reader.problems };
  const config = reader.section(document.contents as Node | null, options as Section, '');
  if (reader.problems.length > 0) return { config: null, problems: reader.problems.sort(byPosition) };
  return { config: deepFreeze(config) as Config, problems: [] };
}

function byPosition({ source: a }: Problem, { source: b }: Problem): number {
  return (a?.line ?? 0) - (b?.line ?? 0) || (a?.column ?? 0) - (b?.column ?? 0);
}

/** What the file means when nothing is in it. */
export function defaultConfig(): Config {
  const parsed = parseConfig('', 'default');
  if (parsed.config === null) throw new Error('the defaults of the option table are not valid');
  return parsed.config;
}

/** A partial configuration, as command line flags give it, over another. The result is frozen. */
export type Overrides<T> = T extends readonly unknown[]
  ? T
  : T extends object
    ? { readonly [Name in keyof T]?: Overrides<T[Name]> }
    : T;

export function overrideConfig(config: Config, overrides: Overrides<Config>): Config {
  return deepFreeze(overlay(config, overrides)) as Config;
}

/** A problem as the command line shows it: position, sentence, remedy and the caret frame. */
export function formatProblem(problem: Problem, text?: string): string {
  const source = problem.source;
  const head = `${source === undefined ? '' : `${formatSource(source)}: `}${problem.message}`;
  const frame =
    text !== undefined && source?.line !== undefined
      ? `\n${caretFrame(text, source.line, source.column ?? 1, caretLength(text, source))}`
      : '';
  return `${head}${problem.fix === undefined ? '' : ` ${problem.fix}`}${frame}`;
}

class Reader {
  readonly problems: Problem[] = [];
  readonly #text: string;
  readonly #file: string;
  readonly #lines: LineCounter;

  constructor(text: string, file: string, lines: LineCounter) {
    this.#text = text;
    this.#file = file;
    this.#lines = lines;
  }

  report(code: string, path: string, range: readonly number[], message: string, fix: string): void {
    const offset = Math.min(range[0] ?? 0, this.#text.length);
    const position = this.#lines.linePos(offset);
    const source: SourceRef = {
      file: this.#file,
      line: Math.max(1, position.line),
      column: Math.max(1, position.col),
      ...(path === '' ? {} : { path }),
    };
    this.problems.push({ code, severity: 'error', message, fix, source });
  }

  /** Members of a section; what is absent or null takes its default. */
  section(node: Node | null, described: Section, path: string): Record<string, unknown> {
    const given = new Map<string, Node | null>();
    if (node !== null && !isNull(node)) {
      if (!isMap(node)) {
        this.report(
          'config-type',
          path,
          node.range ?? [0],
          `${path === '' ? 'The file' : path} has to be a section with options, found ${describe(node)}.`,
          `Its options: ${Object.keys(described.members).join(', ')}.`,
        );
        return this.section(null, described, path);
      }
      for (const pair of node.items) {
        const key = pair.key as Node;
        const name = isScalar(key) ? String(key.value) : '';
        if (!isScalar(key) || !Object.hasOwn(described.members, name)) {
          this.#unknown(name, path, key, described);
          continue;
        }
        given.set(name, pair.value as Node | null);
      }
    }
    const result: Record<string, unknown> = {};
    for (const [name, member] of Object.entries(described.members)) {
      const memberPath = path === '' ? name : `${path}.${name}`;
      const value = given.get(name) ?? null;
      if (member.kind === 'section') result[name] = this.section(value, member, memberPath);
      else if (value === null || isNull(value)) result[name] = member.default;
      else result[name] = this.option(value, member, memberPath);
    }
    return result;
  }

  option(node: Node, option: Option, path: string): unknown {
    if (option.kind === 'list') return this.list(node, option, path);
    const wrong = (code: string, allowed: string): unknown => {
      this.report(code, path, node.range ?? [0], `${path}: found ${describe(node)}.`, `Allowed: ${allowed}.`);
      return option.default;
    };
    const value = isScalar(node) ? node.value : undefined;
    switch (option.kind) {
      case 'boolean':
        return typeof value === 'boolean' ? value : wrong('config-type', 'true or false');
      case 'integer': {
        const allowed = `a whole number of ${option.unit} from ${option.minimum} to ${option.maximum}`;
        if (typeof value !== 'number' || !Number.isSafeInteger(value)) return wrong('config-type', allowed);
        if (value < option.minimum || value > option.maximum) return wrong('config-range', allowed);
        return value;
      }
      case 'duration': {
        const allowed = `a duration from ${formatDuration(option.minimum)} to ${formatDuration(option.maximum)}, such as 500us, 20ms, 30s, 5m, 2h, 1d`;
        const parsed = value === 0 ? 0 : typeof value === 'string' ? parseDuration(value.trim()) : null;
        if (parsed === null) return wrong('config-type', allowed);
        if (parsed < option.minimum || parsed > option.maximum) return wrong('config-range', allowed);
        return parsed;
      }
      case 'choice':
        if (typeof value === 'string' && option.choices.includes(value)) return value;
        return wrong('config-value', option.choices.join(', '));
      case 'text': {
        if (typeof value !== 'string') return wrong('config-type', option.what);
        const complaint = option.check?.(value) ?? null;
        if (complaint !== null) return wrong('config-value', `${option.what}; ${complaint}`);
        return value;
      }
    }
  }

  list(node: Node, option: ListOption, path: string): readonly string[] {
    if (!isSeq(node)) {
      this.report(
        'config-type',
        path,
        node.range ?? [0],
        `${path} has to be a list, found ${describe(node)}.`,
        `Each element: ${option.what}.`,
      );
      return option.default;
    }
    const values: string[] = [];
    for (const [index, item] of node.items.entries()) {
      const element = item as Node;
      const value = isScalar(element) ? textOf(element) : undefined;
      const complaint = typeof value === 'string' ? (option.check?.(value) ?? null) : 'it is no text';
      if (typeof value === 'string' && complaint === null) values.push(value);
      else
        this.report(
          typeof value === 'string' ? 'config-value' : 'config-type',
          `${path}[${index}]`,
          element.range ?? [0],
          `${path}[${index}]: found ${describe(element)}; ${complaint}.`,
          `Allowed: ${option.what}.`,
        );
    }
    const whole = values.length === node.items.length ? (option.checkAll?.(values) ?? null) : null;
    if (whole !== null)
      this.report(
        'config-value',
        path,
        node.range ?? [0],
        `${path}: ${whole}.`,
        `Each element: ${option.what}.`,
      );
    return values;
  }

  #unknown(name: string, path: string, key: Node, described: Section): void {
    const where = path === '' ? 'the file' : path;
    const members = Object.keys(described.members);
    const near = closestName(name, members);
    const elsewhere = near === null ? optionPaths().filter((full) => full.endsWith(`.${name}`)) : [];
    const fix =
      near !== null
        ? `Did you mean ${near}?`
        : elsewhere.length > 0
          ? `There is ${elsewhere.join(' and ')}: is it in the wrong section, or indented wrongly?`
          : `Known here: ${members.join(', ')}.`;
    this.report(
      'config-unknown-key',
      path,
      key.range ?? [0],
      `There is no option ${name || 'of this form'} in ${where}.`,
      fix,
    );
  }
}

/** Every option's path in the order of the table, e.g. `switch.drain.frames`. */
function optionPaths(): string[] {
  return [...eachOption()].map(([path]) => path);
}

export function* eachOption(
  of: Section = options as Section,
  path = '',
): Generator<readonly [string, Option]> {
  for (const [name, member] of Object.entries(of.members)) {
    const memberPath = path === '' ? name : `${path}.${name}`;
    if (member.kind === 'section') yield* eachOption(member, memberPath);
    else yield [memberPath, member];
  }
}

function isNull(node: Node): boolean {
  return isScalar(node) && node.value === null;
}

/** An element of a list is text, and a number among them what was written: `[0, 1]` names cores as `["0", "1"]` does. */
function textOf({ value, source }: Scalar): unknown {
  return typeof value === 'number' ? source : value;
}

function describe(node: Node): string {
  if (isAlias(node)) return 'an alias (aliases are not supported here)';
  if (isMap(node)) return 'a section';
  if (isSeq(node)) return 'a list';
  if (!isScalar(node)) return 'something else';
  const value = node.value;
  return typeof value === 'string' ? JSON.stringify(value) : String(value);
}

function caretLength(text: string, source: SourceRef): number {
  const line = text.split('\n')[(source.line ?? 1) - 1] ?? '';
  return /^("[^"]*"|'[^']*'|[^\s:#,\]}]+)/.exec(line.slice((source.column ?? 1) - 1))?.[0].length ?? 1;
}

function overlay(base: unknown, over: unknown): unknown {
  if (over === undefined) return base;
  if (Array.isArray(over) || typeof over !== 'object' || over === null) return over;
  const result: Record<string, unknown> = { ...(base as Record<string, unknown>) };
  for (const [name, value] of Object.entries(over)) result[name] = overlay(result[name], value);
  return result;
}

/** Lists are cloned: the defaults of the table are shared by all configurations. */
function deepFreeze(value: unknown): unknown {
  if (Array.isArray(value)) return Object.freeze(value.map(deepFreeze));
  if (typeof value !== 'object' || value === null) return value;
  return Object.freeze(
    Object.fromEntries(Object.entries(value).map(([name, member]) => [name, deepFreeze(member)])),
  );
}
