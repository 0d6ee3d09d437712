/**
 * The epoch: how many agents have started on this run directory. It grows with every start, so that the switch can tell a stale
 * agent from its successor. Written before it is used; a file that cannot be read counts as lost, and the clock then gives a number
 * that no counter reaches.
 */
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export function nextEpoch(runDirectory: string, now: () => number = Date.now): number {
  const file = join(runDirectory, 'agent.epoch');
  let epoch: number;
  try {
    const text = readFileSync(file, 'utf8').trim();
    const last = /^[1-9][0-9]{0,15}$/.test(text) ? Number(text) : Number.NaN;
    epoch = Number.isSafeInteger(last + 1) ? last + 1 : now();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    epoch = 1;
  }
  writeFileSync(`${file}.new`, `${epoch}\n`, { mode: 0o600 });
  renameSync(`${file}.new`, file);
  return epoch;
}
