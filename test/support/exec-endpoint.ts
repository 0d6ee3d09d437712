/**
 * The exec subresource of an API server double: speaks Kubernetes' WebSocket subprotocols and runs real programs, as a kubelet would. The
 * framing is written here once more, so that the client is not tested against itself.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { ApiServer, SeenRequest } from './api-server.js';

export interface Exec {
  readonly namespace: string;
  readonly pod: string;
  readonly container: string;
  readonly command: readonly string[];
}

export class ExecEndpoint {
  readonly asked: Exec[] = [];
  readonly running = new Set<ChildProcess>();
  /** Subprotocols that are spoken, the best first; K3s 1.21 knows v4 only. */
  protocols: readonly string[] = ['v5.channel.k8s.io', 'v4.channel.k8s.io'];
  /** How a message is cut into frames. */
  pieces: (message: Buffer) => readonly Buffer[] = (message) => [message];
  /** Answers to our pings. */
  pongs = 0;
  readonly #program: (exec: Exec) => readonly string[] | null;
  readonly #streams = new Set<Duplex>();

  /** `program`: what is run; null: there is no such container. */
  constructor(server: ApiServer, program: (exec: Exec) => readonly string[] | null) {
    this.#program = program;
    server.upgraded = (seen, request, socket) => this.#accept(seen, request, socket);
  }

  /** Cuts every stream, as a network does. */
  cut(): void {
    for (const stream of this.#streams) stream.destroy();
  }

  #accept(seen: SeenRequest, request: IncomingMessage, socket: Duplex): void {
    const [, namespace = '', pod = ''] =
      /^\/api\/v1\/namespaces\/([^/]+)\/pods\/([^/]+)\/exec$/.exec(seen.path) ?? [];
    const query = new URL(request.url ?? '', 'http://server').searchParams;
    const exec: Exec = {
      namespace,
      pod,
      container: query.get('container') ?? '',
      command: query.getAll('command'),
    };
    this.asked.push(exec);
    // As kubelets do: what they give out is of no type.
    if (request.headers.accept !== undefined && !request.headers.accept.includes('*/*')) {
      socket.end(
        'HTTP/1.1 406 Not Acceptable\r\ncontent-length: 19\r\nconnection: close\r\n\r\n406: Not Acceptable',
      );
      return;
    }
    const offered = String(request.headers['sec-websocket-protocol']).split(', ');
    const protocol = this.protocols.find((one) => offered.includes(one)) ?? '';
    const key = createHash('sha1')
      .update(`${request.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
      .digest('base64');
    this.#streams.add(socket);
    socket.once('close', () => this.#streams.delete(socket));
    socket.on('error', () => {});
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: ${key}\r\n${protocol === '' ? '' : `sec-websocket-protocol: ${protocol}\r\n`}\r\n`,
    );
    if (protocol !== '') this.#serve(exec, socket);
  }

  #serve(exec: Exec, socket: Duplex): void {
    const send = (channel: number, data: Buffer) => {
      const pieces = this.pieces(Buffer.concat([Buffer.from([channel]), data]));
      pieces.forEach((piece, index) => {
        // Control frames may come between the frames of a message.
        if (index > 0) socket.write(frame(9, true, Buffer.from('there?')));
        socket.write(frame(index === 0 ? 2 : 0, index === pieces.length - 1, piece));
      });
    };
    const end = (status: object) => {
      send(3, Buffer.from(JSON.stringify(status)));
      socket.write(frame(8, true, Buffer.from([3, 232])));
    };
    const [file, ...args] = this.#program(exec) ?? [];
    if (file === undefined) {
      end({
        status: 'Failure',
        message: `container not found ("${exec.container}")`,
        reason: 'InternalError',
      });
      return;
    }
    const child = spawn(file, args, { stdio: ['pipe', 'pipe', 'pipe'] });
    this.running.add(child);
    child.stdin.on('error', () => {});
    child.stdout.on('data', (data: Buffer) => send(1, data));
    child.stderr.on('data', (data: Buffer) => send(2, data));
    child.once('close', (code) => {
      this.running.delete(child);
      end(
        code === 0
          ? { status: 'Success' }
          : {
              status: 'Failure',
              reason: 'NonZeroExitCode',
              message: `command terminated with non-zero exit code: exit status ${code}`,
              details: { causes: [{ reason: 'ExitCode', message: String(code) }] },
            },
      );
    });
    // What a kubelet does when its client has gone: the program's standard input ends.
    socket.once('close', () => child.stdin.end());
    read(socket, (opcode, data) => {
      if (opcode === 9) socket.write(frame(10, true, data));
      else if (opcode === 10 && data.toString() === 'there?') this.pongs++;
      else if (opcode === 8) socket.end();
      else if (data[0] === 0) child.stdin.write(data.subarray(1));
      else if (data[0] === 255) child.stdin.end();
    });
  }
}

export function frame(opcode: number, last: boolean, data: Buffer): Buffer {
  const head =
    data.length < 126
      ? Buffer.from([0, data.length])
      : data.length < 65_536
        ? Buffer.from([0, 126, data.length >> 8, data.length & 255])
        : Buffer.concat([Buffer.from([0, 127, 0, 0, 0, 0]), uint32(data.length)]);
  head[0] = (last ? 0x80 : 0) | opcode;
  return Buffer.concat([head, data]);
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** Frames of a client, which are masked and whole. */
function read(socket: Duplex, take: (opcode: number, data: Buffer) => void): void {
  let unread = Buffer.alloc(0);
  socket.on('data', (chunk: Buffer) => {
    unread = Buffer.concat([unread, chunk]);
    while (unread.length >= 6) {
      if ((unread[1]! & 0x80) === 0) throw new Error('a client has to mask');
      const short = unread[1]! & 0x7f;
      const at = short === 127 ? 10 : short === 126 ? 4 : 2;
      if (unread.length < at + 4) return;
      const length = short === 127 ? unread.readUInt32BE(6) : short === 126 ? unread.readUInt16BE(2) : short;
      if (unread.length < at + 4 + length) return;
      const mask = unread.subarray(at, at + 4);
      const data = Buffer.from(unread.subarray(at + 4, at + 4 + length));
      for (let i = 0; i < data.length; i++) data[i] = data[i]! ^ mask[i % 4]!;
      const opcode = unread[0]! & 15;
      unread = unread.subarray(at + 4 + length);
      take(opcode, data);
    }
  });
}
