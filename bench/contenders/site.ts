/**
 * Where a contender stands: a node and two pods, each a network namespace named `weft-bench-PID-N-…`, programs started inside them, and one
 * stack of what is to be undone. PID is the process that owns the run, so that what a killed run left can be told from what is in use.
 *
 * Three things end what was made, each alone enough: `Stage.end()`; the exit of this process (synchronously, as a last resort); and the sweep
 * at the start of the next run. Programs carry a parent-death signal, so none outlives the run even when it is killed.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BenchPod, Site } from './contender.js';

const namePrefix = 'weft-bench-';
const netnsFolder = '/run/netns';
const folders = existsSync('/dev/shm') ? '/dev/shm' : tmpdir();
const ownedName = /^weft-bench-(\d+)-\d+(-|$)/;

let sites = 0;
let swept = false;

/** A new site; the folder is there already. The first one of a process sweeps what dead runs left. */
export function makeSite(say: (text: string) => void = () => {}): Site {
  if (!swept) sweepDeadRuns();
  swept = true;
  const tag = `${process.pid}-${sites++}`;
  const folder = join(folders, namePrefix + tag);
  mkdirSync(folder, { recursive: true });
  return { tag, folder, say };
}

/** Removes namespaces and folders whose owner is no longer there. Returns what it removed, for the progress display. */
export function sweepDeadRuns(): readonly string[] {
  const isDead = (name: string): boolean => {
    const pid = ownedName.exec(name)?.[1];
    return pid !== undefined && !existsSync(`/proc/${pid}`);
  };
  const spaces = existsSync(netnsFolder) ? readdirSync(netnsFolder).filter(isDead) : [];
  for (const name of spaces) execFileSync('ip', ['netns', 'del', name], { stdio: 'ignore' });
  const left = readdirSync(folders).filter(isDead);
  for (const name of left) rmSync(join(folders, name), { recursive: true, force: true });
  return [...spaces, ...left];
}

export interface RunOptions {
  /** Path of the network namespace to run in; absent: this process's own. */
  readonly netns?: string;
  readonly input?: string;
  readonly environment?: Readonly<Record<string, string>>;
}

export interface StartOptions extends RunOptions {
  /** The program is ready when a line of its output or errors matches; absent: as soon as it is started. */
  readonly ready?: RegExp;
  /** Milliseconds to wait for `ready`; default 10,000. */
  readonly patience?: number;
}

/** Runs a program to its end and returns what it printed. Throws with the command, its status and its errors when it fails. */
export async function run(
  command: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<string> {
  const child = launch(command, args, options);
  let printed = '';
  let complained = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    printed += text;
  });
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    complained += text;
  });
  const status = await new Promise<number | string | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => resolve(code ?? signal));
  });
  if (status === 0) return printed;
  const said = complained.trim() || printed.trim();
  throw new Error(`${command} ${args.join(' ').slice(0, 200)}: status ${status}: ${said.slice(0, 2000)}`);
}

/** The path of a program, or null: for `unavailable()`. */
export function programPath(name: string): string | null {
  for (const folder of [...(process.env.PATH ?? '').split(':'), '/usr/sbin', '/sbin']) {
    if (folder !== '' && existsSync(join(folder, name))) return join(folder, name);
  }
  return null;
}

/** setpriv and nsenter replace themselves by the program: the child's pid is the program's. */
function launch(command: string, args: readonly string[], options: RunOptions): ChildProcess {
  const inside = options.netns === undefined ? [] : ['nsenter', `--net=${options.netns}`];
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', '--', ...inside, command, ...args], {
    stdio: [options.input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
    env: { ...process.env, ...options.environment },
  });
  // A program that ends without reading its input says why by its status.
  child.stdin?.on('error', () => {});
  child.stdin?.end(options.input);
  return child;
}

/** A program that stays. Its last words are kept for the message when it ends unasked. */
export class Program {
  readonly pid: number;
  readonly command: string;
  readonly ended: Promise<number | string | null>;
  readonly #child: ChildProcess;
  #said = '';
  #heard: () => void = () => {};

  private constructor(command: string, child: ChildProcess) {
    this.command = command;
    this.#child = child;
    this.pid = child.pid ?? -1;
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.#said = (this.#said + text).slice(-16_384);
        this.#heard();
      });
    }
    this.ended = new Promise((resolve) => {
      child.once('error', (error) => resolve(error.message));
      child.once('close', (code, signal) => resolve(code ?? signal));
    });
  }

  static async start(command: string, args: readonly string[], options: StartOptions = {}): Promise<Program> {
    const program = new Program(command, launch(command, args, options));
    if (options.ready === undefined) return program;
    try {
      await program.#untilSaid(options.ready, options.patience ?? 10_000);
    } catch (error) {
      await program.end();
      throw error;
    }
    return program;
  }

  /** The last 16 KB of output and errors. */
  get said(): string {
    return this.#said;
  }

  get running(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null && this.pid > 0;
  }

  /** Asks it to end, insists after 3 s. */
  async end(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    if (!this.running) return;
    this.#child.kill(signal);
    const insist = setTimeout(() => this.#child.kill('SIGKILL'), 3000);
    await this.ended;
    clearTimeout(insist);
  }

  kill(): void {
    if (this.running) this.#child.kill('SIGKILL');
  }

  async #untilSaid(ready: RegExp, patience: number): Promise<void> {
    const isReady = new Promise<'ready'>((resolve) => {
      this.#heard = () => {
        if (ready.test(this.#said)) resolve('ready');
      };
    });
    let late: NodeJS.Timeout | undefined;
    const isLate = new Promise<'late'>((resolve) => {
      late = setTimeout(() => resolve('late'), patience);
    });
    const first = await Promise.race([isReady, isLate, this.ended]);
    clearTimeout(late);
    if (first === 'ready') return;
    const what = first === 'late' ? `was not ready within ${patience} ms` : `ended with ${first}`;
    throw new Error(`${this.command} ${what}: ${this.#said.trim().slice(-2000)}`);
  }
}

