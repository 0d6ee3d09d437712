/**
 * Kernel settings that the host needs to forward for pods. Each is written only where it is another, and what was there before is
 * remembered in the run directory, which a reboot empties together with the settings.
 *
 * IPv6: a host that forwards takes no router advertisements any more, unless accept_ra is 2; an uplink that lives by them would lose its
 * address some minutes later. So accept_ra goes first.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Problem } from '../errors/problem.js';
import type { Run } from './command.js';
import { type HostState, needsLocalnet } from './table.js';

const settingsFile = 'host-sysctls.json';

/** Name in slashes, such as `net/ipv4/ip_forward` → value before and the one that weft set. */
type Remembered = Record<string, { readonly before: string; readonly set: string }>;

export class Sysctls {
  readonly #root: string;
  readonly #file: string;
  readonly #run: Run;
  /** What is to be, by name, of those that were there. */
  readonly #wanted = new Map<string, string>();

  /** `run`: the run directory. `root`: where /proc/sys is. */
  constructor(runDirectory: string, run: Run, root = '/proc/sys') {
    this.#root = root;
    this.#file = join(runDirectory, settingsFile);
    this.#run = run;
  }

  /** By the kernel's own list for this network namespace; /sys is of the namespace that mounted it. */
  hasInterface(name: string): boolean {
    return this.#read(`net/ipv4/conf/${name}/forwarding`) !== null;
  }

  /** Names, with dots, of the settings that are not any more what `apply` left. */
  get touched(): readonly string[] {
    return [...this.#wanted]
      .filter(([name, value]) => ![value, null].includes(this.#read(name)))
      .map(([name]) => name.replaceAll('/', '.'));
  }

  async apply(state: HostState): Promise<readonly Problem[]> {
    const problems: Problem[] = [];
    const set = (name: string, value: string) => {
      const problem = this.#set(name, value);
      if (problem !== null) problems.push(problem);
    };
    if (state.pods.some(({ family }) => family === 4)) set('net/ipv4/ip_forward', '1');
    if (state.pods.some(({ family }) => family === 6)) {
      const all = 'net/ipv6/conf/all/forwarding';
      // Where somebody else has turned forwarding on, uplinks are as he wants them.
      if (this.#read(all) === '0' || this.#remembered()[all] !== undefined)
        for (const uplink of await this.#uplinks()) {
          const name = `net/ipv6/conf/${uplink}/accept_ra`;
          const found = this.#read(name);
          // A 2 that is ours, from this life or a former one, is kept so.
          if (found === '1' || (found === '2' && this.#remembered()[name] !== undefined)) set(name, '2');
        }
      set(all, '1');
    }
    // Goes with the interface; nothing to remember.
    const localnet = `net/ipv4/conf/${state.interface}/route_localnet`;
    const current = this.#read(localnet);
    const wanted = needsLocalnet(state) ? '1' : '0';
    this.#wanted.set(localnet, wanted);
    if (current !== null && current !== wanted) {
      const problem = this.#write(localnet, wanted);
      if (problem !== null) problems.push(problem);
    }
    return problems;
  }

  /** Sets back what is still as weft set it; the names that were, and those that somebody else has changed since. */
  restore(): { readonly restored: readonly string[]; readonly left: readonly string[] } {
    const restored: string[] = [];
    const left: string[] = [];
    // Forwarding before accept_ra, the other way round than it was set.
    for (const [name, { before, set }] of Object.entries(this.#remembered()).reverse()) {
      const current = this.#read(name);
      if (current === null || current === before) continue;
      if (current === set && this.#write(name, before) === null) restored.push(name);
      else left.push(name);
    }
    return { restored, left };
  }

  #set(name: string, value: string): Problem | null {
    const before = this.#read(name);
    if (before !== null) this.#wanted.set(name, value);
    if (before === value) return null;
    if (before === null) return null; // no such setting: the kernel has no IPv6, or the interface is gone
    const known = this.#remembered();
    known[name] ??= { before, set: value };
    try {
      writeFileSync(this.#file, `${JSON.stringify(known, null, 2)}\n`, { mode: 0o600 });
    } catch (error) {
      return problemOf(name, value, error);
    }
    return this.#write(name, value);
  }

  #write(name: string, value: string): Problem | null {
    try {
      writeFileSync(join(this.#root, name), value);
      return null;
    } catch (error) {
      return problemOf(name, value, error);
    }
  }

  #read(name: string): string | null {
    try {
      return readFileSync(join(this.#root, name), 'utf8').trim();
    } catch {
      return null;
    }
  }

  #remembered(): Remembered {
    try {
      return JSON.parse(readFileSync(this.#file, 'utf8')) as Remembered;
    } catch {
      return {};
    }
  }

  /** Interfaces of a default route in either family, or with routes that a router told. */
  async #uplinks(): Promise<ReadonlySet<string>> {
    const listed = await Promise.all(
      [
        ['-4', 'route', 'show', 'default'],
        ['-6', 'route', 'show', 'default'],
        ['-6', 'route', 'show', 'proto', 'ra'],
      ].map((args) => this.#run('ip', args)),
    );
    const named = new Set<string>();
    for (const { stdout } of listed)
      for (const [, name] of stdout.matchAll(/ dev (\S+)/g)) if (name !== undefined) named.add(name);
    // Without ip there is no telling; all that are there are better than none.
    if (listed.some(({ missing }) => missing)) {
      for (const name of this.#interfaces()) named.add(name);
    }
    return named;
  }

  #interfaces(): readonly string[] {
    try {
      return readdirSync(join(this.#root, 'net/ipv6/conf')).filter(
        (name) => name !== 'all' && name !== 'default' && name !== 'lo',
      );
    } catch {
      return [];
    }
  }
}

function problemOf(name: string, value: string, error: unknown): Problem {
  return {
    code: 'host-sysctl',
    severity: 'error',
    message: `The kernel setting ${name.replaceAll('/', '.')} cannot be set to ${value} (${(error as NodeJS.ErrnoException).code ?? String(error)}).`,
    fix: `Run \`sysctl -w ${name.replaceAll('/', '.')}=${value}\` on the node, or give the agent a writable /proc/sys.`,
  };
}
