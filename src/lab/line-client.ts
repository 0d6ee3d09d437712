/**
 * A client of a socket that speaks one JSON object a line with numbered requests: the agent's and the lab's own. Lines that carry
 * the id of a subscription and are events go to who follows it.
 */
import type { Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { Lines } from '../dataplane/lines.js';
import { openSocket } from '../dataplane/socket.js';
import { WeftError } from '../errors/problem.js';

type Message = Readonly<Record<string, unknown>>;

interface Waiting {
  resolve(answer: Message): void;
  reject(error: Error): void;
}

export interface ConnectOptions {
  /** Milliseconds for which to try again while nobody listens. */
  readonly patience?: number;
  readonly maximumLine: number;
}

export class LineClient {
  readonly #lines: Lines;
  readonly #waiting = new Map<number, Waiting>();
  readonly #followed = new Map<number, (line: Message) => void>();
  #next = 1;
  #ended: Error | null = null;

  private constructor(socket: Socket, path: string, maximumLine: number) {
    this.#lines = new Lines(socket, maximumLine, {
      message: (line) => this.#hear(line),
      garbage: () => this.#lines.destroy(new Error(`${path} does not speak JSON lines`)),
      // A peer that was killed resets the connection: an end like any other.
      closed: (error) =>
        this.#end(
          new WeftError(
            'lab-away',
            `The connection to ${path} has ended${error === null ? '' : ` (${error.message})`}.`,
          ),
        ),
    });
  }

  /** Throws what connecting threw, once patience is over. */
  static async connect(path: string, options: ConnectOptions): Promise<LineClient> {
    const until = Date.now() + (options.patience ?? 0);
    for (;;) {
      try {
        const socket = await openSocket(path);
        return new LineClient(socket, path, options.maximumLine);
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        const later = code === 'ENOENT' || code === 'ECONNREFUSED';
        if (!later || Date.now() >= until) throw error;
        await pause(10);
      }
    }
  }

  get open(): boolean {
    return this.#ended === null;
  }

  /** The answer; rejects with a WeftError of the answer's code where it is an error. */
  request(type: string, fields: object): Promise<Message> {
    if (this.#ended !== null) return Promise.reject(this.#ended);
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#lines.send({ ...fields, type, id });
    });
  }

  /** Asks for a subscription and hands over its events until the connection is closed. */
  async follow(type: string, fields: object, heard: (line: Message) => void): Promise<void> {
    const id = this.#next;
    this.#followed.set(id, heard);
    await this.request(type, fields);
  }

  close(): void {
    this.#lines.finish();
  }

  #hear(line: Message): void {
    const id = Number(line.id);
    if (line.type === 'event') {
      this.#followed.get(id)?.(line);
      return;
    }
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (line.type === 'error') waiting?.reject(new WeftError(String(line.code), String(line.message)));
    else waiting?.resolve(line);
  }

  #end(error: Error): void {
    this.#ended = error;
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }
}
