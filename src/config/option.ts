/**
 * What an option is. A tree of these (`options.ts`) is the single source of weft's configuration: the TypeScript type of the
 * configuration, its validation, `config/default.yaml` and the list of what a running process can take over are all derived from it.
 *
 * `reload` says what SIGHUP does with a change: `live` it is in force at once, `restart` the log says that the named process has
 * to be restarted for it. Units are part of the option: durations are written as `500us`, `20ms`, `30s`, `5m`, `2h`, `5d` and are
 * numbers of microseconds in the program; sizes and counts are plain integers.
 */
export type Reload = 'live' | 'restart';

interface Common<Value> {
  /** One or two sentences: meaning, and what the extremes do. */
  readonly help: string;
  readonly default: Value;
  readonly reload: Reload;
}

export interface TextOption extends Common<string> {
  readonly kind: 'text';
  /** What the text is, for messages: 'a host name', 'a path'. */
  readonly what: string;
  /** null: fine, otherwise what is wrong with the value. */
  readonly check: ((value: string) => string | null) | null;
}

export interface IntegerOption extends Common<number> {
  readonly kind: 'integer';
  readonly unit: string;
  readonly minimum: number;
  readonly maximum: number;
}

/** Value: microseconds. */
export interface DurationOption extends Common<number> {
  readonly kind: 'duration';
  readonly minimum: number;
  readonly maximum: number;
}

export interface BooleanOption extends Common<boolean> {
  readonly kind: 'boolean';
}

export interface ChoiceOption<Name extends string> extends Common<Name> {
  readonly kind: 'choice';
  readonly choices: readonly Name[];
}

export interface ListOption extends Common<readonly string[]> {
  readonly kind: 'list';
  /** What one element is, for messages: 'a CIDR such as 10.42.0.0/24'. */
  readonly what: string;
  readonly check: ((value: string) => string | null) | null;
  /** Checks the list as a whole once each element is fine. */
  readonly checkAll: ((values: readonly string[]) => string | null) | null;
}

export type Option =
  | TextOption
  | IntegerOption
  | DurationOption
  | BooleanOption
  | ChoiceOption<string>
  | ListOption;

export interface Section<Members extends SectionMembers = SectionMembers> {
  readonly kind: 'section';
  readonly help: string;
  readonly members: Members;
}
export type SectionMembers = { readonly [name: string]: Option | Section };

/** The value type that a section or an option describes. */
export type ValueOf<Node> =
  Node extends Section<infer Members>
    ? { readonly [Name in keyof Members]: ValueOf<Members[Name]> }
    : Node extends ChoiceOption<infer Name>
      ? Name
      : Node extends Common<infer Value>
        ? Value
        : never;

export function section<const Members extends SectionMembers>(
  help: string,
  members: Members,
): Section<Members> {
  return Object.freeze({ kind: 'section', help, members });
}

type Given<T extends { readonly kind: string }, Optional extends keyof T = never> = Omit<
  T,
  'kind' | Optional
> &
  Partial<Pick<T, Optional>>;

export const text = (option: Given<TextOption, 'check'>): TextOption => ({
  kind: 'text',
  check: null,
  ...option,
});

export const integer = (option: Given<IntegerOption>): IntegerOption => ({ kind: 'integer', ...option });

/** `default`, `minimum` and `maximum` are written as in the file, e.g. '30s'. */
export const duration = (option: {
  readonly help: string;
  readonly default: string;
  readonly minimum: string;
  readonly maximum: string;
  readonly reload: Reload;
}): DurationOption => ({
  kind: 'duration',
  help: option.help,
  reload: option.reload,
  default: microseconds(option.default),
  minimum: microseconds(option.minimum),
  maximum: microseconds(option.maximum),
});

export const flag = (option: Given<BooleanOption>): BooleanOption => ({ kind: 'boolean', ...option });

export const choice = <const Name extends string>(option: {
  readonly help: string;
  readonly choices: readonly Name[];
  readonly default: NoInfer<Name>;
  readonly reload: Reload;
}): ChoiceOption<Name> => ({ kind: 'choice', ...option });

export const list = (option: Given<ListOption, 'check' | 'checkAll'>): ListOption => ({
  kind: 'list',
  check: null,
  checkAll: null,
  ...option,
});

const durationUnits: readonly (readonly [suffix: string, microseconds: number])[] = [
  ['d', 86_400_000_000],
  ['h', 3_600_000_000],
  ['m', 60_000_000],
  ['s', 1_000_000],
  ['ms', 1000],
  ['us', 1],
];

/** Parses `20ms`, `1.5s`, `2h`; a bare 0 is a duration too. null: not a duration of whole microseconds. */
export function parseDuration(value: string): number | null {
  if (value === '0') return 0;
  const match = /^([0-9]{1,15}(?:\.[0-9]{1,6})?)(us|ms|s|m|h|d)$/.exec(value);
  if (match === null) return null;
  const unit = durationUnits.find(([suffix]) => suffix === match[2])!;
  const result = Number(match[1]) * unit[1];
  return Number.isSafeInteger(result) ? result : null;
}

/** The shortest way to write a duration exactly: the largest unit that divides it. */
export function formatDuration(value: number): string {
  if (value === 0) return '0';
  const unit = durationUnits.find(([, size]) => value % size === 0) ?? (['us', 1] as const);
  return `${value / unit[1]}${unit[0]}`;
}

function microseconds(value: string): number {
  const parsed = parseDuration(value);
  if (parsed === null) throw new Error(`the option table holds ${value}, which is no duration`);
  return parsed;
}
