/** What a trial of policies finds, as lines of text while it runs and a table at its end, or as JSON; of one node or of many. */
import type { FlowEnd, TrialEnd, TrialOver, TrialRow, TrialTotals } from '../agent/protocol/events.js';
import { counted, formatTable } from './output.js';

/** One line of `-o json`: what is new on a node, or (`over`) its whole report at the end. */
export interface TrialLine {
  readonly node?: string;
  readonly rows: readonly TrialRow[];
  readonly totals: TrialTotals;
  readonly over?: TrialOver;
}

const nothing: TrialTotals = { judged: 0, denied: 0, allowed: 0, unnamed: 0, unlisted: 0 };

interface NodeTrial {
  readonly rows: Map<number, TrialRow>;
  totals: TrialTotals;
  over: TrialOver | null;
}

export class TrialView {
  readonly #format: 'table' | 'wide' | 'json';
  readonly #write: (text: string) => void;
  readonly #nodes = new Map<string, NodeTrial>();

  constructor(format: 'table' | 'wide' | 'json', write: (text: string) => void) {
    this.#format = format;
    this.#write = write;
  }

  /** `node`: '' where there is only one. */
  take(node: string, rows: readonly TrialRow[], totals: TrialTotals): void {
    const trial = this.#trial(node);
    trial.totals = totals;
    for (const row of rows) {
      const isNew = !trial.rows.has(row.id);
      trial.rows.set(row.id, row);
      if (isNew && this.#format !== 'json')
        this.#write(`${node === '' ? '' : `${node}: `}${describeRow(row, this.#format === 'wide')}\n`);
    }
    if (this.#format === 'json') this.#line(node, { rows, totals });
  }

  over(node: string, over: TrialOver): void {
    const trial = this.#trial(node);
    if (trial.over !== null) return;
    trial.over = over;
    if (this.#format === 'json')
      this.#line(node, { rows: [...trial.rows.values()], totals: trial.totals, over });
  }

  /** Whether anything was heard of a node's trial. */
  began(node: string): boolean {
    return this.#nodes.has(node);
  }

  /** Flows that would be denied, on all nodes. */
  get denied(): number {
    return [...this.#nodes.values()].reduce((sum, { totals }) => sum + totals.denied, 0);
  }

  /** Nodes whose trial ended before its time, and why. */
  get failures(): readonly string[] {
    return [...this.#nodes].flatMap(([node, { over }]) =>
      over === null || over.reason === 'time' || over.reason === 'asked'
        ? []
        : [`${node === '' ? '' : `${node}: `}${over.message ?? over.reason}`],
    );
  }

  /** The report at the end, for people. */
  summary(): string {
    const rows = [...this.#nodes].flatMap(([node, { rows: own }]) =>
      [...own.values()].map((row) => ({ node, row })),
    );
    const many = [...this.#nodes.keys()].some((node) => node !== '');
    // What would break first.
    rows.sort(
      (a, b) =>
        Number(a.row.change === 'allowed') - Number(b.row.change === 'allowed') || b.row.flows - a.row.flows,
    );
    const table =
      rows.length === 0
        ? ''
        : `\n${formatTable(rows, [
            ...(many ? [{ title: 'NODE', value: ({ node }: (typeof rows)[number]) => node }] : []),
            { title: 'WOULD BE', value: ({ row }) => row.change.toUpperCase() },
            { title: 'FROM', value: ({ row }) => trialEnd(row.source) },
            { title: 'TO', value: ({ row }) => destination(row) },
            { title: 'PORT', value: ({ row }) => port(row) },
            { title: 'FLOWS', value: ({ row }) => row.flows },
            { title: 'BECAUSE', value: ({ row }) => because(row) },
          ])}`;
    const sum = [...this.#nodes.values()].reduce((all, { totals }) => add(all, totals), nothing);
    const rest = [
      ...(sum.unnamed === 0 ? [] : [`${sum.unnamed} more changes came too fast to be named`]),
      ...(sum.unlisted === 0 ? [] : [`${sum.unlisted} more are in no row (agent.trials.rows)`]),
    ];
    const judged = `${counted(sum.judged, 'flow')} judged by both: ${sum.denied} would be denied, ${sum.allowed} would be allowed.`;
    return `${table}\n${judged}${rest.map((text) => `\n${text}.`).join('')}\n`;
  }

  #trial(node: string): NodeTrial {
    let trial = this.#nodes.get(node);
    if (trial === undefined) {
      trial = { rows: new Map(), totals: nothing, over: null };
      this.#nodes.set(node, trial);
    }
    return trial;
  }

  #line(node: string, line: Omit<TrialLine, 'node'>): void {
    this.#write(`${JSON.stringify({ ...(node === '' ? {} : { node }), ...line })}\n`);
  }
}

function add(a: TrialTotals, b: TrialTotals): TrialTotals {
  return {
    judged: a.judged + b.judged,
    denied: a.denied + b.denied,
    allowed: a.allowed + b.allowed,
    unnamed: a.unnamed + b.unnamed,
    unlisted: a.unlisted + b.unlisted,
  };
}

/** `would be DENIED: web/frontend -> db/postgres TCP 5432, isolated by policy db/deny-all, no rule allows`. */
function describeRow(row: TrialRow, wide = false): string {
  const { example } = row;
  const addresses = wide ? ` [${address(example.source)} -> ${address(example.destination)}]` : '';
  return `would be ${row.change.toUpperCase()}: ${trialEnd(row.source)} -> ${destination(row)} ${port(row)}${addresses}, ${because(row)}`;
}

function because({ change, now, then }: TrialRow): string {
  const direction = (change === 'denied' ? then : now).reason === 'policy-egress' ? 'egress' : 'ingress';
  const isolated = ({ isolatedBy }: typeof now) =>
    isolatedBy.length === 0
      ? `${direction} is denied`
      : `${direction} isolated by ${isolatedBy.length === 1 ? 'policy' : 'policies'} ${isolatedBy.join(', ')}`;
  const rules = ({ rules: list }: typeof now) =>
    list.map(({ policy, direction: of, rule }) => `${of} ${policy}[${rule}]`).join(', ');
  if (change === 'denied') {
    const before = rules(now);
    return `${isolated(then)}, no rule allows${before === '' ? '' : ` (now: ${before})`}`;
  }
  const after = rules(then);
  return `${after === '' ? 'not isolated' : `by ${after}`} (now: ${isolated(now)})`;
}

function trialEnd({ kind, name }: TrialEnd): string {
  if (kind === 'external') return name === '' ? 'outside' : name;
  return kind === 'pod' ? name : `${kind === 'service' ? 'svc' : 'node'}/${name}`;
}

function destination(row: TrialRow): string {
  return row.service === undefined
    ? trialEnd(row.destination)
    : `${trialEnd(row.destination)} (svc/${row.service})`;
}

const port = (row: TrialRow) => (row.port === 0 ? row.protocol : `${row.protocol} ${row.port}`);

function address(end: FlowEnd): string {
  if (end.port === 0) return end.address;
  return end.address.includes(':') ? `[${end.address}]:${end.port}` : `${end.address}:${end.port}`;
}
