/** `weft lab watch`: applies a folder of manifests whenever a file in it is saved, measures again, and points at what changed. */
import { statSync, watch as watchFiles } from 'node:fs';
import { dirname } from 'node:path';
import { WeftError } from '../../errors/problem.js';
import type { LabClient } from '../../lab/launch.js';
import type { Cell } from '../../lab/matrix.js';
import type { ProbeSelection } from '../../lab/protocol.js';
import { cellKey } from '../../lab/table.js';
import { counted } from '../output.js';
import { readObjects } from './input.js';
import { type Format, formatChanges, printMatrix } from './report.js';

/** Milliseconds: editors save in several steps. */
const settle = 80;

/** Runs until `stop` is aborted. A file that cannot be read is shown and waited for; the lab keeps what it had. */
export async function watchFolder(
  client: LabClient,
  paths: readonly string[],
  selection: ProbeSelection,
  format: Format,
  stop: AbortSignal,
): Promise<void> {
  let before: readonly Cell[] | undefined;
  let wake = () => {};
  let saved = true;
  const watchers = paths.map((path) => {
    const folder = statSync(path).isDirectory();
    return watchFiles(folder ? path : dirname(path), { recursive: folder }, () => {
      saved = true;
      wake();
    });
  });
  stop.addEventListener('abort', () => wake());
  try {
    while (!stop.aborted) {
      if (!saved) await new Promise<void>((resolve) => (wake = resolve));
      if (stop.aborted) return;
      await new Promise((resolve) => setTimeout(resolve, settle));
      saved = false;
      before = (await round(client, paths, selection, format, before)) ?? before;
    }
  } finally {
    for (const watcher of watchers) watcher.close();
  }
}

/** One measurement; undefined where the files could not be taken over. */
async function round(
  client: LabClient,
  paths: readonly string[],
  selection: ProbeSelection,
  format: Format,
  before: readonly Cell[] | undefined,
): Promise<readonly Cell[] | undefined> {
  try {
    const applied = await client.request('replace', { objects: readObjects(paths, true) });
    const { cells, milliseconds } = await client.request('probe', { selection });
    const changed = before === undefined ? new Set<string>() : changedCells(before, cells);
    if (process.stdout.isTTY === true && format === 'table') process.stdout.write('\u001b[2J\u001b[H');
    process.stderr.write(before === undefined ? '' : formatChanges(applied.changes));
    printMatrix(cells, format, changed);
    for (const problem of applied.problems) process.stderr.write(`${problem.severity}: ${problem.message}\n`);
    process.stderr.write(
      `${new Date().toTimeString().slice(0, 8)}  applied in ${applied.milliseconds} ms, measured in ${milliseconds} ms` +
        `${before === undefined ? '' : `; ${counted(changed.size, 'cell')} changed`}. Waiting for the next save (Ctrl-C ends).\n`,
    );
    return cells;
  } catch (error) {
    if (!(error instanceof WeftError) || error.code === 'lab-away') throw error;
    process.stderr.write(`${error.message}\nThe lab keeps what it had. Waiting for the next save.\n`);
    return undefined;
  }
}

/** Questions that are answered otherwise than before, or are new. */
function changedCells(before: readonly Cell[], now: readonly Cell[]): Set<string> {
  const answers = new Map(before.map((cell) => [`${cellKey(cell)} ${cell.family}`, cell.measured]));
  return new Set(
    now
      .filter((cell) => answers.get(`${cellKey(cell)} ${cell.family}`) !== cell.measured)
      .map((cell) => cellKey(cell)),
  );
}
