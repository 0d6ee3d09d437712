/** hostPort with real packets: from outside, from the node by each of its addresses, from pods, under policy; and what becomes of it when the pod goes. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { HostPort } from '../../src/agent/protocol/requests.js';
import { loadAddon, type RawSocketHandle } from '../../src/dataplane/addon.js';
import { gatewayMac } from '../../src/dataplane/protocol.js';
import { ethernet, ipv4, protocols } from '../support/frames.js';
import { type Asked, HostNet, type Place } from '../support/host-net.js';
import { TestNode } from '../support/node.js';
import { until } from '../support/weft.js';

const net = new HostNet();
let node: TestNode;

const port = (hostPort: number, protocol: HostPort['protocol'] = 'TCP', hostIP = ''): HostPort => ({
  protocol,
  hostPort,
  containerPort: 8080,
  hostIP,
});
const pod = (name: string) => ({ netns: node.pod(name).netns });
const node4 = '192.0.2.1';
const node6 = '2001:db8::1';

function isolate(name: string, from?: string): object {
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { namespace: 'test', name },
    spec: {
      podSelector: { matchLabels: { name } },
      policyTypes: ['Ingress'],
      ...(from === undefined ? {} : { ingress: [{ from: [{ ipBlock: { cidr: from } }] }] }),
    },
  };
}

before(async () => {
  node = await TestNode.start({
    netns: net.netns('host'),
    config: {
      ...net.config,
      policy: { denyAction: { egress: 'reject', ingress: 'reject' } },
    },
  });
  await node.addPods({
    web: {
      hostPorts: [
        port(8081),
        port(8081, 'UDP'),
        port(8082, 'TCP', node4),
        port(8083, 'SCTP'),
        port(8084, 'TCP', '127.0.0.1'),
        port(8084, 'UDP', '127.0.0.1'),
      ],
    },
    shut: { hostPorts: [port(8091), port(8091, 'UDP')] },
    known: { hostPorts: [port(8092)] },
    plain: {},
  });
  await node.apply([isolate('shut'), isolate('known', '192.0.2.9/32')]);
  await Promise.all([
    ...['web', 'shut', 'known', 'plain'].map((name) => net.serve(pod(name), 8080, name)),
    net.serve('far', 8081, 'far'),
  ]);
  await until('the host ports are there', 15, async () => /8092/.test(table()) && localnet() === '1');
});

after(async () => {
  await node?.end();
  net.end();
});

function table(): string {
  try {
    return net.run('host', 'nft', 'list', 'table', 'inet', 'weft');
  } catch {
    return '';
  }
}

const localnet = () => net.run('host', 'sysctl', '-n', 'net.ipv4.conf.weft0.route_localnet').trim();

const answers = (rows: readonly Asked[]) => net.answers(rows, () => node.words('agent'));

test('from outside a host port leads to its pod, which sees the client', () =>
  answers([
    ['far', node4, 8081, 'web 192.0.2.9'],
    ['far', node4, 8081, 'web 192.0.2.9', 'UDP'],
    ['far', node6, 8081, 'web 2001:db8::9'],
    ['far', node6, 8081, 'web 2001:db8::9', 'UDP'],
    ['box', '172.17.0.1', 8081, 'web 172.17.0.2'],
    ['box', node4, 8081, 'web 172.17.0.2'],
  ]));

test('with a hostIP it answers there alone', () =>
  answers([
    ['far', node4, 8082, 'web 192.0.2.9'],
    ['far', node6, 8082, 'none'],
    ['box', '172.17.0.1', 8082, 'none'],
    ['host', '127.0.0.1', 8082, 'none'],
    ['host', node4, 8082, `web ${node4}`],
    ['host', '127.0.0.1', 8084, `web ${node4}`],
    ['host', '127.0.0.1', 8084, `web ${node4}`, 'UDP'],
    ['host', node4, 8084, 'none'],
    ['far', node4, 8084, 'none'],
    [pod('plain'), node4, 8084, 'none'],
  ]));

test('the node itself reaches it by each of its addresses, 127.0.0.1 too, and is seen as the node', () =>
  answers([
    ['host', node4, 8081, `web ${node4}`],
    ['host', node4, 8081, `web ${node4}`, 'UDP'],
    ['host', node6, 8081, `web ${node6}`],
    ['host', '127.0.0.1', 8081, `web ${node4}`],
    ['host', '127.0.0.1', 8081, `web ${node4}`, 'UDP'],
    ['host', '10.99.0.1', 8081, `web ${node4}`],
    ['host', 'fd99::1', 8081, `web ${node6}`],
    // Under deny-all too.
    ['host', node4, 8091, `shut ${node4}`],
    ['host', '127.0.0.1', 8091, `shut ${node4}`],
  ]));

test("policy judges a host port's client by its address", () =>
  answers([
    ['far', node4, 8091, 'none'],
    ['far', node4, 8091, 'none', 'UDP'],
    ['far', node6, 8091, 'none'],
    ['box', node4, 8091, 'none'],
    ['far', node4, 8092, 'known 192.0.2.9'],
    ['box', node4, 8092, 'none'],
  ]));

test('pods reach host ports by each address of their node, their own too, under policy', () => {
  const { v4, v6 } = node.pod('plain');
  return answers([
    [pod('plain'), node4, 8081, `web ${v4}`],
    [pod('plain'), node4, 8081, `web ${v4}`, 'UDP'],
    [pod('plain'), node6, 8081, `web ${v6}`],
    [pod('plain'), '172.17.0.1', 8081, `web ${v4}`],
    [pod('plain'), '10.99.0.1', 8081, `web ${v4}`],
    [pod('plain'), node4, 8082, `web ${v4}`],
    [pod('plain'), '172.17.0.1', 8082, 'none'],
    // Itself, by way of the switch.
    [pod('web'), node4, 8081, 'web 169.254.1.1'],
    [pod('web'), node4, 8081, 'web 169.254.1.1', 'UDP'],
    [pod('web'), node6, 8081, 'web 100::1'],
    [pod('web'), node6, 8081, 'web 100::1', 'UDP'],
    [pod('plain'), node4, 8091, 'none'],
    [pod('plain'), node4, 8092, 'none'],
  ]);
});

test('traffic of others to the same port is not caught', () => {
  net.run('far', 'ip', 'route', 'replace', '172.17.0.0/24', 'via', node4);
  return answers([
    ['box', '203.0.113.1', 8081, 'far 172.17.0.2'],
    ['host', '192.0.2.9', 8081, 'far 192.0.2.1'],
    [pod('plain'), '192.0.2.9', 8081, `far ${node4}`],
  ]);
});

test('pods cannot reach what listens on 127.0.0.1 of the host, though the kernel would route it', async () => {
  assert.equal(localnet(), '1');
  const heard = net.program('host', twoEars, node4);
  assert.equal(await heard.line(), 'ready');
  const socket = node.rawSocket('plain');
  const { v4, mac } = node.pod('plain');
  const udp = Buffer.from([0, 99, 0x23, 0x31, 0, 8, 0, 0]);
  const send = (to: string) =>
    socket.send(ethernet(mac, gatewayMac, 0x0800, ipv4(v4, to, protocols.udp, udp)));
  assert.ok(send('127.0.0.1') > 0);
  assert.ok(send(node4) > 0);
  assert.equal(await heard.line(), node4);
  heard.kill();
});

/** A UDP datagram of one byte; without a checksum, as IPv4 allows. */
function datagram(from: number, to: number): Buffer {
  const bytes = Buffer.from([0, 0, 0, 0, 0, 9, 0, 0, 0x3f]);
  bytes.writeUInt16BE(from, 0);
  bytes.writeUInt16BE(to, 2);
  return bytes;
}

