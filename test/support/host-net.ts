/**
 * A host for tests of what happens around the switch: network namespaces of the test's own for the host itself, for a machine on its link
 * (a client, another node, the world behind them) and for a container that another program runs on the host and masquerades, as
 * Docker does. Reverse path filters are strict everywhere.
 *
 *     far: 192.0.2.9, 192.0.2.2 (node "other"), 203.0.113.1 (the world)
 *      │ up0
 *     host: 192.0.2.1 ── weft0 ── switch ── pods
 *      │ box0 (172.17.0.1)
 *     box: 172.17.0.2
 */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import type { PortSpec } from '../../src/dataplane/protocol/desired-state.js';
import { type Running, TestPods } from './netns.js';

export type Place = 'host' | 'far' | 'box';
type Where = Place | { readonly netns: string };

/** A question of `ask`, and the answer that is right. */
export type Asked = readonly [
  from: Where,
  to: string,
  port: number,
  answer: string,
  protocol?: 'TCP' | 'UDP',
];

export class HostNet {
  readonly #pods = new TestPods();
  #root: string | null = null;
  readonly #places: Readonly<Record<Place, PortSpec>>;

  constructor() {
    this.#places = { host: this.#pods.pod(1), far: this.#pods.pod(2), box: this.#pods.pod(3) };
    // Link-local addresses are there at once, not when nobody has objected for a second.
    for (const place of ['host', 'far', 'box'] as const)
      this.run(place, 'sysctl', '-qw', 'net.ipv6.conf.default.accept_dad=0');
    const link = (device: string, peer: string, to: Place) =>
      this.run(
        'host',
        'ip',
        'link',
        'add',
        device,
        'type',
        'veth',
        'peer',
        'name',
        peer,
        'netns',
        this.#name(to),
      );
    link('up0', 'eth0', 'far');
    link('box0', 'eth0', 'box');
    for (const place of ['host', 'far', 'box'] as const) {
      for (const setting of ['net.ipv4.conf.all.rp_filter=1', 'net.ipv4.conf.default.rp_filter=1'])
        this.run(place, 'sysctl', '-qw', setting);
      this.run(place, 'ip', 'link', 'set', 'lo', 'up');
    }
    const address = (place: Place, device: string, ...texts: readonly string[]) => {
      for (const text of texts)
        this.run(place, 'ip', 'addr', 'add', text, 'dev', device, ...(text.includes(':') ? ['nodad'] : []));
      this.run(place, 'ip', 'link', 'set', device, 'up');
    };
    address('host', 'up0', '192.0.2.1/24', '2001:db8::1/64');
    address('host', 'box0', '172.17.0.1/24', 'fd17::1/64');
    address('far', 'eth0', '192.0.2.9/24', '192.0.2.2/24', '2001:db8::9/64', '2001:db8::2/64');
    address('far', 'lo', '203.0.113.1/32', '2001:db8:f::1/128');
    // Replied from, and not spoken from.
    for (const second of ['2001:db8::2/64', '2001:db8:f::1/128'])
      this.run(
        'far',
        'ip',
        'addr',
        'change',
        second,
        'dev',
        second.endsWith('64') ? 'eth0' : 'lo',
        'preferred_lft',
        '0',
      );
    address('box', 'eth0', '172.17.0.2/24', 'fd17::2/64');
    for (const [place, v4, v6] of [
      ['host', '192.0.2.9', '2001:db8::9'],
      ['box', '172.17.0.1', 'fd17::1'],
    ] as const) {
      this.run(place, 'ip', 'route', 'add', 'default', 'via', v4);
      this.run(place, 'ip', '-6', 'route', 'add', 'default', 'via', v6);
    }
  }

  /** What a node on the host is configured with: it sets the host up, and has a port there. */
  get config() {
    return {
      host: { enabled: 'on' as const, root: this.root },
      node: { addresses: [] as string[] },
      network: { hostInterface: 'weft0' },
    };
  }

  /** A folder that plays the host's root for the files of network managers. */
  get root(): string {
    this.#root ??= this.#pods.runDirectory();
    return this.#root;
  }

