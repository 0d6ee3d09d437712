/**
 * The matrix on a terminal. Rows are what is asked for (pod, port), columns who asks. A cell says what was measured; where that is not
 * what was expected it says both. Below the table stands, for each denial, the policy that made it.
 */
import type { Cell } from './matrix.js';

export interface TableOptions {
  readonly colour: boolean;
  /** Characters of a line; more sources than fit are numbered and named in a legend. */
  readonly width: number;
  /** Cells (by `cellKey`) to point at: what changed since the last measurement. */
  readonly changed?: ReadonlySet<string>;
}

const codes = { green: '32', red: '31', yellow: '33', bold: '1', dim: '2', inverse: '7' } as const;
type Paint = (text: string, ...styles: (keyof typeof codes)[]) => string;

function painter(colour: boolean): Paint {
  return (text, ...styles) =>
    colour && styles.length > 0
      ? `\u001b[${styles.map((style) => codes[style]).join(';')}m${text}\u001b[0m`
      : text;
}

/** The question a cell answers, without the family. */
export function cellKey(cell: Pick<Cell, 'from' | 'to' | 'port' | 'protocol'>): string {
  return `${cell.from} ${rowOf(cell)}`;
}

function rowOf(cell: Pick<Cell, 'to' | 'port' | 'protocol'>): string {
  return `${cell.to} ${cell.port}/${cell.protocol}`;
}

/** Text of the whole matrix with its explanation. */
export function formatMatrix(cells: readonly Cell[], options: TableOptions): string {
  if (cells.length === 0) return 'Nothing to measure: there are not two pods of which one serves a port.\n';
  const paint = painter(options.colour);
  const grouped = new Map<string, Cell[]>();
  for (const cell of cells) {
    const list = grouped.get(cellKey(cell));
    if (list === undefined) grouped.set(cellKey(cell), [cell]);
    else list.push(cell);
  }
  const sources = unique(cells.map((cell) => cell.from));
  const rows = unique([...cells].sort(compareRows).map(rowOf));
  const label = shortener([...sources, ...cells.map((cell) => cell.to)]);
  const rowLabels = new Map(
    cells.map((cell) => [rowOf(cell), `${label(cell.to)} ${cell.port}/${cell.protocol}`]),
  );
  const first = Math.max(...[...rowLabels.values()].map((text) => text.length), 'to \\ from'.length);
  const named = sources.map(label);
  const room = options.width - first;
  const fits = named.reduce((sum, name) => sum + Math.max(name.length, 3) + 2, 0) <= room;
  const heads = fits ? named : named.map((_, index) => `${index + 1}`);
  const widths = heads.map((head) => Math.max(head.length, 3));

  const lines: string[] = [];
  lines.push(
    `${'to \\ from'.padEnd(first)}${heads.map((head, i) => `  ${head.padEnd(widths[i]!)}`).join('')}`.trimEnd(),
  );
  for (const row of rows) {
    const texts = sources.map((from, i) => {
      const group = grouped.get(`${from} ${row}`);
      const { text, style } = cellText(group);
      const changed = options.changed?.has(`${from} ${row}`) === true;
      // Without colour a change needs a mark of its own.
      const shown = changed && !options.colour ? `${text}*` : text;
      return `  ${paint(shown, ...style, ...(changed ? (['inverse'] as const) : []))}${' '.repeat(Math.max(widths[i]! - shown.length, 0))}`;
    });
    lines.push(`${(rowLabels.get(row) ?? row).padEnd(first)}${texts.join('')}`.trimEnd());
  }
  if (!fits) lines.push('', ...named.map((name, index) => `${String(index + 1).padStart(4)}  ${name}`));
  return `${lines.join('\n')}\n${explain(cells, paint, label)}`;
}

/** ✓ reached, ✗ not reached; both families in one where they agree. */
function cellText(group: readonly Cell[] | undefined): { text: string; style: (keyof typeof codes)[] } {
  if (group === undefined) return { text: '·', style: ['dim'] };
  const mark = (cell: Cell) => (cell.measured === 'allowed' ? '✓' : '✗');
  const wish = (cell: Cell) => (cell.expected === 'allowed' ? '✓' : cell.expected === 'denied' ? '✗' : '±');
  const same = group.every((cell) => mark(cell) === mark(group[0]!));
  const text = same ? mark(group[0]!) : group.map((cell) => `${cell.family}${mark(cell)}`).join('');
  const wrong = group.find((cell) => !cell.agrees);
  if (wrong !== undefined) return { text: `${text}≠${wish(wrong)}`, style: ['red', 'bold'] };
  return { text, style: [group[0]!.measured === 'allowed' ? 'green' : 'yellow'] };
}

function explain(cells: readonly Cell[], paint: Paint, label: (key: string) => string): string {
  const lines: string[] = [''];
  const wrong = cells.filter((cell) => !cell.agrees);
  for (const cell of wrong) {
    lines.push(
      paint(
        `MISMATCH ${cell.from} → ${rowOf(cell)} (IPv${cell.family}): expected ${cell.expected}, measured ${cell.measured}: ${cell.observation}`,
        'red',
        'bold',
      ),
    );
  }
  const denials = new Map<string, string[]>();
  for (const cell of cells) {
    if (cell.denial === undefined || cell.measured === 'allowed') continue;
    const { direction, pod, policies } = cell.denial;
    const reason =
      policies.length === 0
        ? `${direction} of ${pod} (no policy named)`
        : `${direction} of ${label(pod)} is isolated by ${policies.join(', ')}`;
    const list = denials.get(reason) ?? [];
    const text = `${label(cell.from)} → ${label(cell.to)} ${cell.port}/${cell.protocol}`;
    if (!list.includes(text)) list.push(text);
    denials.set(reason, list);
  }
  if (denials.size > 0) lines.push('Denied by');
  for (const [reason, list] of [...denials].sort(([a], [b]) => (a < b ? -1 : 1))) {
    lines.push(`  ${reason}`);
    for (const text of list) lines.push(`    ${paint('✗', 'yellow')} ${text}`);
  }
  const allowed = cells.filter((cell) => cell.measured === 'allowed').length;
  if (lines.length > 1) lines.push('');
  lines.push(
    `${cells.length} probes: ${allowed} allowed, ${cells.length - allowed} denied; ${
      wrong.length === 0
        ? paint('every one as expected', 'green')
        : paint(`${wrong.length} not as expected`, 'red', 'bold')
    }`,
  );
  return `${lines.join('\n')}\n`;
}

/** Leaves the namespace out where all pods share one. */
function shortener(keys: readonly string[]): (key: string) => string {
  const namespaces = new Set(
    keys
      .filter((key) => /^[^/]+\/[^/]+$/.test(key) && !key.startsWith('node/'))
      .map((key) => key.split('/')[0]!),
  );
  const [only] = namespaces;
  if (namespaces.size !== 1 || only === undefined) return (key) => key;
  return (key) =>
    key.startsWith(`${only}/`)
      ? key.slice(only.length + 1)
      : key.startsWith(`svc/${only}/`)
        ? `svc/${key.slice(only.length + 5)}`
        : key;
}

/** Pods by name and port, Services below them. */
function compareRows(a: Cell, b: Cell): number {
  const key = (cell: Cell) =>
    `${cell.to.startsWith('svc/') ? 1 : 0} ${cell.to} ${String(cell.port).padStart(5, '0')} ${cell.protocol}`;
  return key(a) < key(b) ? -1 : 1;
}

function unique(list: readonly string[]): string[] {
  return [...new Set(list)];
}
