/**
 * The epoch: how many agents have started on this run directory. It grows with every start, so that the switch can tell a stale
 * agent from its successor. Written before it is used; a file that cannot be read counts as lost, and the clock then gives a number
 * that no counter reaches. One that is not there is a first start, unless the switch knows of others.
 */
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { rememberedEpoch } from '../dataplane/state.js';
import { WeftError } from '../errors/problem.js';

export function nextEpoch(runDirectory: string, now: () => number = Date.now): number {
  const file = join(runDirectory, 'agent.epoch');
  let epoch: number;
  try {
    const text = readFileSync(file, 'utf8').trim();
    const last = /^[1-9][0-9]{0,15}$/.test(text) ? Number(text) : Number.NaN;
    epoch = Number.isSafeInteger(last + 1) ? last + 1 : now();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    epoch = rememberedEpoch(runDirectory) + 1;
  }
  try {
    writeFileSync(`${file}.new`, `${epoch}\n`, { mode: 0o600 });
    renameSync(`${file}.new`, file);
  } catch (error) {
    // On a full disk the file can still be changed where it lies: its block is there.
    if (!existsSync(file)) throw unwritable(file, error);
    try {
      writeFileSync(file, `${epoch}\n`, { flag: 'r+' });
    } catch (again) {
      throw unwritable(file, again);
    }
  }
  return epoch;
}

/** Writes the epoch of a running agent again where somebody has removed it; true: it was so. Throws what the file system says. */
export function keepEpoch(runDirectory: string, epoch: number): boolean {
  const file = join(runDirectory, 'agent.epoch');
  if (existsSync(file)) return false;
  mkdirSync(runDirectory, { recursive: true, mode: 0o700 });
  writeFileSync(file, `${epoch}\n`, { mode: 0o600 });
  return true;
}

function unwritable(file: string, error: unknown): WeftError {
  const { code, message } = error as NodeJS.ErrnoException;
  return new WeftError(
    'epoch-write',
    `The agent cannot write ${file} (${code ?? message}), by which the switch tells it from its predecessor. Make room in the run directory, or make it writable.`,
    { cause: error },
  );
}
