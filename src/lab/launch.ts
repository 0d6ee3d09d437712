/**
 * The outside of a lab: makes its namespaces, starts its first process, finds running labs again.
 *
 * util-linux' unshare makes mount, PID and network namespaces (and a user namespace where we are not root) before Node.js starts in
 * them, because a process with threads cannot enter a user namespace. `--kill-child` ties the first process to unshare, and for an
 * attached lab `setpriv --pdeathsig` ties unshare to us: kill -9 of any of them is an end of all.
 *
 * A running lab is found by its first process: the one whose command line says so and which is PID 1 in its own PID namespace.
 * There is no state file that could outlive it.
 */
import { spawn, spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { createInterface } from 'node:readline';
import type { Duplex } from 'node:stream';
import { setTimeout as pause } from 'node:timers/promises';
import { WeftError } from '../errors/problem.js';
import { LineClient } from './line-client.js';
import { commandLine } from './node-processes.js';
import {
  controlSocket,
  type LabAnswers,
  type LabOptions,
  type LabRequest,
  type LaunchLine,
  maximumLine,
} from './protocol.js';

/** The hidden command that the first process runs; also what it is found by. */
export const firstProcessCommand = 'first-process';
export const usualName = 'lab';

const tun = '/dev/net/tun';
const startPatience = 60_000; // milliseconds

export interface FoundLab {
  readonly name: string;
  /** Of the first process, as seen from here. */
  readonly pid: number;
}

/** Labs of this user that run now. */
export function findLabs(): FoundLab[] {
  const found: FoundLab[] = [];
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      const words = readFileSync(`/proc/${entry}/cmdline`, 'utf8').split('\0');
      const at = words.indexOf(firstProcessCommand);
      if (at < 0 || words[at - 1] !== 'lab') continue;
      // unshare has the same words on its command line; only the first process is 1 in a namespace of its own.
      const inner = /^NSpid:.*\s(\d+)$/m.exec(readFileSync(`/proc/${entry}/status`, 'utf8'))?.[1];
      if (inner !== '1' || statSync(`/proc/${entry}`).uid !== process.geteuid?.()) continue;
      const { name } = JSON.parse(words[at + 1] ?? '{}') as LabOptions;
      found.push({ name, pid: Number(entry) });
    } catch {
      // It ended while we looked, or is another user's.
    }
  }
  return found.sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** Path, as seen from here, of a path inside a lab. */
export function inside(lab: FoundLab, path: string): string {
  return `/proc/${lab.pid}/root${path}`;
}

/** The command line's connection to a lab. */
export class LabClient {
  readonly lab: FoundLab;
  readonly #client: LineClient;

  private constructor(lab: FoundLab, client: LineClient) {
    this.lab = lab;
    this.#client = client;
  }

  /** Throws `lab-none` where no lab of this name runs. */
  static async connect(name: string): Promise<LabClient> {
    const labs = findLabs();
    const lab = labs.find((one) => one.name === name);
    if (lab === undefined) {
      const others = labs.length === 0 ? '' : ` Running: ${labs.map((one) => one.name).join(', ')} (--name).`;
      throw new WeftError(
        'lab-none',
        `No lab called "${name}" is running. Start it with \`weft lab up\`.${others}`,
      );
    }
    try {
      return new LabClient(lab, await LineClient.connect(inside(lab, controlSocket), { maximumLine }));
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code !== 'ENOENT' && code !== 'ECONNREFUSED' && code !== 'ECONNRESET') throw error;
      throw new WeftError('lab-away', `Lab ${name} is just starting or ending. Try again in a second.`);
    }
  }

  async request<T extends keyof LabAnswers>(
    type: T,
    fields: Omit<Extract<LabRequest, { type: T }>, 'type' | 'id'>,
  ): Promise<LabAnswers[T]> {
    return (await this.#client.request(type, fields)) as unknown as LabAnswers[T];
  }

  /** Ends the lab and waits until its first process is gone. */
  async down(): Promise<void> {
    await this.request('down', {}).catch((error: unknown) => {
      if (!(error instanceof WeftError)) throw error;
    });
    for (let tries = 0; tries < 500 && existsSync(`/proc/${this.lab.pid}`); tries++) await pause(10);
  }

  close(): void {
    this.#client.close();
  }
}

