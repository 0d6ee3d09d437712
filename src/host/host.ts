/**
 * The host around the switch, brought to the latest wanted state and kept there. It runs beside publication, never before it: policy does not
 * wait for nft, and what is missing here denies (a masqueraded client is a stranger) or does not reach, and opens nothing.
 *
 * One application at a time; what was wanted meanwhile is applied next, only the latest. What fails is tried again in growing steps, and
 * everything is looked at anew at `reconcile`. Most of what others undo, the table and the settings, is found by `glance`, which costs so
 * little that it can be asked every second; some of it nobody would tell of (accept_ra and route_localnet have no notification).
 */
import type { Problem } from '../errors/problem.js';
import { type Run, runCommand } from './command.js';
import { endUdp } from './conntrack.js';
import { acceptForwarded } from './forward.js';
import { type HostPort, unreachable } from './host-port.js';
import { tellManagers } from './managers.js';
import { type AskMark, Nft } from './nft.js';
import { Sysctls } from './sysctl.js';
import { type HostState, tableName, tableText } from './table.js';

export interface HostOptions {
  readonly runDirectory: string;
  /** Where the host's file system is seen. */
  readonly root: string;
  readonly log: (level: 'info' | 'warn', message: string, fields?: Readonly<Record<string, unknown>>) => void;
  /** An application has ended, after so many seconds, with so many failures in a row by now. */
  readonly applied?: (seconds: number, failures: number) => void;
  /** Somebody had changed this, and it is brought back. */
  readonly touched?: (what: 'table' | 'setting') => void;
  readonly run?: Run;
  /** Absent: only the thorough look finds a table that somebody has removed. */
  readonly askMark?: AskMark;
  /** Where /proc/sys is. */
  readonly settings?: string;
  /** Milliseconds of a clock that only goes forward. */
  readonly now?: () => number;
}

/** Milliseconds. */
const firstPause = 1000;
const longestPause = 30_000;
/** For so long it is a problem that somebody changes what was set. Milliseconds. */
const touchedFor = 600_000;
/** Whoever does it every second is told of so often. Milliseconds. */
const tellEvery = 60_000;

export class Host {
  readonly #options: HostOptions;
  readonly #run: Run;
  readonly #nft: Nft;
  readonly #sysctls: Sysctls;
  #wanted: HostState | null = null;
  #inForce: HostState | null = null;
  #working: Promise<void> | null = null;
  #again = false;
  #look = false;
  #failures = 0;
  #timer: NodeJS.Timeout | null = null;
  #problems: readonly Problem[] = [];
  /** What others have changed of what was set, the last time. */
  #touched: { readonly times: number; readonly what: readonly string[]; readonly at: number } | null = null;
  #told = Number.NEGATIVE_INFINITY;
  #stopped = false;

  constructor(options: HostOptions) {
    this.#options = options;
    this.#run = options.run ?? runCommand;
    this.#nft = new Nft(this.#run, options.askMark);
    this.#sysctls = new Sysctls(options.runDirectory, this.#run, options.settings);
  }

