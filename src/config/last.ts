/**
 * The last configuration that was good, kept in the run directory: a switch that dies while somebody's half-made edit is in the file has
 * to come back, with what it ran with. The file's error is told each time, and stays the operator's to mend. Kept as text, not as values:
 * an option that another version does not know is then an error like any other, and nothing is guessed.
 */
import { readFile, rename, writeFile } from 'node:fs/promises';
import { isAbsolute, join } from 'node:path';
import { parseDocument } from 'yaml';
import { WeftError } from '../errors/problem.js';
import { readConfig, standardConfigPath } from './load.js';
import type { Config } from './options.js';
import { defaultConfig, type Overrides, overrideConfig, parseConfig } from './parse.js';

export const lastConfigName = 'config.last.yaml';

export interface InForce {
  readonly config: Config;
  /** The file's words that made it. */
  readonly text: string;
  /** Set where the file is not good, and `config` is the last one that was. */
  readonly refused?: WeftError;
}

/** As loadConfig, but where the file is not good the last good one stands in, if a process of this run directory kept one. */
export async function loadLastGood(path?: string, overrides: Overrides<Config> = {}): Promise<InForce> {
  try {
    return await readConfig(path, overrides);
  } catch (error) {
    if (!(error instanceof WeftError)) throw error;
    const run = overrides.paths?.run ?? (await namedRun(path ?? standardConfigPath));
    const text = await readFile(join(run, lastConfigName), 'utf8').catch(() => undefined);
    const last = text === undefined ? null : parseConfig(text, lastConfigName).config;
    if (text === undefined || last === null) throw error;
    return { config: overrideConfig(last, overrides), text, refused: error };
  }
}

/** Keeps the text of a configuration that is in force. Never throws: a full disk must not stop who could run. */
export async function keepLast(run: string, text: string): Promise<void> {
  const file = join(run, lastConfigName);
  try {
    if ((await readFile(file, 'utf8').catch(() => undefined)) === text) return;
    const next = `${file}.${process.pid}`;
    await writeFile(next, text, { mode: 0o600 });
    await rename(next, file);
  } catch {
    // The one before stays; at worst a broken file is what it was without any of this.
  }
}

/** The run directory by what can still be read of a file that is not good. */
async function namedRun(file: string): Promise<string> {
  const fallback = defaultConfig().paths.run;
  try {
    const named = parseDocument(await readFile(file, 'utf8'), { uniqueKeys: false }).getIn(['paths', 'run']);
    return typeof named === 'string' && isAbsolute(named) ? named : fallback;
  } catch {
    return fallback;
  }
}
