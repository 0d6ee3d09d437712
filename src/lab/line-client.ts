/**
 * A client of a socket that speaks one JSON object a line with numbered requests: the agent's and the lab's own. Lines that carry
 * the id of a subscription and are events go to who follows it.
 */
import type { Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { Conversation, type Message } from '../dataplane/conversation.js';
import { Lines } from '../dataplane/lines.js';
import { openSocket } from '../dataplane/socket.js';
import { WeftError } from '../errors/problem.js';

export interface ConnectOptions {
  /** Milliseconds for which to try again while nobody listens. */
  readonly patience?: number;
  readonly maximumLine: number;
}

export class LineClient {
  readonly #lines: Lines;
  readonly #conversation: Conversation;
  readonly #followed = new Map<number, (line: Message) => void>();

  private constructor(socket: Socket, path: string, maximumLine: number) {
    this.#lines = new Lines(socket, maximumLine, {
      message: (line) => this.#hear(line),
      garbage: () => this.#lines.destroy(new Error(`${path} does not speak JSON lines`)),
      // A peer that was killed resets the connection: an end like any other.
      closed: (error) =>
        this.#conversation.end(
          new WeftError(
            'lab-away',
            `The connection to ${path} has ended${error === null ? '' : ` (${error.message})`}.`,
          ),
        ),
    });
    this.#conversation = new Conversation(this.#lines);
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
    return this.#conversation.ended === null;
  }

  /** The answer; rejects with a WeftError of the answer's code where it is an error. */
  request(type: string, fields: object): Promise<Message> {
    return this.#conversation.ask({ ...fields, type });
  }

  /** Asks for a subscription and hands over its events until the connection is closed. */
  async follow(type: string, fields: object, heard: (line: Message) => void): Promise<void> {
    this.#followed.set(this.#conversation.next, heard);
    await this.request(type, fields);
  }

  close(): void {
    this.#lines.finish();
  }

  #hear(line: Message): void {
    if (line.type === 'event') this.#followed.get(Number(line.id))?.(line);
    else this.#conversation.hear(line);
  }
}