export interface Launched {
  /** Ends an attached lab by letting go of it; a detached one stays. */
  letGo(): void;
  /** Resolves when an attached lab has ended. */
  readonly ended: Promise<void>;
}

/** Starts a lab and resolves when it is ready; rejects with what went wrong, nothing left behind. */
export async function launch(options: LabOptions, progress: (text: string) => void): Promise<Launched> {
  if (findLabs().some((lab) => lab.name === options.name))
    throw new WeftError(
      'lab-exists',
      `A lab called "${options.name}" is running already. End it with \`weft lab down${options.name === usualName ? '' : ` --name ${options.name}`}\`, or give this one another --name.`,
    );
  const wrapper = [
    ...(options.attached ? ['setpriv', '--pdeathsig', 'KILL'] : []),
    'unshare',
    ...namespaces(),
  ];
  const [program, ...args] = [
    ...wrapper,
    process.execPath,
    ...commandLine(),
    'lab',
    firstProcessCommand,
    JSON.stringify(options),
  ];
  const child = spawn(program!, args, {
    stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
    // A session of its own: the terminal's Ctrl-C and hang-up are not meant for a lab that stays.
    detached: !options.attached,
  });
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  const channel = child.stdio[3] as Duplex;
  let words = '';
  child.stderr?.on('data', (chunk: Buffer) => {
    words = (words + chunk.toString()).slice(-4000);
  });
  const letGo = () => {
    channel.destroy();
    child.stderr?.destroy();
    child.unref();
  };
  try {
    await Promise.race([
      untilReady(channel, progress),
      ended
        .then(() => pause(50))
        .then(() => {
          throw new WeftError('lab-start', `The lab's first process ended at once. ${words.trim()}`);
        }),
      pause(startPatience, undefined, { ref: false }).then(() => {
        throw new WeftError(
          'lab-start',
          `The lab was not ready after ${startPatience / 1000} seconds. ${words.trim()}`,
        );
      }),
      new Promise<never>((_, reject) => child.once('error', reject)),
    ]);
  } catch (error) {
    letGo(); // ends it: the lab sees the channel close
    throw error;
  }
  return { letGo, ended };
}

function untilReady(channel: Duplex, progress: (text: string) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    channel.on('error', () => {});
    createInterface({ input: channel }).on('line', (text) => {
      const line = JSON.parse(text) as LaunchLine;
      if (line.type === 'progress') progress(line.text);
      else if (line.type === 'ready') resolve();
      else reject(new WeftError(line.code, line.message));
    });
  });
}

/**
 * unshare's arguments here, after making sure that they work. Throws one sentence with the remedy where they do not.
 */
export function namespaces(): string[] {
  if (!existsSync(tun))
    throw new WeftError(
      'lab-tun-missing',
      `${tun} is missing, and without TAP devices there is no lab. Load the module with \`modprobe tun\`; in a container add \`--device ${tun}\`.`,
    );
  try {
    accessSync(tun, constants.R_OK | constants.W_OK);
  } catch {
    throw new WeftError(
      'lab-tun-permission',
      `You may not open ${tun}. Run the lab as root (sudo), or let everybody open it with \`chmod 666 ${tun}\`.`,
    );
  }
  const root = process.geteuid?.() === 0;
  const flags = [
    ...(root ? [] : ['--user', '--map-root-user']),
    ...[
      '--mount',
      '--net',
      '--pid',
      '--fork',
      '--kill-child=KILL',
      '--mount-proc',
      '--propagation',
      'private',
    ],
  ];
  const test = spawnSync('unshare', [...flags, 'true'], { encoding: 'utf8' });
  if (test.status === 0) return flags;
  if (test.error !== undefined)
    throw new WeftError('lab-unshare', 'The program `unshare` is missing. Install the package util-linux.');
  const said = test.stderr.trim();
  throw new WeftError(
    'lab-namespaces',
    root
      ? `This machine does not let root make namespaces (${said}). In a container, run it with \`--privileged\`.`
      : `Namespaces cannot be made without root here (${said}). Run the lab as root (sudo), or allow user namespaces: \`sysctl kernel.unprivileged_userns_clone=1\`, on Ubuntu 24.04 also \`sysctl kernel.apparmor_restrict_unprivileged_userns=0\`.`,
  );
}
