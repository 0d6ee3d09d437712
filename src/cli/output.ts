/** How commands print: tables for people, JSON and YAML for programs. Data goes to standard output and nothing else does. */
import { Option } from 'commander';
import { stringify } from 'yaml';
import { WeftError } from '../errors/problem.js';
import { isMisread, parseSpokenEnd } from './ends.js';

export type Format = 'table' | 'wide' | 'json' | 'yaml';

/** The `-o` of every command that prints a table. `wide`: what there is more of then; null: there is no wide table. */
export function formatOption(wide: string | null = 'more columns'): Option {
  const formats = wide === null ? ['table', 'json', 'yaml'] : ['table', 'wide', 'json', 'yaml'];
  const help = `table, ${wide === null ? '' : `wide (${wide}), `}json or yaml`;
  return new Option('-o, --output <format>', help).choices(formats).default('table');
}

/** `--json`, which every command with data takes: the same as `-o json`. */
export function jsonOption(): Option {
  return new Option('--json', 'print JSON (the same as -o json)');
}

/** What `-o` and `--json` of a command come to. */
export interface Chosen {
  readonly output: Format;
  readonly json?: true;
}

export function formatOf({ output, json }: Chosen): Format {
  return json === true ? 'json' : output;
}

export interface Column<Row> {
  readonly title: string;
  readonly value: (row: Row) => string | number;
  /** Only with `-o wide`. */
  readonly wide?: boolean;
}

/** Prints rows in the format asked for; with JSON and YAML the rows themselves, all fields. */
export function printRows<Row>(format: Format, rows: readonly Row[], columns: readonly Column<Row>[]): void {
  if (format === 'json' || format === 'yaml') printData(format, rows);
  else print(formatTable(rows, columns, format === 'wide'));
}

export function printData(format: 'json' | 'yaml', data: unknown): void {
  print(format === 'json' ? `${JSON.stringify(data, null, 2)}\n` : stringify(data));
}

/** The same for rows of several nodes: with a column, or field, `node` where they are told apart. */
export function printNodeRows<Row>(
  format: Format,
  answers: readonly { readonly node: string; readonly value: readonly Row[] }[],
  columns: readonly Column<Row>[],
): void {
  if (answers.every(({ node }) => node === '')) {
    printRows(
      format,
      answers.flatMap(({ value }) => value),
      columns,
    );
    return;
  }
  const rows = answers.flatMap(({ node, value }) => value.map((row) => ({ node, row })));
  if (format === 'json' || format === 'yaml')
    printData(
      format,
      rows.map(({ node, row }) => ({ node, ...row })),
    );
  else
    print(
      formatTable(
        rows,
        [
          { title: 'NODE', value: ({ node }) => node },
          ...columns.map(({ value, ...column }) => ({
            ...column,
            value: ({ row }: { readonly row: Row }) => value(row),
          })),
        ],
        format === 'wide',
      ),
    );
}

/** Columns two spaces apart; numbers to the right, text to the left, no spaces at the end of a line. */
export function formatTable<Row>(
  rows: readonly Row[],
  columns: readonly Column<Row>[],
  wide = false,
): string {
  const shown = columns.filter((column) => wide || column.wide !== true);
  const cells = rows.map((row) => shown.map(({ value }) => value(row)));
  const widths = shown.map(({ title }, index) =>
    Math.max(displayWidth(title), ...cells.map((line) => displayWidth(String(line[index])))),
  );
  const pad = (cell: string | number, index: number) => {
    const missing = ' '.repeat(Math.max(0, widths[index]! - displayWidth(String(cell))));
    return typeof cell === 'number' ? `${missing}${cell}` : `${cell}${missing}`;
  };
  // A heading stands over its numbers.
  const numeric = shown.map(
    (_, index) => cells.length > 0 && cells.every((line) => typeof line[index] === 'number'),
  );
  const heading = shown.map(({ title }, index) =>
    numeric[index] ? title.padStart(widths[index]!) : title.padEnd(widths[index]!),
  );
  return [heading, ...cells.map((line) => line.map(pad))]
    .map((line) => `${line.join('  ').trimEnd()}\n`)
    .join('');
}

/** `label: value` lines, values in one column. */
export function formatFacts(facts: readonly (readonly [label: string, value: string])[]): string {
  const width = Math.max(...facts.map(([label]) => label.length));
  return facts.map(([label, value]) => `${`${label}:`.padEnd(width + 2)}${value}\n`).join('');
}

/** `1 pod`, `2 pods`, `2 policies`. */
export function counted(count: number, noun: string): string {
  return `${count} ${count === 1 ? noun : noun.endsWith('y') ? `${noun.slice(0, -1)}ies` : `${noun}s`}`;
}

/** Writes to standard output. */
export function print(text: string): void {
  process.stdout.write(text);
}

/** 1234567 → `1.2M`. */
export function shortNumber(value: number): string {
  for (const [size, suffix] of [
    [1e12, 'T'],
    [1e9, 'G'],
    [1e6, 'M'],
    [1e4, 'k'],
  ] as const) {
    const unit = suffix === 'k' ? 1e3 : size;
    if (value >= size) return `${(value / unit).toFixed(value / unit < 10 ? 1 : 0)}${suffix}`;
  }
  return String(value);
}

/** Seconds for people: `3d4h`, `5m10s`, `7s`. */
export function shortDuration(seconds: number): string {
  const units = [
    [86_400, 'd'],
    [3600, 'h'],
    [60, 'm'],
    [1, 's'],
  ] as const;
  const whole = Math.max(0, Math.round(seconds));
  const first = units.findIndex(([size]) => whole >= size);
  if (first < 0) return '0s';
  const [size, suffix] = units[first]!;
  const next = units[first + 1];
  const rest = next === undefined ? 0 : Math.floor((whole % size) / next[0]);
  return `${Math.floor(whole / size)}${suffix}${rest === 0 || next === undefined ? '' : `${rest}${next[1]}`}`;
}

/** `web/frontend`, or `frontend` of the namespace default, as `weft why` takes it → its two parts; throws what to write instead. */
export function parsePodName(text: string): { readonly namespace: string; readonly name: string } {
  const end = parseSpokenEnd(text);
  if (
    isMisread(end) ||
    end.kind !== 'pod' ||
    !/^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?$/.test(end.namespace) ||
    !/^[a-z0-9](?:[-a-z0-9.]*[a-z0-9])?$/.test(end.name)
  )
    throw new WeftError(
      'usage',
      `A pod is named NAMESPACE/POD, or POD in the namespace default, such as web/frontend; "${text}" is not.`,
    );
  return { namespace: end.namespace, name: end.name };
}

/** East Asian wide characters and emoji take two columns; combining marks none. Good enough for names and addresses. */
function displayWidth(text: string): number {
  let width = 0;
  for (const character of text) {
    if (/\p{Mn}/u.test(character)) continue;
    width +=
      /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|\p{Emoji_Presentation}/u.test(
        character,
      )
        ? 2
        : 1;
  }
  return width;
}
