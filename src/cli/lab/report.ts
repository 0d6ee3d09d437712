/** What lab commands print: tables for people on a terminal, JSON and YAML for programs, to standard output only. */
import { stringify } from 'yaml';
import type { Change } from '../../lab/cluster.js';
import type { Cell } from '../../lab/matrix.js';
import type { LabStatusAnswer } from '../../lab/protocol.js';
import { formatMatrix } from '../../lab/table.js';
import { counted } from '../output.js';

export type Format = 'table' | 'wide' | 'json' | 'yaml';

function useColour(): boolean {
  if (process.env.NO_COLOR) return false;
  return process.stdout.isTTY === true || Boolean(process.env.FORCE_COLOR);
}

export function printData(data: unknown, format: 'json' | 'yaml'): void {
  process.stdout.write(format === 'json' ? `${JSON.stringify(data, null, 2)}\n` : stringify(data));
}

/** As kubectl says it: `networkpolicy.shop/deny-all created`; what did not change is not named. */
export function formatChanges(changes: readonly Change[]): string {
  const said = changes.filter(({ what }) => what !== 'unchanged' && what !== 'skipped');
  const skipped = changes.filter(({ what }) => what === 'skipped');
  const lines = said.map(({ kind, namespace, name, what }) => {
    const place = namespace === '' ? '' : `${namespace}/`;
    return `${kind.toLowerCase()} ${place}${name} ${what}`;
  });
  for (const { kind, name } of skipped) {
    lines.push(
      kind.endsWith('NetworkPolicy')
        ? `${kind} ${name} skipped: weft enforces NetworkPolicy of networking.k8s.io/v1 and no other policies`
        : `${kind} ${name} skipped: a lab has no use for it`,
    );
  }
  return lines.map((line) => `${line}\n`).join('');
}

export function printMatrix(cells: readonly Cell[], format: Format, changed?: ReadonlySet<string>): void {
  if (format === 'json' || format === 'yaml') {
    printData({ cells, agrees: cells.every(({ agrees }) => agrees) }, format);
    return;
  }
  if (format === 'wide') {
    process.stdout.write(wideMatrix(cells));
    return;
  }
  const width = process.stdout.columns ?? Number(process.env.COLUMNS ?? 120);
  process.stdout.write(
    formatMatrix(cells, { colour: useColour(), width, ...(changed === undefined ? {} : { changed }) }),
  );
}

/** One line a probe. */
function wideMatrix(cells: readonly Cell[]): string {
  const rows = cells.map((cell) => [
    cell.from,
    cell.to,
    `${cell.port}/${cell.protocol}`,
    `IPv${cell.family}`,
    cell.measured,
    cell.expected,
    cell.agrees ? 'ok' : 'MISMATCH',
    cell.denial === undefined
      ? cell.observation
      : `${cell.observation}; ${cell.denial.direction}: ${cell.denial.policies.join(', ')}`,
  ]);
  return columns([['FROM', 'TO', 'PORT', 'FAMILY', 'MEASURED', 'EXPECTED', '', 'SEEN'], ...rows]);
}

export function columns(rows: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const row of rows) {
    for (const [i, text] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, text.length);
  }
  return rows
    .map(
      (row) =>
        `${row
          .map((text, i) => text.padEnd(widths[i]!))
          .join('  ')
          .trimEnd()}\n`,
    )
    .join('');
}

export function printStatus(status: LabStatusAnswer, format: Format): void {
  if (format === 'json' || format === 'yaml') {
    const { type: _type, id: _id, ...data } = status;
    printData(data, format);
    return;
  }
  const failed = status.pods.filter(({ state }) => state === 'failed').length;
  process.stdout.write(
    `Lab ${status.name}, up ${status.uptimeSeconds} s: ${counted(status.pods.length, 'pod')}${failed === 0 ? '' : ` (${failed} not up)`}, ` +
      `${counted(status.services.length, 'service')}, ${counted(status.policies.length, 'policy')}\n\n`,
  );
  const rows = status.pods.map((pod) => [
    pod.pod,
    pod.addresses.join(' '),
    pod.ports.join(' ') || '-',
    pod.hostNetwork ? 'host network' : pod.error === undefined ? pod.state : `failed: ${pod.error}`,
  ]);
  process.stdout.write(columns([['POD', 'ADDRESSES', 'PORTS', 'STATE'], ...rows]));
  if (format !== 'wide') return;
  process.stdout.write(
    `\n${columns([['SERVICE', 'ADDRESSES'], ...status.services.map((one) => [one.service, one.addresses.join(' ') || '-'])])}`,
  );
  process.stdout.write(`\n${columns([['POLICY'], ...status.policies.map((policy) => [policy])])}`);
  if (status.externals.length > 0)
    process.stdout.write(`\n${columns([['EXTERNAL'], ...status.externals.map((one) => [one])])}`);
}
