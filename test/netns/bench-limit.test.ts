/** The bench suite's raw pump: what it carries, that its trains of datagrams arrive as they were sent, and that it leaves nothing. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { BenchPod, Running } from '../../bench/contenders/contender.js';
import { startPump } from '../../bench/contenders/limit.js';
import { addresses, makeSite, Program, run } from '../../bench/contenders/site.js';
import { traffic } from '../../bench/workloads/traffic.js';
import { echoServer, tcpClient, udpClient } from '../support/netns.js';
import { repositoryRoot } from '../support/repository.js';

before(() => execFileSync('bash', ['deploy/build.sh', 'bench'], { cwd: repositoryRoot }));

const script = (pod: BenchPod, program: string, ...args: readonly (string | number)[]) =>
  run(process.execPath, ['-e', program, '--', ...args.map(String)], { netns: pod.netns }).then((text) =>
    text.trim(),
  );
const serve = (pod: BenchPod, program: string, ...args: readonly (string | number)[]) =>
  Program.start(process.execPath, ['-e', program, '--', ...args.map(String)], {
    netns: pod.netns,
    ready: /ready/,
  });

/** A line such as `Ip: 1 2 3` under its names, of the namespace's /proc/net/snmp. */
async function counter(netns: string, protocol: string, name: string): Promise<number> {
  const rows = (await run('cat', ['/proc/net/snmp'], { netns })).split('\n');
  const [names, values] = rows.filter((row) => row.startsWith(`${protocol}: `)).map((row) => row.split(' '));
  return Number(values?.[names?.indexOf(name) ?? -1]);
}

async function received(pod: BenchPod): Promise<{ readonly bytes: number; readonly packets: number }> {
  const words = ['-json', '-statistics', 'link', 'show', 'eth0'];
  return JSON.parse(await run('ip', words, { netns: pod.netns }))[0].stats64.rx;
}

for (const options of [[], ['--coalesce', '--queue-discipline', 'noqueue'], ['--poll-us', '50']]) {
  describe(`the pump with ${options.join(' ') || 'its defaults'}`, () => {
    let pump: Running;
    before(async () => {
      pump = await startPump(makeSite(), options);
    });
    after(() => pump?.stop());

    test('carries TCP, UDP and fragments both ways, large segments whole', async () => {
      for (const [from, to] of [
        [pump.client, pump.server],
        [pump.server, pump.client],
      ] as const) {
        const echo = await serve(to, echoServer, 5000);
        try {
          const rows = [
            [tcpClient, 1],
            [tcpClient, 3_000_000],
            [udpClient, 1],
            [udpClient, 1472],
            [udpClient, 30_000],
          ] as const;
          for (const [program, bytes] of rows)
            assert.equal(await script(from, program, to.ipv4, 5000, bytes), String(bytes));
        } finally {
          await echo.end();
        }
      }
      const { bytes, packets } = await received(pump.server);
      assert.ok(bytes / packets > 3000, `${bytes} bytes in ${packets} frames: segments were split`);
    });

    test('carries large UDP segments whole, both ways', async () => {
      for (const [client, server] of [
        [pump.client, pump.server],
        [pump.server, pump.client],
      ] as const) {
        const before = await received(server);
        const args = { size: 1400, window: 176, burst: 44, gso: 1 };
        const { rate } = await traffic({ ...pump, client, server }, 'udp', args, 0.2);
        const { bytes, packets } = await received(server);
        assert.ok(rate !== undefined && rate > 0);
        assert.ok((bytes - before.bytes) / (packets - before.packets) > 3000, 'segments were split');
      }
    });

    test('ends when it is killed, and its interfaces with it', async () => {
      const [pid] = pump.processes();
      assert.ok(pid !== undefined);
      process.kill(pid, 'SIGKILL');
      for (let i = 0; i < 500 && pump.processes().length > 0; i++)
        await new Promise((resolve) => setTimeout(resolve, 10));
      assert.deepEqual(pump.processes(), []);
      for (const { netns } of [pump.client, pump.server]) {
        const links: { ifname: string }[] = JSON.parse(await run('ip', ['-json', 'link'], { netns }));
        assert.deepEqual(links.map(({ ifname }) => ifname).includes('eth0'), false);
      }
    });
  });
}

/**
 * Sends datagrams while the pump is stopped, so that they wait in its TAP together. Each has its number, then bytes that follow from it.
 * Arguments: address, then PORT:SIZE of each datagram. Several ports are several flows.
 */
const sendAll = `
const [address, ...list] = process.argv.slice(1);
const s = require('node:dgram').createSocket('udp4');
let left = list.length;
list.forEach((entry, number) => {
  const [port, size] = entry.split(':').map(Number);
  const data = Buffer.alloc(size); for (let i = 4; i < size; i++) data[i] = (i * 7 + number) & 255;
  data.writeUInt32BE(number);
  s.send(data, port, address, (error) => { if (error) throw error; if (--left === 0) { console.log('sent'); s.close(); } });
});
`;
/** Prints PORT:SIZE:NUMBER of each whole datagram, in order, until \`count\` came or none for two seconds. Arguments: count, ports. */
const receiveAll = `
const [count, ...ports] = process.argv.slice(1).map(Number);
const got = [];
const done = () => { console.log('got ' + JSON.stringify(got)); process.exit(0); };
let timer = setTimeout(done, 10000);
let bound = 0;
for (const port of ports) {
  const s = require('node:dgram').createSocket({ type: 'udp4', recvBufferSize: 4 << 20 });
  s.on('message', (data) => {
    const number = data.readUInt32BE();
    let wrong = 0; for (let i = 4; i < data.length; i++) if (data[i] !== ((i * 7 + number) & 255)) wrong++;
    got.push(wrong ? 'damaged' : port + ':' + data.length + ':' + number);
    clearTimeout(timer); timer = setTimeout(done, 2000);
    if (got.length === count) done();
  });
  s.bind(port, () => { if (++bound === ports.length) console.log('ready'); });
}
`;