  get problems(): readonly Problem[] {
    const touched = this.#touched;
    if (touched === null || this.#now() - touched.at > touchedFor) return this.#problems;
    return [...this.#problems, changedByOthers(touched.times, touched.what)];
  }

  #now(): number {
    return this.#options.now?.() ?? performance.now();
  }

  /** Looks, cheaply, whether somebody has changed what was set, and if so brings everything back. */
  glance(): void {
    if (this.#inForce === null || this.#working !== null || this.#timer !== null || this.#stopped) return;
    const settings = this.#sysctls.touched;
    const table = this.#nft.touched;
    if (settings.length === 0 && !table) return;
    const what = [...settings, ...(table ? [`the nft table ${tableName}`] : [])];
    if (settings.length > 0) this.#options.touched?.('setting');
    if (table) this.#options.touched?.('table');
    const now = this.#now();
    this.#touched = { times: (this.#touched?.times ?? 0) + 1, what, at: now };
    if (now - this.#told >= tellEvery) {
      this.#told = now;
      this.#options.log('warn', 'somebody changed what was set on this host; it is brought back', { what });
    }
    this.#look = true;
    this.#start();
  }

  /** Applied soon; cheap where it is what was wanted before. */
  want(state: HostState): void {
    const same = this.#wanted !== null && JSON.stringify(this.#wanted) === JSON.stringify(state);
    this.#wanted = state;
    if (!same) this.#start();
  }

  /** Looks whether everything is still there. Resolves when it is, or has failed. To be called now and then. */
  async reconcile(): Promise<void> {
    if (this.#wanted === null) return;
    this.#look = true;
    this.#start();
    await this.#working;
  }

  /** What is under way is waited for; nothing is removed. */
  async stop(): Promise<void> {
    this.#stopped = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    await this.#working;
  }

  #start(): void {
    if (this.#stopped) return;
    if (this.#working !== null) {
      this.#again = true;
      return;
    }
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#working = this.#work().finally(() => {
      this.#working = null;
      if (this.#again) {
        this.#again = false;
        this.#start();
      }
    });
  }

  async #work(): Promise<void> {
    const state = this.#wanted!;
    const look = this.#look;
    this.#look = false;
    const started = performance.now();
    const problems = await this.#apply(state, look).catch((error: Error): readonly Problem[] => [
      { code: 'host-failed', severity: 'error', message: `The host could not be set up: ${error.message}` },
    ]);
    const known = new Set(this.#problems.map(({ message }) => message));
    for (const { code, message, fix } of problems)
      if (!known.has(message))
        this.#options.log('warn', message, { code, ...(fix === undefined ? {} : { fix }) });
    this.#problems = problems;
    this.#failures = problems.some(({ severity }) => severity === 'error') ? this.#failures + 1 : 0;
    this.#options.applied?.((performance.now() - started) / 1000, this.#failures);
    if (this.#failures > 0 && !this.#stopped) {
      this.#timer = setTimeout(
        () => {
          this.#look = true;
          this.#start();
        },
        Math.min(longestPause, firstPause * 2 ** Math.min(this.#failures - 1, 10)),
      );
      this.#timer.unref();
    }
  }

  async #apply(state: HostState, look: boolean): Promise<readonly Problem[]> {
    if (!this.#sysctls.hasInterface(state.interface)) return [missing(state.interface)];
    const problems: (Problem | null)[] = [];
    // The guard of 127.0.0.1 is in the table, so the table comes before the setting that needs it.
    const refused = await this.#nft.apply(tableText(state), look);
    problems.push(refused);
    if (refused === null) {
      const before: readonly HostPort[] = this.#inForce?.hostPorts ?? [];
      this.#inForce = state;
      problems.push(await endUdp(this.#run, before, state.hostPorts, state.node));
    }
    problems.push(...(await this.#sysctls.apply(refused === null ? state : { ...state, hostPorts: [] })));
    problems.push(...unreachable(state.hostPorts));
    const families = new Set(state.pods.map(({ family }) => family));
    problems.push(...(await acceptForwarded(this.#run, state.interface, families)));
    const told = await tellManagers(this.#options.root, state.interface, this.#run);
    if (told.written.length > 0)
      this.#options.log('info', 'network managers were told to leave the interface alone', {
        files: told.written,
      });
    problems.push(...told.problems);
    return problems.filter((problem) => problem !== null);
  }
}

function changedByOthers(times: number, what: readonly string[]): Problem {
  return {
    code: 'host-changed',
    severity: 'warning',
    message: `Somebody changes what weft has set on this host: ${times} times so far, the last time ${what.join(', ')}. It was brought back each time; in between pods reached less than they should.`,
    fix: 'Find out who: a firewall that flushes the ruleset when it is reloaded, files of sysctl.d, a hardening script.',
  };
}

function missing(device: string): Problem {
  return {
    code: 'host-interface-missing',
    severity: 'error',
    message: `There is no interface ${device} where the agent runs, so it leaves the host's network as it is.`,
    fix: 'Run agent and switch in the network namespace of the host (hostNetwork), or set host.enabled to off.',
  };
}
