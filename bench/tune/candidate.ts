/**
 * What `weft tune` tries: one change of the configuration each, of options whose best value depends on the board. Everything else has
 * one answer for all boards and is no matter of tuning.
 */
import { parse } from 'yaml';

/** Options of the section `switch`, as in config/default.yaml. */
export type SwitchOptions = Readonly<Record<string, unknown>>;

export interface Candidate {
  /** In the report: lower case, `-` between words. */
  readonly name: string;
  readonly options: SwitchOptions;
  /** What the change trades, one sentence. */
  readonly trade: string;
}

/** The candidates for a machine with so many cores that the process may use. */
export function candidatesFor(cores: number): readonly Candidate[] {
  const all: (Candidate & { readonly fromCores: number })[] = [
    {
      name: 'poll-50us',
      options: { pollTime: '50us' },
      trade:
        'a worker looks again for 50 µs before it sleeps: lower latency, and a core that is never quite idle',
      fromCores: 2,
    },
    {
      name: 'poll-200us',
      options: { pollTime: '200us' },
      trade: 'the same for 200 µs',
      fromCores: 3,
    },
    {
      name: 'two-workers',
      options: { workers: 2 },
      trade: 'two directions at once, where a core is left for each worker beside the pods',
      fromCores: 2,
    },
    {
      name: 'worker-each-core',
      options: { workers: Math.min(8, cores) },
      trade: 'a worker for every core',
      fromCores: 3,
    },
    {
      name: 'pinned-last-core',
      options: { workers: 1, cores: [String(cores - 1)] },
      trade: 'the worker stays on one core, warm, and cannot move away from a busy pod there',
      fromCores: 2,
    },
    {
      name: 'prompt',
      options: { scheduling: 'prompt', nice: -20 },
      trade: 'a worker that wakes up preempts the pods at once',
      fromCores: 1,
    },
    {
      name: 'fifo',
      options: { scheduling: 'fifo' },
      trade: 'the worker runs before every pod, and a flooding pod takes its neighbours’ time through it',
      fromCores: 1,
    },
    {
      name: 'drain-16',
      options: { drain: { frames: 16 } },
      trade: 'shorter turns: fairer between pods, less gathered in a turn',
      fromCores: 1,
    },
    {
      name: 'drain-256',
      options: { drain: { frames: 256 } },
      trade: 'longer turns: more gathered in one, other pods wait longer',
      fromCores: 1,
    },
  ];
  return all
    .filter(({ fromCores }) => cores >= fromCores)
    .map(({ name, options, trade }) => ({ name, options, trade }));
}

/** Options over options; sections are merged, lists replaced. */
export function merged(base: SwitchOptions, over: SwitchOptions): SwitchOptions {
  const result: Record<string, unknown> = { ...base };
  for (const [name, value] of Object.entries(over)) {
    const before = result[name];
    const sections = isSection(before) && isSection(value);
    result[name] = sections ? merged(before, value) : value;
  }
  return result;
}

const isSection = (value: unknown): value is SwitchOptions =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** The section `switch` of a configuration file's text; empty where it has none. The file was validated before. */
export function switchOptionsOf(yaml: string): SwitchOptions {
  const document: unknown = parse(yaml);
  const section = isSection(document) ? document.switch : undefined;
  return isSection(section) ? section : {};
}

/** Whether two candidates want different things of one option. */
export function exclude(a: Candidate, b: Candidate): boolean {
  return Object.keys(a.options).some((name) => name in b.options);
}
