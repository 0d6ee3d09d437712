/**
 * The agent's socket: `RUN/agent.sock`, mode 0600, peers checked.
 *
 * One agent at a time has it. Two that start at the same moment would both find that nobody answers, take the same epoch and give out the same
 * addresses; so whoever listens holds a lock, which the kernel releases however its holder ends. Whether somebody answers is asked all the
 * same: an agent of a version without the lock may run.
 */
import { closeSync } from 'node:fs';
import type { Socket } from 'node:net';
import { Lines } from '../dataplane/lines.js';
import { OwnSocket } from '../dataplane/own-socket.js';
import { somebodyListens } from '../dataplane/socket.js';
import { WeftError } from '../errors/problem.js';
import { maxLineBytes } from './protocol.js';

export interface PeerIdentity {
  readonly pid: number;
  readonly uid: number;
}

/** Who is at the other end; null where it cannot be told, which refuses the peer. */
export type IdentifyPeer = (socket: Socket) => PeerIdentity | null;

export interface Client {
  send(message: object): void;
  /** Bytes that wait for the client to read. */
  readonly backlog: number;
  /** Runs when the client has gone; at once if it has already. */
  onClose(run: () => void): void;
}

/** Takes a file's lock: a descriptor that holds it until it is closed; null: another process has it. */
export type TakeLock = (path: string) => number | null;

export type HandleMessage = (message: Readonly<Record<string, unknown>>, client: Client) => void;

export class AgentServer {
  readonly #path: string;
  readonly #identify: IdentifyPeer;
  readonly #handle: HandleMessage;
  readonly #socket: OwnSocket;
  readonly #takeLock: TakeLock;
  readonly #open = new Set<Lines>();
  #lock: number | null = null;

  constructor(path: string, identify: IdentifyPeer, takeLock: TakeLock, handle: HandleMessage) {
    this.#path = path;
    this.#takeLock = takeLock;
    this.#identify = identify;
    this.#handle = handle;
    this.#socket = new OwnSocket(path, (socket) => this.#accept(socket));
  }

  /** Throws `agent-running` when there is another agent, or the lock cannot be taken. */
  async listen(): Promise<void> {
    const lock = `${this.#path}.lock`;
    try {
      this.#lock = this.#takeLock(lock);
    } catch (error) {
      throw new WeftError('agent-listen', `The agent cannot have its lock. ${(error as Error).message}`, {
        cause: error,
      });
    }
    if (this.#lock === null) throw running(`has ${lock}`);
    try {
      await this.#listen();
    } catch (error) {
      this.#unlock();
      throw error;
    }
  }

  #unlock(): void {
    if (this.#lock !== null) closeSync(this.#lock);
    this.#lock = null;
  }

  async #listen(): Promise<void> {
    if (await somebodyListens(this.#path)) throw running(`answers at ${this.#path}`);
    try {
      await this.#socket.listen();
    } catch (error) {
      throw new WeftError(
        'agent-listen',
        `The agent cannot listen at ${this.#path} (${(error as NodeJS.ErrnoException).code}). Is the run directory there and writable?`,
        { cause: error },
      );
    }
  }

  /** Puts the socket back where somebody has removed it; true: it was so. */
  keep(): Promise<boolean> {
    return this.#socket.keep();
  }

  async close(): Promise<void> {
    const closed = this.#socket.close();
    for (const lines of this.#open) lines.destroy();
    await closed;
    this.#unlock();
  }

  #accept(socket: Socket): void {
    const peer = this.#identify(socket);
    if (peer === null || (peer.uid !== 0 && peer.uid !== process.getuid?.())) {
      socket.write(
        `${JSON.stringify({
          type: 'error',
          id: 0,
          code: 'peer-refused',
          message: 'Only root and the user that the agent runs as may talk to it.',
        })}\n`,
      );
      socket.on('error', () => {});
      socket.destroySoon();
      return;
    }
    const gone: (() => void)[] = [];
    let closed = false;
    const client: Client = {
      send: (message) => lines.send(message),
      get backlog() {
        return lines.backlog;
      },
      onClose: (run) => {
        if (closed) run();
        else gone.push(run);
      },
    };
    const lines: Lines = new Lines(socket, maxLineBytes, {
      message: (value) => this.#handle(value, client),
      garbage: () =>
        lines.send({
          type: 'error',
          id: 0,
          code: 'request-invalid',
          message: 'A request is one JSON object a line.',
        }),
      closed: () => {
        closed = true;
        this.#open.delete(lines);
        for (const run of gone) run();
      },
    });
    this.#open.add(lines);
  }
}

function running(how: string): WeftError {
  return new WeftError(
    'agent-running',
    `Another agent ${how}. Stop it first, or use another run directory (--run-dir).`,
  );
}
