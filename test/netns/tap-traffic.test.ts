/** Two pods, the addon's switch between them, an image by the product's compiler: real stacks, real TAPs. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type Addon, loadAddon, type NativeSwitch } from '../../src/dataplane/addon.js';
import type { PortSpec } from '../../src/dataplane/protocol/desired-state.js';
import { denyIngress, imageOf } from '../support/image.js';
import { echoServer, type Running, TestPods, tcpClient, udpClient } from '../support/netns.js';
import { openTestSwitch } from '../support/switch.js';

const pods = new TestPods();
let addon: Addon;
let core: NativeSwitch;
let client: PortSpec;
let server: PortSpec;
let echo: Running;
const world = () =>
  [client, server].map(({ namespace, name, addresses }) => ({ namespace, name, addresses }));

before(async () => {
  addon = loadAddon();
  core = openTestSwitch(addon, pods.runDirectory());
  client = pods.pod(1, { mtu: 9000 });
  server = pods.pod(2, { mtu: 9000 });
  core.start();
  await Promise.all([core.attach(client), core.attach(server)]);
  echo = pods.run(server, echoServer, 7000);
  assert.equal(await echo.line(), 'ready');
});

after(() => {
  core?.stop();
  pods.end();
});

const ask = (program: string, address: string, bytes: number) =>
  pods.run(client, program, address, 7000, bytes).line();

test('without an image nothing passes, and every packet says so', async () => {
  assert.equal(await ask(udpClient, '10.42.0.2', 100), 'timeout');
  const { ports } = core.counters(client.id);
  assert.ok((ports[0]?.drops['no-image'] ?? 0) >= 5);
});

test('with an image TCP and UDP pass in both families, whole, also as large segments and jumbo datagrams', async () => {
  assert.deepEqual(core.loadImage(imageOf(world())), { status: 'loaded' });
  const rows = [
    [tcpClient, '10.42.0.2', 1],
    [tcpClient, '10.42.0.2', 3_000_000],
    [tcpClient, 'fd00::2', 3_000_000],
    [udpClient, '10.42.0.2', 100],
    [udpClient, 'fd00::2', 100],
    [udpClient, '10.42.0.2', 8972],
    [udpClient, 'fd00::2', 8952],
    // Larger than the MTU: fragments.
    [udpClient, '10.42.0.2', 30_000],
    [udpClient, 'fd00::2', 30_000],
  ] as const;
  for (const [program, address, bytes] of rows)
    assert.equal(await ask(program, address, bytes), String(bytes), `${bytes} bytes to ${address}`);
  const [from] = core.counters(client.id).ports;
  assert.ok(
    from !== undefined && from.receivedBytes / from.receivedPackets > 3000,
    'segments were not split',
  );
});

test('a new image is in force for the next packet: denied, told as a flow event with the policy, and allowed again', async () => {
  while (core.takeFlows(1000).events.length > 0);
  assert.equal(core.loadImage(imageOf(world(), [denyIngress('test')])).status, 'loaded');
  assert.equal(await ask(udpClient, '10.42.0.2', 100), 'timeout');
  const denied = core.takeFlows(1000).events.find(({ verdict }) => verdict === 'denied');
  assert.equal(denied?.reason, 'policy-ingress');
  assert.equal(denied?.fromPort, client.id);
  assert.deepEqual(denied?.isolatedBy, ['test/deny-ingress']);
  assert.equal(core.loadImage(imageOf(world())).status, 'loaded');
  assert.equal(await ask(udpClient, '10.42.0.2', 100), '100');
});

test('a damaged image is refused and the one before stays in force', async () => {
  const damaged = imageOf(world()).slice();
  damaged[damaged.length >> 1]! ^= 0xff;
  const answer = core.loadImage(damaged);
  assert.equal(answer.status, 'refused');
  assert.match(answer.error?.code ?? '', /^image-/);
  assert.equal(await ask(udpClient, '10.42.0.2', 100), '100');
});

test('connections are listed with their ends, and end with their port', async () => {
  assert.equal(await ask(udpClient, '10.42.0.2', 64), '64');
  const listed = core.connections(100, client.id);
  const found = listed.find(
    ({ protocol, destination }) => protocol === 17 && destination.address === '10.42.0.2',
  );
  assert.equal(found?.destination.port, 7000);
  assert.equal(found?.source.address, '10.42.0.1');
  assert.ok((found?.replyPackets ?? 0) >= 1);
  const extra = pods.pod(3);
  await core.attach(extra);
  assert.equal(core.loadImage(imageOf([...world(), extra])).status, 'loaded');
  assert.equal(await pods.run(extra, udpClient, '10.42.0.2', 7000, 10).line(), '10');
  assert.equal(core.connections(100, extra.id).length > 0, true);
  await core.detach(extra);
  assert.deepEqual(
    core.connections(1000).filter(({ source }) => source.address === '10.42.0.3'),
    [],
  );
});

test('a capture has the frames of its port with their verdict', async () => {
  const capture = core.startCapture({ port: client.id });
  assert.equal(await ask(udpClient, '10.42.0.2', 77), '77');
  const { events } = core.takeCapture(capture, 1000);
  core.stopCapture(capture);
  const sent = events.find(
    ({ direction, data }) => direction === 'egress' && data.length === 14 + 20 + 8 + 77,
  );
  const back = events.find(
    ({ direction, data }) => direction === 'ingress' && data.length === 14 + 20 + 8 + 77,
  );
  assert.ok(sent !== undefined && back !== undefined);
  assert.equal(sent.reason, undefined);
  assert.equal(sent.port, client.id);
  assert.ok(Math.abs(Number(BigInt(sent.time) / 1_000_000n) - Date.now()) < 60_000);
  assert.deepEqual(core.takeCapture(capture, 10), { events: [], lost: 0 });
});

/** A raw socket in the client's pod, as a hostile process there would use one. */
function forge(vnet: readonly number[], frame: Uint8Array): void {
  const socket = new addon.RawSocket({ netns: client.netns, ifname: 'eth0', vnetHeader: true });
  const header = Buffer.alloc(10);
  header.writeUInt8(vnet[0] ?? 0, 0);
  header.writeUInt8(vnet[1] ?? 0, 1);
  for (let i = 2; i < 6; i++) header.writeUInt16LE(vnet[i] ?? 0, 2 + 2 * (i - 2));
  const sent = socket.send(Buffer.concat([header, frame]));
  socket.close();
  assert.equal(sent, header.length + frame.length, 'the kernel took the frame');
}

