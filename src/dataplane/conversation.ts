/**
 * The asking half of a connection of JSON lines: requests have numbers, and their answers, or the peer's refusals, come back under them in
 * any order. For the clients of the switch's, the agent's and the lab's socket; what else comes under a number is theirs.
 */
import { type Problem, WeftError } from '../errors/problem.js';
import type { Lines } from './lines.js';

export type Message = Readonly<Record<string, unknown>>;

interface Waiting {
  resolve(answer: Message): void;
  reject(error: Error): void;
}

export class Conversation {
  readonly #lines: Lines;
  readonly #waiting = new Map<number, Waiting>();
  #next = 1;
  #ended: Error | null = null;

  constructor(lines: Lines) {
    this.#lines = lines;
  }

  /** The number of the next request. */
  get next(): number {
    return this.#next;
  }

  /** Why nobody answers any more; null: somebody does. */
  get ended(): Error | null {
    return this.#ended;
  }

  /** Resolves with the answer; rejects with a WeftError of the peer's code where it refuses, and with the conversation's end. */
  ask(request: object): Promise<Message> {
    if (this.#ended !== null) return Promise.reject(this.#ended);
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#lines.send({ ...request, id });
    });
  }

  /** An answer or a refusal; false: nobody waits for one of this number. */
  hear(message: Message): boolean {
    const id = Number(message.id);
    const waiting = this.#waiting.get(id);
    if (waiting === undefined) return false;
    this.#waiting.delete(id);
    if (message.type === 'error') waiting.reject(refusalOf(message));
    else waiting.resolve(message);
    return true;
  }

  /** False: it had ended before, for the reason that counts. */
  end(reason: Error): boolean {
    if (this.#ended !== null) return false;
    this.#ended = reason;
    for (const { reject } of this.#waiting.values()) reject(reason);
    this.#waiting.clear();
    return true;
  }
}

/** A refusal, in the peer's words. */
export function refusalOf({ code, message, problems }: Message): WeftError {
  return new WeftError(String(code), String(message), {
    problems: Array.isArray(problems) ? (problems as readonly Problem[]) : [],
  });
}
