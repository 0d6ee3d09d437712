/**
 * The lab's DNS pod: Node's own UDP and TCP sockets on descriptors that were opened inside the pod's network namespace. Queries come
 * and answers go through the switch, so policy applies to DNS as to any traffic. Runs on the event loop of the lab's process.
 */
import dgram from 'node:dgram';
import net from 'node:net';
import { decode, encode } from 'dns-packet';
import type { DnsTable } from './dns.js';
import { openServer } from './engine.js';

/** Without EDNS(0) an answer over UDP has at most this many bytes (RFC 1035, section 4.2.1); the client asks again over TCP. */
const plainUdpLimit = 512;
/** Bytes of EDNS(0) answers that no path of the lab fragments. */
const ednsLimit = 1232;
const idleMilliseconds = 10_000;
const maximumConnections = 64;

export class DnsServer {
  #table: DnsTable;
  readonly #udp: dgram.Socket;
  readonly #tcp: net.Server;
  readonly #connections = new Set<net.Socket>();

  private constructor(table: DnsTable, udp: dgram.Socket, tcp: net.Server) {
    this.#table = table;
    this.#udp = udp;
    this.#tcp = tcp;
  }

  /** Serves port 53 in the namespace at `netns`. */
  static async start(netns: string, table: DnsTable): Promise<DnsServer> {
    const udp = dgram.createSocket({ type: 'udp6' });
    const tcp = net.createServer();
    const server = new DnsServer(table, udp, tcp);
    udp.on('message', (message, peer) => {
      const answer = server.#answer(message, true);
      if (answer !== undefined) udp.send(answer, peer.port, peer.address, () => {});
    });
    udp.on('error', () => {}); // an ICMP error for an answer that nobody waits for any more
    tcp.maxConnections = maximumConnections;
    tcp.on('connection', (socket) => server.#serve(socket));
    tcp.on('error', () => {});
    await new Promise<void>((resolve, reject) => {
      udp.once('error', reject);
      udp.bind({ fd: openServer(netns, 'udp', 53) }, () => {
        udp.off('error', reject);
        resolve();
      });
    });
    await new Promise<void>((resolve, reject) => {
      tcp.once('error', reject);
      tcp.listen({ fd: openServer(netns, 'tcp', 53) }, () => {
        tcp.off('error', reject);
        resolve();
      });
    });
    return server;
  }

  /** From the next query on. */
  update(table: DnsTable): void {
    this.#table = table;
  }

  close(): void {
    this.#udp.close();
    this.#tcp.close();
    for (const socket of this.#connections) socket.destroy();
  }

  /** undefined: what came is no query and is not answered. */
  #answer(message: Buffer, overUdp: boolean): Buffer | undefined {
    let query: ReturnType<typeof decode>;
    try {
      query = decode(message);
    } catch {
      return undefined;
    }
    if (query.type !== 'query') return undefined;
    const answer = this.#table.answer(query);
    const edns = query.additionals?.find((record) => record.type === 'OPT');
    const limit = !overUdp
      ? 65535
      : edns === undefined
        ? plainUdpLimit
        : Math.max(
            plainUdpLimit,
            Math.min(ednsLimit, (edns as { udpPayloadSize?: number }).udpPayloadSize ?? 0),
          );
    const bytes = encode(answer);
    if (bytes.length <= limit) return bytes;
    // 0x0200 is TC: the client asks again over TCP.
    return encode({ ...answer, flags: (answer.flags ?? 0) | 0x0200, answers: [], additionals: [] });
  }

  #serve(socket: net.Socket): void {
    this.#connections.add(socket);
    socket.setTimeout(idleMilliseconds, () => socket.destroy());
    socket.once('close', () => this.#connections.delete(socket));
    socket.on('error', () => socket.destroy());
    let waiting = Buffer.alloc(0);
    socket.on('data', (chunk) => {
      waiting = Buffer.concat([waiting, chunk]);
      // Each message has its length in two bytes before it (RFC 1035, section 4.2.2).
      while (waiting.length >= 2 && waiting.length >= 2 + waiting.readUInt16BE(0)) {
        const length = waiting.readUInt16BE(0);
        const answer = this.#answer(waiting.subarray(2, 2 + length), false);
        waiting = waiting.subarray(2 + length);
        if (answer === undefined) return void socket.destroy();
        const prefix = Buffer.alloc(2);
        prefix.writeUInt16BE(answer.length);
        socket.write(Buffer.concat([prefix, answer]));
      }
    });
  }
}
