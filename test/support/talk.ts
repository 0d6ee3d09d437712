/** Starts the ends of a test's traffic (talker.ts) inside pods and asks them for their figures. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { TestNode } from './node.js';

const program = fileURLToPath(new URL('./talker.js', import.meta.url));

/** What roles report; each role fills its own. */
export interface Figures {
  readonly bytes: number;
  readonly wrong: number;
  readonly connections: number;
  readonly ended: number;
  readonly errors: readonly string[];
  readonly seconds: number;
  readonly done: boolean;
  readonly error: string;
  readonly sent: number;
  readonly heard: number;
  /** Milliseconds, since the report before. */
  readonly slowest: number;
  readonly end: string;
  readonly received: number;
  readonly highest: number;
  readonly missing: number;
  readonly doubled: number;
  /** Milliseconds, since the report before. */
  readonly longestGap: number;
  readonly failed: number;
  readonly tries: number;
  readonly inside: number;
  readonly made: number;
  readonly datagrams: number;
  readonly largest: number;
}

export class Talker {
  readonly #child: ChildProcess;
  readonly #answers: ((line: string) => void)[] = [];
  #said = '';

  private constructor(child: ChildProcess) {
    this.#child = child;
    createInterface({ input: child.stdout! }).on('line', (line) => this.#answers.shift()?.(line));
    child.stderr!.on('data', (chunk: Buffer) => {
      this.#said += chunk.toString();
    });
    child.stdin!.on('error', () => {});
  }

  /** Resolves when the role is ready, or at once where `wait` is false (a connection that may never come about). */
  static start(node: TestNode, pod: string, role: string, ...args: (string | number)[]): Promise<Talker> {
    return Talker.startIn(node.pod(pod).netns, role, ...args);
  }

  static async startIn(netns: string, role: string, ...args: (string | number)[]): Promise<Talker> {
    const command = [`--net=${netns}`, process.execPath, program, role, ...args.map(String)];
    const child = spawn('setpriv', ['--pdeathsig', 'KILL', '--', 'nsenter', ...command]);
    const talker = new Talker(child);
    talkers.add(talker);
    const first = await talker.#line(10_000);
    assert.deepEqual(JSON.parse(first), { ready: true }, `${role} in ${netns}`);
    return talker;
  }

  report(): Promise<Figures> {
    return this.#ask('report');
  }

  /** Ends the sending; the last figures. */
  stop(): Promise<Figures> {
    return this.#ask('stop');
  }

  async end(): Promise<void> {
    talkers.delete(this);
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exit = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await exit;
  }

  async #ask(what: string): Promise<Figures> {
    const answer = this.#line(10_000);
    this.#child.stdin!.write(`${what}\n`);
    return JSON.parse(await answer) as Figures;
  }

  #line(patience: number): Promise<string> {
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error(`a talker is silent. ${this.#said}`)), patience);
      this.#answers.push((line) => {
        clearTimeout(late);
        resolve(line);
      });
    });
  }
}

const talkers = new Set<Talker>();

/** Ends all that are left, whatever a test did. */
export async function endTalkers(): Promise<void> {
  for (const talker of [...talkers]) await talker.end();
}

export const pause = (milliseconds: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, milliseconds));
