/** `weft switch` under `weft-supervise`, as a node runs it, for a test; and a client of its socket. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createConnection, type Socket } from 'node:net';
import { join } from 'node:path';
import { Lines } from '../../src/dataplane/lines.js';
import type { SwitchStatus } from '../../src/dataplane/protocol/answers.js';
import { type SwitchAnswer, switchSocketName } from '../../src/dataplane/protocol.js';
import { repositoryRoot } from './repository.js';

export const supervisorProgram = join(repositoryRoot, 'build', 'bin', 'weft-supervise');
const commandLine = join(import.meta.dirname, '..', '..', 'src', 'cli', 'main.js');

type Request = Readonly<Record<string, unknown>> & { readonly type: string };

/** Says hello, then answers in the order of asking. */
export class TestClient {
  readonly #lines: Lines;
  readonly #socket: Socket;
  readonly #waiting = new Map<number, (answer: SwitchAnswer | null) => void>();
  readonly events: unknown[] = [];
  /** Gets answers to frames that had no id of ours. */
  onUnnumbered: (answer: unknown) => void = () => {};
  #next = 1;

  private constructor(socket: Socket) {
    this.#socket = socket;
    this.#lines = new Lines(socket, 64 * 1024 * 1024, {
      message: (value) => {
        if (value.type === 'event') this.events.push(value);
        else {
          const waiting = this.#waiting.get(value.id as number);
          if (waiting === undefined) this.onUnnumbered(value);
          else waiting(value as unknown as SwitchAnswer);
        }
      },
      garbage: () => {},
      closed: () => {
        for (const resolve of this.#waiting.values()) resolve(null);
      },
    });
  }

  /** Waits for the switch to listen and to answer; a socket file of a switch that was just killed refuses or keeps silent. */
  static async connect(runDirectory: string, hello: Request, milliseconds = 10_000): Promise<TestClient> {
    const deadline = Date.now() + milliseconds;
    while (Date.now() < deadline) {
      const socket = await new Promise<Socket | null>((resolve) => {
        const attempt = createConnection(join(runDirectory, switchSocketName), () => resolve(attempt));
        attempt.once('error', () => resolve(null));
      });
      if (socket !== null) {
        const client = new TestClient(socket);
        const patience = new Promise<null>((resolve) => setTimeout(resolve, 300, null).unref());
        const answer = await Promise.race([client.ask(hello), patience]);
        if (answer?.type === 'welcome') return client;
        client.close();
      }
      await new Promise((resolve) => setTimeout(resolve, 3));
    }
    throw new Error('no switch answered in time');
  }

  /** Null when the connection ended first. */
  ask(request: Request): Promise<SwitchAnswer | null> {
    const id = this.#next++;
    return new Promise((resolve) => {
      this.#waiting.set(id, resolve);
      if (this.#lines.open) this.#lines.send({ id, ...request });
      else resolve(null);
    });
  }

  async status(): Promise<SwitchStatus> {
    const answer = await this.ask({ type: 'query', what: 'status' });
    if (answer?.type !== 'answer' || answer.what !== 'status')
      throw new Error(`no status: ${JSON.stringify(answer)}`);
    return answer.data;
  }

  sendRaw(text: string): void {
    this.#socket.write(text);
  }

  close(): void {
    this.#socket.destroy();
  }
}

export class SupervisedSwitch {
  readonly #child: ChildProcess;
  readonly ended: Promise<number | null>;
  log = '';

  /** `netns`: path of the namespace that plays the node's; absent: the test's own. */
  constructor(runDirectory: string, netns?: string) {
    const command = [
      supervisorProgram,
      '--',
      process.execPath,
      commandLine,
      'switch',
      '--run-dir',
      runDirectory,
    ];
    const [program, ...args] = netns === undefined ? command : ['nsenter', `--net=${netns}`, ...command];
    this.#child = spawn(program!, args, { stdio: ['ignore', 'inherit', 'pipe'] });
    this.#child.stderr?.on('data', (data: Buffer) => {
      this.log += data.toString();
    });
    this.ended = new Promise((resolve) => this.#child.once('close', resolve));
  }

  get pid(): number {
    return this.#child.pid ?? -1;
  }

  async stop(): Promise<number | null> {
    this.#child.kill('SIGTERM');
    return this.ended;
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }
}

/** `weft switch` without a supervisor. */
export class SwitchAlone {
  readonly ended: Promise<number | null>;
  log = '';

  constructor(runDirectory: string) {
    const child = spawn(process.execPath, [commandLine, 'switch', '--run-dir', runDirectory], {
      stdio: ['ignore', 'inherit', 'pipe'],
    });
    child.stderr?.on('data', (data: Buffer) => {
      this.log += data.toString();
    });
    this.ended = new Promise((resolve) => child.once('close', resolve));
  }
}