/** Ethernet, IPv4, UDP to the server's echo port. */
function udpFrame(
  options: {
    readonly sourceMac?: string;
    readonly source?: readonly number[];
    readonly payload?: number;
  } = {},
): Buffer {
  const payload = options.payload ?? 200;
  const frame = Buffer.alloc(14 + 20 + 8 + payload);
  Buffer.from('027765667401', 'hex').copy(frame, 0);
  Buffer.from(options.sourceMac ?? client.mac.replaceAll(':', ''), 'hex').copy(frame, 6);
  frame.writeUInt16BE(0x0800, 12);
  frame.writeUInt8(0x45, 14);
  frame.writeUInt16BE(20 + 8 + payload, 16);
  frame.writeUInt8(64, 22);
  frame.writeUInt8(17, 23);
  Buffer.from(options.source ?? [10, 42, 0, 1]).copy(frame, 26);
  Buffer.from([10, 42, 0, 2]).copy(frame, 30);
  let sum = 0;
  for (let i = 14; i < 34; i += 2) sum += frame.readUInt16BE(i);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  frame.writeUInt16BE(~sum & 0xffff, 24);
  frame.writeUInt16BE(5555, 34);
  frame.writeUInt16BE(7000, 36);
  frame.writeUInt16BE(8 + payload, 38);
  return frame;
}

/** The same as TCP: ports as they are, a plain ACK, the payload shorter by the longer header. */
function tcpFrame(options: { readonly moreFragments?: boolean } = {}): Buffer {
  const frame = udpFrame();
  // Protocol 6 instead of 17; the header checksum grows by what the word has lost (RFC 1624).
  frame.writeUInt8(6, 23);
  frame.writeUInt16BE((frame.readUInt16BE(24) + 11) % 0xffff, 24);
  if (options.moreFragments === true) {
    frame.writeUInt16BE(0x2000, 20);
    frame.writeUInt16BE((frame.readUInt16BE(24) + 0xffff - 0x2000) % 0xffff, 24);
  }
  frame.writeUInt32BE(1, 38);
  frame.writeUInt32BE(1, 42);
  frame.writeUInt16BE(0x5010, 46);
  frame.writeUInt16BE(1000, 48);
  return frame;
}

test('forged frames and vnet headers end in their own drop reason and reach nobody', async () => {
  const [needsChecksum, tcp4] = [1, 1];
  const rows: readonly (readonly [string, () => void, string])[] = [
    ['another MAC', () => forge([], udpFrame({ sourceMac: '02000000ffff' })), 'spoof-mac'],
    ['another address', () => forge([], udpFrame({ source: [10, 42, 0, 2] })), 'spoof-ip'],
    // flags, gso type, header length, gso size, checksum start, checksum offset
    ['a segment size of 1', () => forge([needsChecksum, tcp4, 54, 1, 34, 16], tcpFrame()), 'vnet-gso-size'],
    [
      'segments of a packet that is itself a fragment',
      () => forge([needsChecksum, tcp4, 54, 100, 34, 16], tcpFrame({ moreFragments: true })),
      'vnet-gso-fragment',
    ],
    [
      'a checksum start in the payload',
      () => forge([needsChecksum, 0, 0, 0, 60, 6], udpFrame()),
      'vnet-checksum-start',
    ],
  ];
  const count = (reason: string) =>
    ((core.counters(client.id).ports[0]?.drops ?? {}) as Record<string, number>)[reason] ?? 0;
  for (const [what, send, reason] of rows) {
    const earlier = count(reason);
    const received = core.counters(server.id).ports[0]?.sentPackets;
    send();
    await until(
      () => count(reason) > earlier,
      `${what} is not counted as ${reason}: ${JSON.stringify(core.counters(client.id).ports[0]?.drops)}`,
    );
    assert.equal(core.counters(server.id).ports[0]?.sentPackets, received, `${what} reached the other pod`);
  }
});

test('the pod survives what it forged: traffic goes on', async () => {
  assert.equal(await ask(tcpClient, '10.42.0.2', 100_000), '100000');
});

test('a pod that deletes its interface costs only its own port', async () => {
  const victim = pods.pod(9);
  await core.attach(victim);
  pods.inside(victim, 'ip', 'link', 'del', 'eth0');
  await until(
    () => core.brokenPorts().some(({ id, code }) => id === victim.id && code === 'tap-gone'),
    'it is told',
  );
  await core.detach(victim);
  assert.deepEqual(core.brokenPorts(), []);
  assert.equal(await ask(tcpClient, 'fd00::2', 1000), '1000');
});

async function until(condition: () => boolean, message: string): Promise<void> {
  for (let i = 0; i < 300; i++) {
    if (condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assert.fail(message);
}