// The kernel drops what comes from a link for 127.0.0.1 where it routes, which is after the table has led a host port to its pod; and with
// kube-proxy's iptables mode route_localnet is on for every interface (CVE-2020-8558).
for (const everywhere of ['0', '1'])
  test(`from the link and from pods nobody reaches a host port at 127.0.0.1, with route_localnet ${everywhere} for all interfaces`, async () => {
    net.run('host', 'sysctl', '-qw', `net.ipv4.conf.all.route_localnet=${everywhere}`);
    const outside = new (loadAddon().RawSocket)({
      netns: net.netns('far'),
      ifname: 'eth0',
      vnetHeader: false,
    });
    try {
      const web = node.rawSocket('web');
      const { v4, mac } = node.pod('plain');
      const link = [macOf('far', 'eth0'), macOf('host', 'up0')] as const;
      const ways = [
        [
          'far',
          (to: string, udp: Buffer) =>
            outside.send(ethernet(...link, 0x0800, ipv4('192.0.2.9', to, protocols.udp, udp))),
        ],
        [
          'pod',
          (to: string, udp: Buffer) =>
            node.rawSocket('plain').send(ethernet(mac, gatewayMac, 0x0800, ipv4(v4, to, protocols.udp, udp))),
        ],
      ] as const;
      for (const [index, [who, send]] of ways.entries()) {
        const first = 30_000 + Number(everywhere) * 100 + index * 10;
        for (const [at, [to, number]] of (
          [
            ['127.0.0.1', 8081],
            ['127.0.0.1', 8084],
            ['127.9.9.9', 8081],
            [node4, 8081],
          ] as const
        ).entries())
          assert.ok(send(to, datagram(first + at, number)) > 0);
        const arrived: number[] = [];
        await until(`what ${who} sent to ${node4} arrives`, 10, () => {
          for (let bytes = web.receive(); bytes !== null; bytes = web.receive()) {
            const frame = Buffer.from(bytes);
            if (
              frame[12] === 8 &&
              frame[13] === 0 &&
              frame[23] === protocols.udp &&
              frame.readUInt16BE(36) === 8080
            )
              arrived.push(frame.readUInt16BE(34));
          }
          return arrived.includes(first + 3);
        });
        assert.deepEqual(
          arrived.filter((number) => number >= first),
          [first + 3],
          who,
        );
      }
    } finally {
      outside.close();
      net.run('host', 'sysctl', '-qw', 'net.ipv4.conf.all.route_localnet=0');
    }
  });