/** What a contender makes is made through its stage, which undoes it in reverse order. */
export class Stage {
  readonly site: Site;
  readonly #undo: (() => Promise<void> | void)[] = [];
  readonly #namespaces = new Set<string>();
  readonly #programs = new Set<Program>();
  readonly #lastResort = () => this.#endAtOnce();

  constructor(site: Site) {
    this.site = site;
    // One listener for each stage, and dozens of stages stand at once.
    process.setMaxListeners(0);
    process.once('exit', this.#lastResort);
    this.undo(() => rmSync(site.folder, { recursive: true, force: true }));
  }

  /** Adds a step that `end()` runs, the latest first; a step that fails does not keep the others from running. */
  undo(step: () => Promise<void> | void): void {
    this.#undo.push(step);
  }

  /** A network namespace with its loopback up; the path of it. `role` is `node`, `client`, `server` or another short word. */
  async namespace(role: string): Promise<string> {
    const name = `${namePrefix}${this.site.tag}-${role}`;
    await run('ip', ['netns', 'add', name]);
    this.#namespaces.add(name);
    this.undo(async () => {
      await run('ip', ['netns', 'del', name]);
      this.#namespaces.delete(name);
    });
    const netns = join(netnsFolder, name);
    await this.ip(netns, ['link set lo up']);
    return netns;
  }

  /** Commands of `ip`, one a line, in one process: `link set eth0 up`. */
  async ip(netns: string, commands: readonly string[]): Promise<void> {
    await run('ip', ['-batch', '-'], { netns, input: `${commands.join('\n')}\n` });
  }

  /** Settings such as `net.ipv4.ip_forward: 1` of a namespace. */
  async sysctl(netns: string, settings: Readonly<Record<string, number>>): Promise<void> {
    const pairs = Object.entries(settings).map(([name, value]) => `${name}=${value}`);
    await run('sysctl', ['-q', '-w', ...pairs], { netns });
  }

  /** A pair of veths: `eth0` in the pod's namespace, `host` in the node's; both up, drivers' defaults otherwise. */
  async veth(node: string, host: string, pod: string, mtu = 1500): Promise<void> {
    const target = pod.slice(netnsFolder.length + 1);
    await this.ip(node, [
      `link add ${host} mtu ${mtu} type veth peer name eth0 mtu ${mtu} netns ${target}`,
      `link set ${host} up`,
    ]);
    await this.ip(pod, ['link set eth0 up']);
  }

  /** A program that stays until the stage ends. */
  async start(command: string, args: readonly string[], options: StartOptions = {}): Promise<Program> {
    const program = await Program.start(command, args, options);
    this.#programs.add(program);
    this.undo(async () => {
      await program.end();
      this.#programs.delete(program);
    });
    return program;
  }

  /** Undoes everything, the latest first. May be called again; the second call does nothing. */
  async end(): Promise<void> {
    const failures: string[] = [];
    for (let step = this.#undo.pop(); step !== undefined; step = this.#undo.pop()) {
      try {
        await step();
      } catch (error) {
        failures.push(error instanceof Error ? error.message : String(error));
      }
    }
    process.off('exit', this.#lastResort);
    if (failures.length > 0) throw new Error(`not undone: ${failures.join('; ')}`);
  }

  /** When the process exits without `end()`: no waiting is possible any more. */
  #endAtOnce(): void {
    for (const program of this.#programs) program.kill();
    for (const name of this.#namespaces) {
      try {
        execFileSync('ip', ['netns', 'del', name], { stdio: 'ignore' });
      } catch {
        // The next run's sweep tries again.
      }
    }
    rmSync(this.site.folder, { recursive: true, force: true });
  }
}

/** Builds on a new stage; when building fails, what was made is undone before the error goes on. */
export async function onStage<T>(site: Site, build: (stage: Stage) => Promise<T>): Promise<T> {
  const stage = new Stage(site);
  try {
    return await build(stage);
  } catch (error) {
    await stage.end().catch(() => {});
    throw error;
  }
}

/** Addresses of the pods under test and of the node, the same for every contender: each node is a world of its own. */
export const addresses = {
  gateway: '10.42.0.1',
  client: '10.42.0.2',
  server: '10.42.0.3',
  podRange: '10.42.0.0/24',
  clusterIP: '10.43.0.100',
} as const;

export interface Ground {
  readonly node: string;
  readonly client: BenchPod;
  readonly server: BenchPod;
}

/** Three namespaces, the pods still without interfaces. */
export async function ground(stage: Stage): Promise<Ground> {
  const [node, client, server] = await Promise.all([
    stage.namespace('node'),
    stage.namespace('client'),
    stage.namespace('server'),
  ]);
  return {
    node,
    client: { netns: client, ipv4: addresses.client, ifname: 'eth0' },
    server: { netns: server, ipv4: addresses.server, ifname: 'eth0' },
  };
}
