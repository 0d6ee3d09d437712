/** The command line as a user starts it, and what a lab must not leave behind. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const entry = join(fileURLToPath(new URL('../../src/cli/main.js', import.meta.url)));

export interface Run {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs to the end; a command that hangs is killed and has status null. */
export function weft(args: readonly string[], options: { input?: string; seconds?: number } = {}): Run {
  const { status, stdout, stderr } = spawnSync(process.execPath, [entry, ...args], {
    encoding: 'utf8',
    input: options.input ?? '',
    timeout: (options.seconds ?? 60) * 1000,
    killSignal: 'SIGKILL',
    env: { ...process.env, NO_COLOR: '1', COLUMNS: '160' },
    maxBuffer: 256 * 1024 * 1024,
  });
  return { status, stdout, stderr };
}

/** Starts and leaves running, in a process group of its own (so that a test can send what Ctrl-C sends). */
export function startWeft(args: readonly string[]): ChildProcess {
  return spawn(process.execPath, [entry, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
    env: { ...process.env, NO_COLOR: '1', COLUMNS: '160' },
  });
}

/** Every process of a PID namespace, seen from here. */
export function processesIn(namespace: string): number[] {
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .map(Number)
    .filter((pid) => pidNamespace(pid) === namespace);
}

/** '' when there is no such process (any more). */
export function pidNamespace(pid: number): string {
  try {
    return readlinkSync(`/proc/${pid}/ns/pid`);
  } catch {
    return '';
  }
}

/**
 * What of this machine a lab could leave behind: mounts, interfaces, named network namespaces, files in /run. Only names that labs use, since
 * others work on this machine too.
 */
export function footprint(): readonly string[] {
  const list = (folder: string, pattern: RegExp) => {
    try {
      return readdirSync(folder).filter((name) => pattern.test(name));
    } catch {
      return [];
    }
  };
  const mounts = readFileSync('/proc/self/mounts', 'utf8').split('\n');
  return [
    ...mounts.filter((line) =>
      /\/run\/weft(-lab)?[ /]|\/run\/netns\/(\w[-\w.]*_\w[-\w.]*_\d+|external-\d+)/.test(line),
    ),
    ...Object.keys(networkInterfaces()).filter((name) => /^(weft|ext|wn)\d+$/.test(name)),
    ...list('/run/netns', /_\d+$|^external-\d+$/),
    ...list('/run', /^weft-lab$/),
  ];
}

export async function until(
  what: string,
  seconds: number,
  holds: () => boolean | Promise<boolean>,
): Promise<void> {
  const end = Date.now() + seconds * 1000;
  while (!(await holds())) {
    if (Date.now() > end) throw new Error(`not within ${seconds} s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
