/** The configuration file of a process: read at start, read again at SIGHUP, and what may change in between. */
import { readFile } from 'node:fs/promises';
import { WeftError } from '../errors/problem.js';
import type { Config } from './options.js';
import {
  defaultConfig,
  eachOption,
  formatProblem,
  type Overrides,
  overrideConfig,
  parseConfig,
} from './parse.js';

/** Where the file is looked for when none is named; its absence means the defaults. */
export const standardConfigPath = '/etc/weft/config.yaml';

/**
 * Reads and validates. `path` undefined: the standard path if there is such a file, else the defaults. Throws a WeftError
 * (`config-read`, `config-invalid`) whose message shows every problem with its caret frame.
 */
export async function loadConfig(path?: string, overrides: Overrides<Config> = {}): Promise<Config> {
  return (await readConfig(path, overrides)).config;
}

/** The same with the text that it was read from; '' where there is no file. */
export async function readConfig(
  path: string | undefined,
  overrides: Overrides<Config>,
): Promise<{ readonly config: Config; readonly text: string }> {
  const file = path ?? standardConfigPath;
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    if (path === undefined && (error as NodeJS.ErrnoException).code === 'ENOENT')
      return { config: overrideConfig(defaultConfig(), overrides), text: '' };
    throw new WeftError(
      'config-read',
      `The configuration file ${file} cannot be read (${(error as NodeJS.ErrnoException).code}). Name another with --config, or copy config/default.yaml there.`,
      { cause: error },
    );
  }
  const parsed = parseConfig(text, file);
  if (parsed.config === null) {
    const count = parsed.problems.length;
    throw new WeftError(
      'config-invalid',
      `The configuration has ${count === 1 ? 'an error' : `${count} errors`}:\n${parsed.problems
        .map((problem) => formatProblem(problem, text))
        .join('\n')}`,
      { problems: parsed.problems },
    );
  }
  return { config: overrideConfig(parsed.config, overrides), text };
}

export interface ConfigChange {
  /** What is in force now: the old configuration with the changed live options. */
  readonly config: Config;
  /** Paths of options that changed. */
  readonly live: readonly string[];
  readonly restart: readonly string[];
}

/** What a running process takes over from `next`: options that need a restart keep their old value until then. */
export function changeConfig(current: Config, next: Config): ConfigChange {
  const live: string[] = [];
  const restart: string[] = [];
  const taken: Record<string, unknown> = {};
  for (const [path, option] of eachOption()) {
    const value = optionValue(next, path);
    if (JSON.stringify(value) === JSON.stringify(optionValue(current, path))) continue;
    if (option.reload === 'restart') {
      restart.push(path);
      continue;
    }
    live.push(path);
    setAt(taken, path.split('.'), value);
  }
  return { config: overrideConfig(current, taken as Overrides<Config>), live, restart };
}

/** The value of an option by its path in the table. */
export function optionValue(config: Config, path: string): unknown {
  let value: unknown = config;
  for (const name of path.split('.')) value = (value as Record<string, unknown>)[name];
  return value;
}

function setAt(target: Record<string, unknown>, path: readonly string[], value: unknown): void {
  const [name, ...rest] = path;
  if (rest.length === 0) target[name!] = value;
  else {
    target[name!] ??= {};
    setAt(target[name!] as Record<string, unknown>, rest, value);
  }
}