test('a neighbour on the link cannot reach what listens on 127.0.0.1 of the host', async () => {
  const heard = net.program('host', twoEars, node4);
  assert.equal(await heard.line(), 'ready');
  const outside = new (loadAddon().RawSocket)({ netns: net.netns('far'), ifname: 'eth0', vnetHeader: false });
  const macs = [macOf('far', 'eth0'), macOf('host', 'up0')] as const;
  for (const to of ['127.0.0.1', '127.0.0.1', node4])
    assert.ok(
      outside.send(ethernet(...macs, 0x0800, ipv4('192.0.2.9', to, protocols.udp, datagram(30_300, 9009)))) >
        0,
    );
  assert.equal(await heard.line(), node4);
  outside.close();
  heard.kill();
});

/** Listens at 127.0.0.1 and at another address, UDP port 9009; prints which of the two has heard something. */
const twoEars = `
const { createSocket } = require('node:dgram');
let open = 0;
for (const address of ['127.0.0.1', process.argv[1]]) {
  const s = createSocket('udp4');
  s.on('message', () => console.log(address));
  s.bind(9009, address, () => { if (++open === 2) console.log('ready'); });
}
`;

test('SCTP is led to the pod and back, which this asks with frames: not every kernel has its sockets', async () => {
  const outside = new (loadAddon().RawSocket)({ netns: net.netns('far'), ifname: 'eth0', vnetHeader: false });
  const inside = node.rawSocket('web');
  const { v4, mac } = node.pod('web');
  const mine = '192.0.2.9';
  try {
    const macs = [macOf('far', 'eth0'), macOf('host', 'up0')] as const;
    const init = sctp(40_000, 8083, 0, chunk(1, 0x11));
    outside.send(ethernet(...macs, 0x0800, ipv4(mine, node4, protocols.sctp, init)));
    const arrived = await sctpFrame(inside);
    assert.deepEqual(arrived.ends, [mine, 40_000, v4, 8080]);
    const acknowledge = sctp(8080, 40_000, 0x11, chunk(2, 0x22));
    inside.send(ethernet(mac, gatewayMac, 0x0800, ipv4(v4, mine, protocols.sctp, acknowledge)));
    const back = await sctpFrame(outside);
    assert.deepEqual(back.ends, [node4, 8083, mine, 40_000]);
    // Ports are part of its checksum: both are right, or no peer would take them.
    for (const { packet } of [arrived, back]) {
      const zeroed = Buffer.from(packet);
      zeroed.writeUInt32LE(0, 8);
      assert.equal(packet.readUInt32LE(8), crc32c(zeroed));
    }
  } finally {
    outside.close();
  }
});

