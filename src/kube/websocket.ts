/**
 * The client's half of a WebSocket (RFC 6455) over a connection that was upgraded to one: as much as the API server's streams need. Messages
 * are whole and binary; control frames are answered here. Hand-made because that is two hundred lines and Node.js 20 has none.
 *
 * The peer is a server that has proven who it is, so that lengths are bounded against mistakes and not against attacks.
 */
import { createHash, randomBytes } from 'node:crypto';
import type { Duplex } from 'node:stream';
import type { KubeClient } from './client.js';
import { KubeError } from './error.js';

const accept = (key: string) =>
  createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');

const opcode = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;
/** Of one message; what streams send is some 32 KB. */
const longestMessage = 16 << 20;

export interface WebSocketHandlers {
  message(data: Buffer): void;
  /** Once, last. null: it was closed in order. */
  closed(error: Error | null): void;
}

export class WebSocketClient {
  /** The subprotocol that the server chose. */
  readonly protocol: string;
  readonly #socket: Duplex;
  #handlers: WebSocketHandlers | null = null;
  /** What has come and was not yet looked at. */
  #unread: Buffer;
  /** Of a message in several frames. */
  #pieces: Buffer[] = [];
  #size = 0;
  #over = false;

  private constructor(socket: Duplex, head: Buffer, protocol: string) {
    this.#socket = socket;
    this.#unread = head;
    this.protocol = protocol;
  }

  /** `protocols`: subprotocols, the best first. Rejects with a KubeError, also where the server chooses none of them. */
  static async open(
    client: KubeClient,
    path: string,
    protocols: readonly string[],
  ): Promise<WebSocketClient> {
    const key = randomBytes(16).toString('base64');
    const { socket, head, headers } = await client.upgrade(path, {
      // A kubelet's stream is of no type: to a request for JSON it answers 406.
      accept: '*/*',
      connection: 'Upgrade',
      upgrade: 'websocket',
      'sec-websocket-version': '13',
      'sec-websocket-key': key,
      'sec-websocket-protocol': protocols.join(', '),
    });
    const protocol = String(headers['sec-websocket-protocol'] ?? '');
    if (headers['sec-websocket-accept'] !== accept(key) || !protocols.includes(protocol)) {
      socket.destroy();
      throw new KubeError(
        'kube-garbled',
        `The API server does not speak one of the protocols ${protocols.join(', ')} (it chose "${protocol}").`,
      );
    }
    return new WebSocketClient(socket, head, protocol);
  }

  /** Begins to read. */
  start(handlers: WebSocketHandlers): void {
    this.#handlers = handlers;
    this.#socket.on('data', (chunk: Buffer) => {
      this.#unread = this.#unread.length === 0 ? chunk : Buffer.concat([this.#unread, chunk]);
      this.#read();
    });
    this.#socket.once('error', (error: Error) => this.#end(error));
    this.#socket.once('close', () => this.#end(new Error('the connection broke off')));
    this.#read();
  }

  /** `sent` is called when the kernel has taken it. */
  send(data: Buffer, sent: (error?: Error | null) => void = () => {}): void {
    this.#frame(opcode.binary, data, sent);
  }

  /** Shows routers on the way, and the server, that somebody is there. */
  ping(): void {
    this.#frame(opcode.ping, Buffer.alloc(0));
  }

  pause(): void {
    this.#socket.pause();
  }
  resume(): void {
    this.#socket.resume();
  }

  close(): void {
    if (this.#over) return;
    this.#frame(opcode.close, Buffer.from([3, 232])); // 1000: its purpose is fulfilled
    this.#end(null);
  }

  #frame(code: number, data: Buffer, sent: (error?: Error | null) => void = () => {}): void {
    if (this.#over || !this.#socket.writable) {
      sent(new Error('the connection has ended'));
      return;
    }
    const long = data.length > 65_535 ? 8 : data.length > 125 ? 2 : 0;
    const head = Buffer.alloc(2 + long + 4);
    head[0] = 0x80 | code;
    head[1] = 0x80 | (long === 8 ? 127 : long === 2 ? 126 : data.length);
    if (long === 2) head.writeUInt16BE(data.length, 2);
    if (long === 8) head.writeBigUInt64BE(BigInt(data.length), 2);
    // RFC 6455 section 5.3: against confusing proxies that take what a page makes a browser send for a request.
    const mask = randomBytes(4);
    mask.copy(head, 2 + long);
    const masked = Buffer.from(data);
    for (let i = 0; i < masked.length; i++) masked[i]! ^= mask[i & 3]!;
    this.#socket.write(head);
    this.#socket.write(masked, sent);
  }

  #read(): void {
    while (!this.#over) {
      const frame = this.#next();
      if (frame === null) return;
      this.#take(frame.code, frame.last, frame.data);
    }
  }

  /** The next whole frame; null: it has not come yet. */
  #next(): { readonly code: number; readonly last: boolean; readonly data: Buffer } | null {
    const bytes = this.#unread;
    if (bytes.length < 2) return null;
    const short = bytes[1]! & 0x7f;
    const long = short === 127 ? 8 : short === 126 ? 2 : 0;
    if (bytes.length < 2 + long) return null;
    const length = long === 8 ? Number(bytes.readBigUInt64BE(2)) : long === 2 ? bytes.readUInt16BE(2) : short;
    if (length > longestMessage || (bytes[1]! & 0x80) !== 0 || (bytes[0]! & 0x70) !== 0) {
      this.#end(new Error('what came is no WebSocket frame, or too long'));
      return null;
    }
    const end = 2 + long + length;
    if (bytes.length < end) return null;
    this.#unread = bytes.subarray(end);
    return {
      code: bytes[0]! & 0x0f,
      last: (bytes[0]! & 0x80) !== 0,
      data: bytes.subarray(2 + long, end),
    };
  }

  #take(code: number, last: boolean, data: Buffer): void {
    switch (code) {
      case opcode.ping:
        this.#frame(opcode.pong, data);
        return;
      case opcode.pong:
        return;
      case opcode.close: {
        const status = data.length >= 2 ? data.readUInt16BE(0) : 1005;
        const words = data.subarray(2).toString();
        this.#frame(opcode.close, data.subarray(0, 2));
        // 1005: without a status, 1000: in order, 1001: the server goes.
        this.#end(
          status === 1000 || status === 1005
            ? null
            : new Error(`the server closed the stream (${status}${words === '' ? '' : `: ${words}`})`),
        );
        return;
      }
      case opcode.continuation:
      case opcode.text:
      case opcode.binary:
        this.#size += data.length;
        if (this.#size > longestMessage) {
          this.#end(new Error(`a message is longer than ${longestMessage} bytes`));
          return;
        }
        if (!last) {
          this.#pieces.push(data);
          return;
        }
        this.#handlers?.message(this.#pieces.length === 0 ? data : Buffer.concat([...this.#pieces, data]));
        this.#pieces = [];
        this.#size = 0;
        return;
      default:
        this.#end(new Error(`a WebSocket frame of the unknown kind ${code} came`));
    }
  }

  #end(error: Error | null): void {
    if (this.#over) return;
    this.#over = true;
    this.#socket.on('error', () => {});
    this.#socket.end(() => this.#socket.destroy());
    this.#handlers?.closed(error);
  }
}
