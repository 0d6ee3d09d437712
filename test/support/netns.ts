/**
 * Pods for tests of the data plane: network namespaces of the test's own, with traffic made by small Node.js programs inside. Names carry the
 * test's process id, everything is removed by `end()`.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { PortSpec } from '../../src/dataplane/protocol/desired-state.js';

let next = 0;

export class TestPods {
  readonly #prefix = `wt${process.pid}-${next++}-`;
  readonly #names = new Set<string>();
  readonly #folders: string[] = [];
  readonly #children = new Set<ChildProcess>();

  constructor() {
    // A test that fails in its set-up never comes to its own end().
    process.once('exit', () => this.end());
  }

  /** A run directory, on tmpfs where there is one. */
  runDirectory(): string {
    const folder = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'weft-test-'));
    this.#folders.push(folder);
    return folder;
  }

  /** Makes the namespace; the port is for the caller to attach. `number` gives addresses, MAC and name. */
  pod(number: number, options: Partial<PortSpec> = {}): PortSpec {
    const name = `${this.#prefix}${number}`;
    ip('netns', 'add', name);
    this.#names.add(name);
    const hex = number.toString(16);
    return {
      id: name,
      namespace: 'test',
      name: `pod-${number}`,
      netns: `/run/netns/${name}`,
      ifname: 'eth0',
      mac: `02:00:00:00:${(number >> 8).toString(16).padStart(2, '0')}:${(number & 255).toString(16).padStart(2, '0')}`,
      addresses: [`10.42.${number >> 8}.${number & 255}`, `fd00::${hex}`],
      mtu: 1500,
      kind: 'pod',
      ...options,
    };
  }

  /** Ends a pod as the runtime does: its namespace goes. */
  remove(spec: PortSpec): void {
    const name = spec.netns.slice('/run/netns/'.length);
    ip('netns', 'del', name);
    this.#names.delete(name);
  }

  /** Output of a command inside the pod. */
  inside(spec: PortSpec, ...command: readonly string[]): string {
    return execFileSync('nsenter', [`--net=${spec.netns}`, ...command], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  }

  /** A Node.js program inside the pod; its printed lines come as a queue, `done` is its exit status. */
  run(spec: PortSpec, program: string, ...args: readonly (string | number)[]): Running {
    const child = spawn(
      'nsenter',
      [`--net=${spec.netns}`, process.execPath, '-e', program, '--', ...args.map(String)],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    this.#children.add(child);
    child.once('exit', () => this.#children.delete(child));
    return new Running(child);
  }

  /** Removes everything. May be called again. */
  end(): void {
    for (const child of this.#children) child.kill('SIGKILL');
    for (const name of this.#names) ip('netns', 'del', name);
    for (const folder of this.#folders) rmSync(folder, { recursive: true, force: true });
    this.#names.clear();
    this.#folders.length = 0;
  }
}

export class Running {
  readonly done: Promise<number | null>;
  readonly #child: ChildProcess;
  #text = '';
  #wake: () => void = () => {};
  #over = false;

  constructor(child: ChildProcess) {
    this.#child = child;
    child.stdout?.on('data', (data: Buffer) => {
      this.#text += data.toString();
      this.#wake();
    });
    this.done = new Promise((resolve) => {
      child.once('close', (status) => {
        this.#over = true;
        this.#wake();
        resolve(status);
      });
    });
  }

  /** The next line that it prints; throws when it ends or keeps silent for too long. */
  async line(milliseconds = 10_000): Promise<string> {
    const deadline = Date.now() + milliseconds;
    for (;;) {
      const end = this.#text.indexOf('\n');
      if (end >= 0) {
        const line = this.#text.slice(0, end);
        this.#text = this.#text.slice(end + 1);
        return line;
      }
      if (this.#over) throw new Error(`the program ended without another line: ${this.#text}`);
      const left = deadline - Date.now();
      if (left <= 0) throw new Error('the program printed nothing in time');
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  /** The next line that is printed from now on; what was printed before is forgotten. */
  fresh(milliseconds?: number): Promise<string> {
    this.#text = '';
    return this.line(milliseconds);
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }
}

export function ip(...args: readonly string[]): string {
  return execFileSync('ip', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

/** Listens on TCP and UDP of one port and echoes; prints `ready`. Argument: the port. */
export const echoServer = `
const port = Number(process.argv[1]);
const net = require('node:net'), dgram = require('node:dgram');
const udp = dgram.createSocket({ type: 'udp6', recvBufferSize: 4 << 20 });
udp.on('message', (m, r) => udp.send(m, r.port, r.address));
net.createServer((s) => { s.on('error', () => {}); s.pipe(s); }).listen(port, '::', () =>
  udp.bind(port, '::', () => console.log('ready')));
`;

/** Sends \`bytes\` over TCP, reads them back, compares; prints the count or the error's code. Arguments: address, port, bytes. */
export const tcpClient = `
const [address, port, bytes] = [process.argv[1], Number(process.argv[2]), Number(process.argv[3])];
const sent = Buffer.alloc(bytes); for (let i = 0; i < bytes; i++) sent[i] = (i * 31 + (i >> 8)) & 255;
let got = 0, wrong = 0;
const s = require('node:net').connect({ host: address, port, timeout: 4000 }, () => s.write(sent));
s.on('data', (d) => { for (const b of d) { if (b !== sent[got]) wrong++; got++; } if (got >= bytes) s.end(); });
s.on('timeout', () => { console.log('timeout'); process.exit(0); });
s.on('error', (e) => { console.log(e.code); process.exit(0); });
s.on('close', () => { console.log(wrong ? 'wrong ' + wrong : got); process.exit(0); });
`;

/** Sends one datagram of \`bytes\` up to 5 times until it comes back; prints the count or \`timeout\`. Arguments: address, port, bytes. */
export const udpClient = `
const [address, port, bytes] = [process.argv[1], Number(process.argv[2]), Number(process.argv[3])];
const s = require('node:dgram').createSocket(address.includes(':') ? 'udp6' : 'udp4');
const sent = Buffer.alloc(bytes, 7); let tries = 0;
s.on('message', (m) => { console.log(m.equals(sent) ? m.length : 'wrong'); process.exit(0); });
s.on('error', (e) => { console.log(e.code); process.exit(0); });
const send = () => { if (tries++ === 5) { console.log('timeout'); process.exit(0); } s.send(sent, port, address); setTimeout(send, 300); };
send();
`;
