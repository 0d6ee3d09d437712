/**
 * One JSON object a line over a stream: the framing of the switch's and the agent's socket. The reader is bounded: a line that is too
 * long ends the connection, because its end cannot be trusted. The writer tells how much waits, so that an observer that does not
 * read loses events instead of filling this process.
 */
import type { Duplex } from 'node:stream';

/** A socket, or what carries one through something else. */
export type LineStream = Duplex & { destroySoon?(): void };

/** A message without the number that its connection gives it. */
export type Unnumbered<Message> = Message extends { readonly id: number } ? Omit<Message, 'id'> : never;

export interface LineHandlers {
  /** A parsed line that is an object. */
  message(value: Readonly<Record<string, unknown>>): void;
  /** A line that is no JSON object; the connection goes on. */
  garbage(line: string): void;
  /** A line that is longer than allowed: the last chance to say so, the connection ends after it. */
  tooLong?(): void;
  /** Exactly once; the error when it did not end in peace. */
  closed(error: Error | null): void;
}

export class Lines {
  readonly #socket: LineStream;
  readonly #maximum: number;
  readonly #handlers: LineHandlers;
  /** Pieces of the line that is not yet whole; joined once, so that a long line costs no quadratic copying. */
  #pieces: Buffer[] = [];
  #waiting = 0;
  #closed = false;

  constructor(socket: LineStream, maximum: number, handlers: LineHandlers) {
    this.#socket = socket;
    this.#maximum = maximum;
    this.#handlers = handlers;
    socket.on('data', (chunk: Buffer) => this.#take(chunk));
    socket.once('error', (error) => this.#end(error));
    socket.once('close', () => this.#end(null));
  }

  /** Bytes that wait for the peer to read. */
  get backlog(): number {
    return this.#socket.writableLength;
  }

  get open(): boolean {
    return !this.#closed && this.#socket.writable;
  }

  send(value: object): void {
    if (this.open) this.#socket.write(`${JSON.stringify(value)}\n`);
  }

  /** Sends what waits, then closes. */
  finish(): void {
    this.#socket.end();
  }

  destroy(error?: Error): void {
    this.#end(error ?? null);
    this.#socket.destroy();
  }

  #take(chunk: Buffer): void {
    if (this.#closed) return;
    let start = 0;
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, start)) {
      const piece = chunk.subarray(start, end);
      start = end + 1;
      if (this.#waiting + piece.length > this.#maximum) {
        this.#tooLong();
        return;
      }
      const line = this.#pieces.length === 0 ? piece : Buffer.concat([...this.#pieces, piece]);
      this.#pieces = [];
      this.#waiting = 0;
      if (line.length > 0) this.#line(line.toString('utf8'));
      if (this.#closed) return;
    }
    const rest = chunk.subarray(start);
    if (rest.length === 0) return;
    this.#pieces.push(rest);
    this.#waiting += rest.length;
    if (this.#waiting > this.#maximum) this.#tooLong();
  }

  #line(line: string): void {
    let value: unknown = null;
    try {
      value = JSON.parse(line);
    } catch {
      // Stays null: told as garbage below.
    }
    if (typeof value !== 'object' || value === null || Array.isArray(value)) this.#handlers.garbage(line);
    else this.#handlers.message(value as Readonly<Record<string, unknown>>);
  }

  #tooLong(): void {
    this.#pieces = [];
    this.#waiting = 0;
    this.#handlers.tooLong?.();
    this.#end(new Error(`a line is longer than ${this.#maximum} bytes`));
    // What tooLong() wrote is flushed first; whatever else comes is not read.
    if (this.#socket.destroySoon === undefined) this.#socket.destroy();
    else this.#socket.destroySoon();
  }

  #end(error: Error | null): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#handlers.closed(error);
  }
}
