/** Datagrams that the switch gathers are, at the receiving socket, the datagrams that were sent: each size, each byte, in order. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type Addon, loadAddon, type NativeSwitch } from '../../src/dataplane/addon.js';
import type { PortSpec } from '../../src/dataplane/protocol/desired-state.js';
import { imageOf } from '../support/image.js';
import { TestPods } from '../support/netns.js';
import { openTestSwitch } from '../support/switch.js';

const pods = new TestPods();
let addon: Addon;
let core: NativeSwitch;
let client: PortSpec;
let server: PortSpec;

/** Datagram `n`: each size from 1 to the largest three times, so that they merge and end a merge. Both ends know what it holds. */
const datagram = `
const size = (n) => 1 + Math.floor(n / 3);
const datagram = (n) => Buffer.from(Array.from({ length: size(n) }, (_, i) => (n * 31 + i) & 255));
`;

/** sink TYPE COUNT WAVE: takes \`COUNT\` datagrams, tells the sender after each wave; prints what was wrong, at the first. */
const sink = `${datagram}
const [type, count, wave] = process.argv.slice(1);
const socket = require('dgram').createSocket(type);
let next = 0;
socket.on('message', (bytes, from) => {
  if (!bytes.equals(datagram(next))) {
    console.log('datagram ' + next + ' of ' + size(next) + ' bytes came as ' + bytes.length + ' others');
    process.exit(1);
  }
  next++;
  const over = next === Number(count);
  if (over || next % wave === 0)
    socket.send(String(next), from.port, from.address, () => over && socket.close());
  if (over) console.log('whole');
});
socket.bind(7000, () => console.log('ready'));
`;

/** source TYPE ADDRESS COUNT WAVE: sends wave after wave, each at once and in one go. */
const source = `${datagram}
const [type, address, count, wave] = process.argv.slice(1);
const socket = require('dgram').createSocket(type);
let next = 0;
const send = () => {
  for (let i = 0; i < wave && next < count; i++) socket.send(datagram(next++), 7000, address);
};
socket.on('message', (bytes) => {
  if (Number(bytes) === Number(count)) socket.close();
  else if (Number(bytes) === next) send();
});
socket.bind(0, () => {
  send();
  console.log('sending');
});
`;

before(async () => {
  addon = loadAddon();
  core = openTestSwitch(addon, pods.runDirectory());
  client = pods.pod(1);
  server = pods.pod(2);
  await Promise.all([core.attach(client), core.attach(server)]);
  const world = [client, server].map(({ namespace, name, addresses }) => ({ namespace, name, addresses }));
  assert.equal(core.loadImage(imageOf(world)).status, 'loaded');
});

after(() => {
  core?.stop();
  pods.end();
});

test('what waits when the switch begins reaches the receiver in one piece, and its socket whole', async () => {
  const count = 48;
  const receiver = pods.run(server, sink, 'udp4', count, count);
  assert.equal(await receiver.line(), 'ready');
  const watch = new addon.RawSocket({ netns: server.netns, ifname: 'eth0', vnetHeader: true });
  const sender = pods.run(client, source, 'udp4', '10.42.0.2', count, count);
  assert.equal(await sender.line(), 'sending');
  core.start();
  assert.equal(await receiver.line(), 'whole');
  let merged = 0;
  for (let bytes = watch.receive(); bytes !== null; bytes = watch.receive()) if (bytes[1] === 5) merged++;
  watch.close();
  if (core.figures().udpSegmentation) assert.ok(merged > 0, 'frames of several datagrams were seen');
  const [port] = core.counters(server.id).ports;
  assert.ok((port?.sentPackets ?? 0) >= count, 'each datagram is counted');
});

for (const [type, address, largest] of [
  ['udp4', '10.42.0.2', 1472],
  ['udp6', 'fd00::2', 1452],
] as const)
  test(`datagrams of every size from 1 to ${largest} bytes arrive whole and in order (${type})`, async () => {
    const count = 3 * largest;
    const receiver = pods.run(server, sink, type, count, 48);
    assert.equal(await receiver.line(), 'ready');
    pods.run(client, source, type, address, count, 48);
    assert.equal(await receiver.line(60_000), 'whole');
  });
