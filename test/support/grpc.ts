/**
 * Unary gRPC calls over a unix socket: one HTTP/2 request each, a message is a zero byte, its length in four bytes, its content.
 * https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
 */
import { type ClientHttp2Session, connect } from 'node:http2';
import { createConnection } from 'node:net';

/** What the server answered with other than OK (0), or -1 where it was not reached. */
export class CallError extends Error {
  readonly status: number;
  constructor(method: string, status: number, message: string) {
    super(`${method}: ${message} (status ${status})`);
    this.status = status;
  }
}

export class GrpcChannel {
  readonly #path: string;
  #session: ClientHttp2Session | null = null;

  constructor(path: string) {
    this.#path = path;
  }

  /** `method` such as /runtime.v1.RuntimeService/Version; a lost connection is made again by the next call. */
  call(method: string, message: Buffer, seconds = 60): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      const stream = this.#connect().request({
        ':method': 'POST',
        ':path': method,
        'content-type': 'application/grpc',
        te: 'trailers',
      });
      const chunks: Buffer[] = [];
      let status = -1;
      let words = 'the connection ended';
      const note = (headers: Readonly<Record<string, unknown>>) => {
        if (headers['grpc-status'] === undefined) return;
        status = Number(headers['grpc-status']);
        words = decodeURIComponent(String(headers['grpc-message'] ?? ''));
      };
      stream.setTimeout(seconds * 1000, () => {
        words = `no answer within ${seconds} s`;
        stream.close();
      });
      stream.on('response', note).on('trailers', note);
      stream.on('data', (chunk: Buffer) => chunks.push(chunk));
      stream.on('error', (error) => {
        words = error.message;
      });
      stream.on('close', () => {
        const all = Buffer.concat(chunks);
        if (status !== 0) reject(new CallError(method, status, words));
        else if (all.length < 5 || all[0] !== 0 || all.readUInt32BE(1) !== all.length - 5)
          reject(new CallError(method, -1, 'the answer is not one message'));
        else resolve(all.subarray(5));
      });
      const head = Buffer.alloc(5);
      head.writeUInt32BE(message.length, 1);
      stream.end(Buffer.concat([head, message]));
    });
  }

  close(): void {
    this.#session?.destroy();
    this.#session = null;
  }

  #connect(): ClientHttp2Session {
    if (this.#session !== null && !this.#session.closed && !this.#session.destroyed) return this.#session;
    const session = connect('http://localhost', { createConnection: () => createConnection(this.#path) });
    // The calls report it.
    session.on('error', () => {});
    session.on('goaway', () => session.close());
    this.#session = session;
    return session;
  }
}