  netns(place: Place): string {
    return this.#places[place].netns;
  }

  /** Output of a command there; throws with what it said where it fails. */
  run(place: Place, command: string, ...args: readonly string[]): string {
    return this.#pods.inside(this.#places[place], command, ...args);
  }

  /** A command with a text on its standard input. */
  feed(place: Place, text: string, command: string, ...args: readonly string[]): void {
    const { status, stderr } = spawnSync('nsenter', [`--net=${this.netns(place)}`, command, ...args], {
      input: text,
      encoding: 'utf8',
    });
    if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${stderr}`);
  }

  /** A Node.js program there, or in any namespace. */
  program(where: Where, text: string, ...args: readonly (string | number)[]): Running {
    const spec =
      typeof where === 'string' ? this.#places[where] : { ...this.#places.host, netns: where.netns };
    return this.#pods.run(spec, text, ...args);
  }

  /** Serves `whoServer` at a port; resolves when it listens. */
  async serve(where: Where, port: number, name: string): Promise<void> {
    await this.program(where, whoServer, port, name).line();
  }

  /** Who answers from there, and which address it has seen: `name address`; `none` where nobody does. */
  ask(where: Where, to: string, port: number, protocol: 'TCP' | 'UDP' = 'TCP', from = ''): Promise<string> {
    return this.program(where, asker, to, port, protocol, from).line();
  }

  /** Asks all of it, one after the other; `words` are told with the first answer that is another. */
  async answers(rows: readonly Asked[], words: () => string): Promise<void> {
    for (const [from, to, port, answer, protocol] of rows)
      assert.equal(
        await this.ask(from, to, port, protocol),
        answer,
        `${JSON.stringify(from)} -> ${to}:${port} ${protocol ?? 'TCP'}\n${words()}`,
      );
  }

  /** Rules as a firewall or kube-proxy would have them; `iptables-restore` of one of its kinds. */
  restore(program: string, text: string): void {
    this.feed('host', text, `${program}-restore`, '--noflush');
  }

  end(): void {
    this.#pods.end();
  }

  #name(place: Place): string {
    return this.netns(place).slice('/run/netns/'.length);
  }
}

/** Whether this machine's kernel has what a command needs, found out in a namespace that is thrown away. */
export function works(...command: readonly string[]): boolean {
  try {
    execFileSync('unshare', ['--net', ...command], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

/** Answers on TCP and UDP with its name and the address that it sees; prints `ready`. Arguments: port, name. */
const whoServer = `
const [port, name] = [Number(process.argv[1]), process.argv[2]];
const told = (address) => name + ' ' + address.replace(/^::ffff:/, '');
const udp = require('node:dgram').createSocket({ type: 'udp6' });
udp.on('message', (m, r) => udp.send(told(r.address), r.port, r.address));
require('node:net').createServer((s) => { s.on('error', () => {}); s.end(told(s.remoteAddress)); }).listen(port, '::', () =>
  udp.bind(port, '::', () => console.log('ready')));
`;

/** Prints what a server answers, or \`none\`. Arguments: address, port, protocol, own address or ''. */
const asker = `
const [host, port, protocol, from] = [process.argv[1], Number(process.argv[2]), process.argv[3], process.argv[4]];
const end = (text) => { console.log(text); process.exit(0); };
if (protocol === 'UDP') {
  const s = require('node:dgram').createSocket(host.includes(':') ? 'udp6' : 'udp4');
  s.on('message', (m) => end(String(m)));
  s.on('error', () => end('none'));
  let tries = 0;
  const send = () => { if (tries++ === 4) end('none'); s.send('?', () => {}); setTimeout(send, 300); };
  const go = () => s.connect(port, host, send);
  if (from === '') go(); else s.bind(0, from, go);
} else {
  const s = require('node:net').connect({ host, port, timeout: 1500, ...(from === '' ? {} : { localAddress: from }) });
  let got = '';
  s.on('data', (d) => { got += d; });
  s.on('timeout', () => end('none'));
  s.on('error', () => end('none'));
  s.on('close', () => end(got === '' ? 'none' : got));
}
`;