describe('trains of datagrams', () => {
  let pump: Running;
  /** Behind the server: a pod of its own whose kernel verifies checksums, since one that is still to be filled in is never looked at. */
  let behind: BenchPod;

  before(async () => {
    const site = makeSite();
    pump = await startPump(site, ['--coalesce']);
    const name = `weft-bench-${site.tag}-behind`;
    await run('ip', ['netns', 'add', name]);
    behind = { netns: `/run/netns/${name}`, ipv4: '10.42.1.2', ifname: 'eth0' };
    const { netns } = pump.server;
    await run('ip', ['link', 'add', 'behind', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', name], {
      netns,
    });
    await run('ethtool', ['-K', 'behind', 'tx', 'off'], { netns });
    await run('ethtool', ['-K', 'eth0', 'rx', 'off'], { netns: behind.netns });
    await run('sysctl', ['-qw', 'net.ipv4.ip_forward=1'], { netns });
    const set = 'link set behind up\naddress add 10.42.1.1/24 dev behind\n';
    await run('ip', ['-batch', '-'], { netns, input: set });
    const setBehind =
      'link set eth0 up\naddress add 10.42.1.2/24 dev eth0\nroute add default via 10.42.1.1\n';
    await run('ip', ['-batch', '-'], { netns: behind.netns, input: setBehind });
  });
  after(async () => {
    if (behind !== undefined) await run('ip', ['netns', 'del', behind.netns.slice('/run/netns/'.length)]);
    await pump?.stop();
  });

  /** Stops the pump, sends, lets it go on; what arrives, and in how many frames the server's kernel saw it. */
  async function window(target: BenchPod, list: readonly string[]) {
    const ports = [...new Set(list.map((entry) => Number(entry.split(':')[0])))];
    const receiver = await serve(target, receiveAll, list.length, ...ports);
    const [pid] = pump.processes();
    assert.ok(pid !== undefined);
    const before = await counter(pump.server.netns, 'Ip', 'InReceives');
    process.kill(pid, 'SIGSTOP');
    try {
      assert.equal(await script(pump.client, sendAll, target.ipv4, ...list), 'sent');
    } finally {
      process.kill(pid, 'SIGCONT');
    }
    await receiver.ended;
    const line = /got (.*)/.exec(receiver.said)?.[1];
    assert.ok(line !== undefined, receiver.said);
    const frames = (await counter(pump.server.netns, 'Ip', 'InReceives')) - before;
    return { got: JSON.parse(line) as string[], frames };
  }
  const numbered = (list: readonly string[]) => list.map((entry, number) => `${entry}:${number}`);
  /** One flow after the other: the receiver reads its sockets in an order of its own. */
  const byPort = (list: readonly string[]) =>
    [...list].sort((a, b) => Number(a.split(':')[0]) - Number(b.split(':')[0]));
  const repeat = (count: number, ...entries: readonly string[]) =>
    Array.from({ length: count }, () => entries).flat();

  const rows: readonly (readonly [string, readonly string[], number])[] = [
    ['of one flow and size', repeat(256, '5000:64'), 4],
    ['of the largest size, which do not fit into one train', repeat(128, '5000:1472'), 4],
    ['of changing sizes', [...repeat(20, '5000:64'), ...repeat(20, '5000:65'), '5000:9', '5000:64'], 4],
    ['of flows in turn', repeat(60, '5000:200', '5001:200'), 120],
    ['some of which are fragments', [...repeat(10, '5000:100'), '5000:4000', ...repeat(10, '5000:100')], 5],
  ];
  for (const [what, list, mostFrames] of rows) {
    test(`datagrams ${what} arrive whole and in order`, async () => {
      const { got, frames } = await window(pump.server, list);
      assert.deepEqual(byPort(got), byPort(numbered(list)));
      assert.ok(frames <= mostFrames, `${frames} frames`);
    });

    test(`datagrams ${what} have right checksums behind the server`, async () => {
      const { got } = await window(behind, list);
      assert.deepEqual(byPort(got), byPort(numbered(list)));
      assert.equal(await counter(behind.netns, 'Udp', 'InCsumErrors'), 0);
      assert.equal(await counter(behind.netns, 'Ip', 'InHdrErrors'), 0);
    });
  }
});

test('both contenders stand on the addresses that all contenders have', async () => {
  const pump = await startPump(makeSite(), []);
  try {
    assert.deepEqual([pump.client.ipv4, pump.server.ipv4], [addresses.client, addresses.server]);
    const children = readFileSync(join('/proc', String(pump.processes()[0]), 'comm'), 'utf8').trim();
    assert.equal(children, 'weft-pump');
  } finally {
    await pump.stop();
    assert.equal(existsSync(pump.client.netns), false);
  }
});
