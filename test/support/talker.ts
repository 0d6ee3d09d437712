/**
 * One end of a test's traffic: a process of its own inside a pod's network namespace. Started by talk.ts as
 * `talker.js ROLE ARGUMENT…`; says `ready` when it can be talked to, prints a JSON object with its figures for each line `report` on its
 * standard input, and ends when that closes.
 */
import { createSocket } from 'node:dgram';
import { connect, createServer, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { loadAddon } from '../../src/dataplane/addon.js';
import { fromPod, ipv4, protocols, tcp, tcpFlags, udp } from './frames.js';
import type { TestPod } from './node.js';

const [role, ...args] = process.argv.slice(2) as [string, ...string[]];
const text = (index: number): string => args[index] ?? '';
const whole = (index: number, otherwise = 0): number =>
  args[index] === undefined ? otherwise : Number(args[index]);

let report: () => object = () => ({});
const say = (value: object) => process.stdout.write(`${JSON.stringify(value)}\n`);
const ready = () => say({ ready: true });

/** Byte `n` of every stream: says where a byte belongs, so that loss, doubling and disorder show. */
const pattern = (n: number): number => (n ^ (n >>> 8) ^ (n >>> 16)) & 0xff;

const roles: Record<string, () => void> = {
  /** sink PORT: takes streams and checks every byte. */
  sink: () => {
    const figures = { bytes: 0, wrong: 0, connections: 0, ended: 0, errors: [] as string[], seconds: 0 };
    report = () => figures;
    createServer((socket) => {
      figures.connections++;
      const started = performance.now();
      let place = 0;
      socket.on('data', (chunk) => {
        for (let i = 0; i < chunk.length; i++) if (chunk[i] !== pattern(place + i)) figures.wrong++;
        place += chunk.length;
        figures.bytes += chunk.length;
        figures.seconds = (performance.now() - started) / 1000;
      });
      socket.on('error', (error: NodeJS.ErrnoException) => figures.errors.push(error.code ?? error.message));
      socket.on('end', () => figures.ended++);
    }).listen(whole(0), '::', ready);
  },

  /** source ADDRESS PORT BYTES: sends a stream and ends; 0 bytes: goes on until told. */
  source: () => {
    const figures = { bytes: 0, done: false, error: '' };
    report = () => figures;
    const limit = whole(2) || Number.POSITIVE_INFINITY;
    const socket = connect(whole(1), text(0), ready);
    // A multiple of the pattern's period would hide a shift by one block; 2^24 bytes is the period.
    const block = Buffer.alloc(1 << 24, 0);
    for (let i = 0; i < block.length; i++) block[i] = pattern(i);
    const write = () => {
      while (figures.bytes < limit) {
        const from = figures.bytes % block.length;
        const chunk = block.subarray(
          from,
          Math.min(from + (1 << 18), block.length, from + limit - figures.bytes),
        );
        figures.bytes += chunk.length;
        if (!socket.write(chunk)) {
          socket.once('drain', write);
          return;
        }
      }
      socket.end();
    };
    socket.once('connect', write);
    socket.on('error', (error: NodeJS.ErrnoException) => {
      figures.error = error.code ?? error.message;
    });
    socket.on('close', () => {
      figures.done = true;
    });
    socket.resume();
  },

  /** echo PORT: TCP and UDP. */
  echo: () => {
    const figures = { connections: 0, datagrams: 0, largest: 0 };
    report = () => figures;
    createServer((socket) => {
      figures.connections++;
      socket.on('error', () => {}).pipe(socket);
    }).listen(whole(0), '::', () => {
      const server = createSocket({ type: 'udp6', recvBufferSize: 4 << 20 });
      server.on('message', (message, { address, port }) => {
        figures.datagrams++;
        figures.largest = Math.max(figures.largest, message.length);
        server.send(message, port, address);
      });
      server.bind(whole(0), '::', ready);
    });
  },

  /** heartbeat ADDRESS PORT MILLISECONDS: numbers over one TCP connection to an echo; how long each took. */
  heartbeat: () => {
    const figures = { sent: 0, heard: 0, wrong: 0, slowest: 0, end: '' };
    report = () => {
      const now = { ...figures };
      figures.slowest = 0;
      return now;
    };
    const socket = connect(whole(1), text(0));
    socket.setNoDelay(true);
    const sentAt = new Map<number, number>();
    socket.once('connect', () => {
      ready();
      setInterval(
        () => {
          sentAt.set(++figures.sent, performance.now());
          socket.write(`${figures.sent}\n`);
        },
        whole(2, 5),
      );
    });
    createInterface({ input: socket })
      .on('line', (line) => {
        if (Number(line) !== ++figures.heard) figures.wrong++;
        figures.slowest = Math.max(figures.slowest, performance.now() - (sentAt.get(figures.heard) ?? 0));
        sentAt.delete(figures.heard);
      })
      .on('error', () => {});
    socket.on('error', (error: NodeJS.ErrnoException) => {
      figures.end = error.code ?? error.message;
    });
    socket.on('close', () => {
      figures.end ||= 'closed';
    });
  },

  /** count PORT: datagrams that carry a number each; which are missing, how long nothing came. */
  count: () => {
    const figures = { received: 0, highest: 0, doubled: 0, longestGap: 0 };
    report = () => {
      const now = { ...figures, missing: figures.highest - figures.received + figures.doubled };
      figures.longestGap = 0;
      return now;
    };
    const seen = new Set<number>();
    let last = 0;
    const server = createSocket({ type: 'udp6', recvBufferSize: 4 << 20 });
    server.on('message', (message) => {
      const now = performance.now();
      const number = message.readUInt32BE(0);
      if (seen.has(number)) figures.doubled++;
      seen.add(number);
      if (last !== 0) figures.longestGap = Math.max(figures.longestGap, now - last);
      last = now;
      figures.received++;
      figures.highest = Math.max(figures.highest, number);
    });
    server.bind(whole(0), '::', ready);
  },

  /** number ADDRESS PORT EACH [SIZE]: sends numbered datagrams, EACH of them every millisecond (or so), until told; counts answers. */
  number: () => {
    const figures = { sent: 0, heard: 0, failed: 0, error: '' };
    report = () => figures;
    const socket = createSocket({ type: text(0).includes(':') ? 'udp6' : 'udp4', sendBufferSize: 4 << 20 });
    const stop = onStop(() => clearInterval(timer));
    const timer = setInterval(() => {
      if (stop.stopped) return;
      for (let i = 0; i < whole(2, 1); i++) {
        const message = Buffer.alloc(whole(3, 32));
        message.writeUInt32BE(figures.sent + 1, 0);
        figures.sent++;
        socket.send(message, whole(1), text(0), (error) => {
          if (error === null) return;
          figures.failed++;
          figures.error = (error as NodeJS.ErrnoException).code ?? error.message;
        });
      }
    }, 1);
    socket.bind(0, ready);
    socket.on('message', () => figures.heard++);
    socket.on('error', () => {});
  },

  /** knock ADDRESS PORT EACH: wants in by TCP and UDP, EACH times a millisecond; whether it ever got an answer. */
  knock: () => {
    const figures = { tries: 0, inside: 0, errors: {} as Record<string, number> };
    report = () => figures;
    const v6 = text(0).includes(':');
    const datagrams = createSocket({ type: v6 ? 'udp6' : 'udp4' });
    datagrams.on('message', () => figures.inside++);
    datagrams.on('error', () => {});
    datagrams.bind(0, ready);
    let open = 0;
    const stop = onStop(() => clearInterval(timer));
    const timer = setInterval(() => {
      for (let i = 0; i < whole(2, 1) && !stop.stopped; i++) {
        figures.tries++;
        datagrams.send('in', whole(1), text(0), () => {});
        if (open >= 256) continue;
        open++;
        const socket: Socket = connect(whole(1), text(0), () => figures.inside++);
        socket.on('error', (error: NodeJS.ErrnoException) => {
          const code = error.code ?? error.message;
          figures.errors[code] = (figures.errors[code] ?? 0) + 1;
        });
        setTimeout(() => socket.destroy(), 500);
        socket.on('close', () => open--);
      }
    }, 1);
  },

  /**
   * flood KIND FROM TO: as fast as it goes, by a packet socket. FROM and TO are pods as JSON. `datagrams` to a port that nobody serves,
   * `connections` (SYNs from ever other ports), `fragments` (of ever other datagrams, their firsts never come).
   */
  flood: () => {
    const from = JSON.parse(text(1)) as TestPod;
    const to = JSON.parse(text(2)) as TestPod;
    const figures = { sent: 0, failed: 0 };
    report = () => figures;
    const kinds: Record<string, (n: number) => Buffer> = {
      datagrams: () => ipv4(from.v4, to.v4, protocols.udp, udp(from.v4, 4000, to.v4, 4001, Buffer.alloc(18))),
      connections: (n) =>
        ipv4(
          from.v4,
          to.v4,
          protocols.tcp,
          tcp(from.v4, 1024 + (n % 60_000), to.v4, 5000 + (Math.floor(n / 60_000) % 1000), {
            flags: tcpFlags.syn,
          }),
        ),
      fragments: (n) =>
        ipv4(from.v4, to.v4, protocols.udp, Buffer.alloc(512), { id: n & 0xffff, offset: 1024, more: true }),
    };
    const make = kinds[text(0)]!;
    const socket = new (loadAddon().RawSocket)({ netns: '', ifname: 'eth0', vnetHeader: false });
    // Made beforehand, so that the flood is as fast as the socket and not as our arithmetic.
    const frames = Array.from({ length: text(0) === 'datagrams' ? 1 : 60_000 }, (_, n) =>
      fromPod(from, make(n)),
    );
    let stopped = false;
    onStop(() => {
      stopped = true;
    });
    const batch = () => {
      for (let i = 0; i < 256; i++) {
        const frame = frames[figures.sent % frames.length]!;
        if (socket.send(frame) === frame.length) figures.sent++;
        else figures.failed++;
      }
      if (!stopped) setImmediate(batch);
    };
    batch();
    ready();
  },

  /** connections ADDRESS PORT: opens and closes one TCP connection after the other, with a breath between; how many came about. */
  connections: () => {
    const figures = { made: 0, failed: 0, slowest: 0 };
    report = () => {
      const now = { ...figures };
      figures.slowest = 0;
      return now;
    };
    const next = () => {
      const started = performance.now();
      const socket = connect(whole(1), text(0), () => {
        figures.made++;
        figures.slowest = Math.max(figures.slowest, performance.now() - started);
        socket.resetAndDestroy();
      });
      socket.setTimeout(3000, () => socket.destroy(new Error('timeout')));
      socket.on('error', () => figures.failed++);
      socket.on('close', () => setTimeout(next, 1));
    };
    next();
    ready();
  },
};

/** `stop` on the standard input ends the sending and leaves the process for its last report. */
function onStop(end: () => void): { stopped: boolean } {
  const state = { stopped: false };
  stopping = () => {
    state.stopped = true;
    end();
  };
  return state;
}
let stopping = () => {};

createInterface({ input: process.stdin })
  .on('line', (line) => {
    if (line === 'stop') stopping();
    say(report());
  })
  .on('close', () => process.exit(0));

const play = roles[role];
if (play === undefined) throw new Error(`no role ${role}`);
play();