/** INIT or INIT ACK without parameters, RFC 9260 section 3.3.2: tag, window, one stream each way, first sequence number. */
function chunk(type: number, tag: number): Buffer {
  const bytes = Buffer.alloc(type === 2 ? 28 : 20);
  bytes[0] = type;
  bytes.writeUInt16BE(bytes.length, 2);
  bytes.writeUInt32BE(tag, 4);
  bytes.writeUInt32BE(65_536, 8);
  bytes.writeUInt16BE(1, 12);
  bytes.writeUInt16BE(1, 14);
  bytes.writeUInt32BE(1, 16);
  // INIT ACK: a State Cookie of four bytes, which it must have.
  if (type === 2) bytes.writeUInt32BE(0x0007_0008, 20);
  return bytes;
}

function sctp(from: number, to: number, tag: number, payload: Buffer): Buffer {
  const header = Buffer.alloc(12);
  header.writeUInt16BE(from, 0);
  header.writeUInt16BE(to, 2);
  header.writeUInt32BE(tag, 4);
  const packet = Buffer.concat([header, payload]);
  packet.writeUInt32LE(crc32c(packet), 8);
  return packet;
}

/** RFC 9260 appendix A, bit by bit. */
function crc32c(bytes: Uint8Array): number {
  let sum = 0xffffffff;
  for (const byte of bytes) {
    sum ^= byte;
    for (let bit = 0; bit < 8; bit++) sum = sum & 1 ? (sum >>> 1) ^ 0x82f63b78 : sum >>> 1;
  }
  return ~sum >>> 0;
}

async function sctpFrame(socket: RawSocketHandle) {
  let found: Buffer | undefined;
  await until('an SCTP packet arrives', 10, async () => {
    for (let frame = socket.receive(); frame !== null && found === undefined; frame = socket.receive())
      if (frame[12] === 8 && frame[13] === 0 && frame[23] === protocols.sctp) found = Buffer.from(frame);
    return found !== undefined;
  });
  const frame = found!;
  const address = (at: number) => [...frame.subarray(at, at + 4)].join('.');
  const packet = frame.subarray(34, 14 + frame.readUInt16BE(16));
  return { ends: [address(26), packet.readUInt16BE(0), address(30), packet.readUInt16BE(2)], packet };
}

function macOf(place: Place, device: string): string {
  return /link\/ether (\S+)/.exec(net.run(place, 'ip', 'link', 'show', device))![1]!;
}

test('a host port that a pod has is refused to another, by the name of the holder', async () => {
  const attempts: readonly [HostPort, RegExp][] = [
    [port(8081), /8081\/TCP .*test\/web/],
    [port(8081, 'TCP', '172.17.0.1'), /8081\/TCP at 172\.17\.0\.1 .*test\/web/],
    [port(8082, 'TCP', node4), /8082\/TCP .*test\/web/],
  ];
  for (const [index, [wanted, says]] of attempts.entries())
    await assert.rejects(node.addPods({ [`rival-${index}`]: { hostPorts: [wanted] } }), (error: Error) => {
      assert.match(error.message, says);
      return true;
    });
  // Another address, and another protocol, are free.
  await node.addPods({ beside: { hostPorts: [port(8082, 'TCP', '172.17.0.1'), port(8083)] } });
  await net.serve(pod('beside'), 8080, 'beside');
  await until('it is there', 15, async () => /172\.17\.0\.1 \. tcp \. 8082/.test(table()));
  await answers([
    ['box', '172.17.0.1', 8082, 'beside 172.17.0.2'],
    ['far', node4, 8082, 'web 192.0.2.9'],
    ['far', node4, 8083, 'beside 192.0.2.9'],
  ]);
});

test('when the pod goes its ports go, and UDP clients that never pause move on to the next one', async () => {
  const steady = net.program('far', steadyUdp, node4, 8081);
  assert.equal(await steady.line(), 'web 192.0.2.9');
  await node.agent.request('detach', { namespace: 'test', name: 'web', ifname: 'eth0' });
  await node.addPods({ next: { hostPorts: [port(8081), port(8081, 'UDP')] } });
  await net.serve(pod('next'), 8080, 'next');
  assert.equal(await steady.line(15_000), 'next 192.0.2.9');
  steady.kill();
  await answers([
    ['far', node4, 8081, 'next 192.0.2.9'],
    ['far', node4, 8082, 'none'],
  ]);
});

/** Sends a datagram from one socket every 50 ms; prints each answer that differs from the last one. */
const steadyUdp = `
const s = require('node:dgram').createSocket('udp4');
let last = '';
s.on('message', (m) => { if (String(m) !== last) console.log(last = String(m)); });
s.on('error', () => {});
s.bind(0, () => setInterval(() => s.send('?', Number(process.argv[2]), process.argv[1], () => {}), 50));
`;
