/** The command line of the suite. */
import { parseArgs } from 'node:util';
import type { Settings } from './report/json.js';

export interface Options {
  readonly settings: Settings;
  readonly list: boolean;
  readonly help: boolean;
  /** Also written as the checked-in reference report. */
  readonly reference: boolean;
  /** Folder of the report; null: bench/results/TIME. */
  readonly out: string | null;
}

/** Figures of the two scopes; `--rounds` and `--seconds` replace them. */
export const paces = {
  quick: { rounds: 5, seconds: 0.4, warmUpSeconds: 0.3 },
  full: { rounds: 5, seconds: 1, warmUpSeconds: 0.5 },
} as const;

export const usage = `usage: npm run bench -- [--quick | --full] [--only TEXT]... [--list] [--rounds N] [--seconds S] [--out DIR] [--reference]
  --quick        the pairs of the quick run (under 3 minutes); --full, the default, all of them
  --only TEXT    only comparisons and contender/workload pairs that contain all words of TEXT; may be given again for more
  --list         prints what would run and how long it would take, and ends
  --rounds N     counted rounds (default ${paces.full.rounds}), after one that is discarded
  --seconds S    length of a sample (default ${paces.full.seconds}, quick ${paces.quick.seconds})
  --out DIR      where the report goes (default bench/results/TIME)
  --reference    also written as bench/results/reference.*
Ends with 0 when everything ran (a figure that is not reached is a result), 1 when something could not be measured, 2 for a wrong
command line, 128 + signal when it was ended early; what was measured until then is reported.
`;

/** The options, or what is wrong with them. */
export function optionsOf(argv: readonly string[]): Options | string {
  let values: ReturnType<typeof parse>;
  try {
    values = parse(argv);
  } catch (error) {
    return (error as Error).message;
  }
  if (values.quick && values.full) return '--quick and --full exclude each other';
  const scope = values.quick ? 'quick' : 'full';
  const rounds = values.rounds === undefined ? paces[scope].rounds : Number(values.rounds);
  if (!Number.isInteger(rounds) || rounds < 1 || rounds > 1000)
    return `--rounds '${values.rounds}' is not a whole number from 1 to 1000`;
  const seconds = values.seconds === undefined ? paces[scope].seconds : Number(values.seconds);
  if (!(seconds >= 0.1 && seconds <= 600))
    return `--seconds '${values.seconds}' is not a number from 0.1 to 600`;
  const only = values.only ?? [];
  if (only.some((text) => text.trim() === '')) return '--only needs a text';
  return {
    settings: {
      scope,
      only,
      rounds,
      seconds,
      warmUpSeconds: Math.min(seconds, paces[scope].warmUpSeconds),
    },
    list: values.list ?? false,
    help: values.help ?? false,
    reference: values.reference ?? false,
    out: values.out ?? null,
  };
}

function parse(argv: readonly string[]) {
  return parseArgs({
    args: [...argv],
    options: {
      quick: { type: 'boolean' },
      full: { type: 'boolean' },
      only: { type: 'string', multiple: true },
      list: { type: 'boolean' },
      rounds: { type: 'string' },
      seconds: { type: 'string' },
      out: { type: 'string' },
      reference: { type: 'boolean' },
      help: { type: 'boolean', short: 'h' },
    },
    strict: true,
    allowPositionals: false,
  }).values;
}
