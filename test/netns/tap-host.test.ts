/** The node is a port too. A namespace of the test's own plays the node, and the switch runs in it. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { PortSpec } from '../../src/dataplane/protocol/desired-state.js';
import { imageOf } from '../support/image.js';
import { echoServer, TestPods, tcpClient, udpClient } from '../support/netns.js';
import { SupervisedSwitch, TestClient } from '../support/supervised.js';

const pods = new TestPods();
let node: PortSpec;
let pod: PortSpec;
let host: PortSpec;
let supervised: SupervisedSwitch;
let agent: TestClient;
let run: string;
let revision = 0;

before(async () => {
  run = pods.runDirectory();
  node = pods.pod(1);
  pod = pods.pod(2);
  // The node's own address is on another interface than the switch's port, as a real node's is.
  for (const args of [
    ['link', 'set', 'lo', 'up'],
    ['addr', 'add', '192.168.77.5/32', 'dev', 'lo'],
  ])
    pods.inside(node, 'ip', ...args);
  host = {
    id: 'host',
    namespace: '',
    name: 'node',
    netns: '',
    ifname: 'weft0',
    mac: '02:00:00:00:ff:01',
    addresses: ['10.42.0.254', 'fd00::fe'],
    mtu: 1500,
    kind: 'host',
    routes: [{ destination: '10.42.0.0/24', source: '192.168.77.5' }, { destination: 'fd00::/64' }],
  };
  supervised = new SupervisedSwitch(run, node.netns);
  agent = await TestClient.connect(run, { type: 'hello', role: 'agent', epoch: 1 });
  writeFileSync(join(run, 'image'), imageOf([pod]));
});

after(async () => {
  agent?.close();
  await supervised?.stop();
  pods.end();
});

async function publish(...ports: readonly PortSpec[]) {
  const answer = await agent.ask({
    type: 'publish',
    epoch: 1,
    revision: ++revision,
    image: join(run, 'image'),
    ports,
  });
  assert.ok(answer?.type === 'acknowledge', JSON.stringify(answer));
  return answer.ports;
}

test("the host port is made with its addresses and routes, and local sockets take the node's address", async () => {
  assert.deepEqual(await publish(host, pod), [
    { id: 'host', status: 'live' },
    { id: pod.id, status: 'live' },
  ]);
  assert.match(pods.inside(node, 'ip', '-4', 'addr', 'show', 'weft0'), /10\.42\.0\.254\/32/);
  assert.match(
    pods.inside(node, 'ip', 'route', 'get', '10.42.0.2'),
    /via 169\.254\.1\.1 dev weft0 src 192\.168\.77\.5/,
  );
  assert.match(
    pods.inside(node, 'ip', '-6', 'route', 'get', 'fd00::2'),
    /via fe80::1 dev weft0 .*src fd00::fe/,
  );
});

test('node and pod reach each other in both families', async () => {
  await pods.run(pod, echoServer, 7000).line();
  await pods.run(node, echoServer, 7000).line();
  const rows = [
    [node, tcpClient, '10.42.0.2'],
    [node, tcpClient, 'fd00::2'],
    [node, udpClient, '10.42.0.2'],
    [pod, tcpClient, '192.168.77.5'],
    [pod, udpClient, '10.42.0.254'],
    [pod, tcpClient, 'fd00::fe'],
  ] as const;
  for (const [from, program, address] of rows)
    assert.equal(
      await pods.run(from, program, address, 7000, 5000).line(),
      '5000',
      `from ${from.name} to ${address}`,
    );
});

test('an address that is only a source is the host’s, and the kernel masquerades with the other one', async () => {
  const routes = [
    { destination: '10.42.0.0/24', source: '10.42.0.0' },
    { destination: 'fd00::/64', source: 'fd00::' },
  ];
  await publish({ ...host, routes, sources: ['10.42.0.0', 'fd00::'] }, pod);
  const shown = () => pods.inside(node, 'ip', '-o', 'addr', 'show', 'dev', 'weft0');
  assert.match(shown(), /10\.42\.0\.0\/32 scope link/);
  assert.match(shown(), /fd00::\/128 scope global (nodad )?deprecated/);
  assert.match(pods.inside(node, 'ip', 'route', 'get', '10.42.0.2'), /src 10\.42\.0\.0 /);
  assert.match(pods.inside(node, 'ip', '-6', 'route', 'get', 'fd00::2'), /src fd00:: /);
  await publish(host, pod);
  assert.doesNotMatch(shown(), /10\.42\.0\.0\/|fd00::\/128/);
});

test('a changed route is brought in place, and the host port goes when it is no longer wanted', async () => {
  await publish({ ...host, routes: [{ destination: '10.42.0.0/16', source: '192.168.77.5' }] }, pod);
  assert.match(pods.inside(node, 'ip', 'route'), /10\.42\.0\.0\/16 via 169\.254\.1\.1 dev weft0/);
  assert.doesNotMatch(pods.inside(node, 'ip', 'route'), /10\.42\.0\.0\/24/);
  assert.doesNotMatch(pods.inside(node, 'ip', '-6', 'route'), /fd00::\/64/);
  await publish(pod);
  assert.throws(() => pods.inside(node, 'ip', 'link', 'show', 'weft0'));
  assert.match(pods.inside(node, 'ip', 'addr', 'show', 'lo'), /192\.168\.77\.5/);
});

test('a pod takes another address in place: the new one is served, the old one is no longer its own', async () => {
  const moved = { ...pod, addresses: ['10.42.0.99'] };
  writeFileSync(join(run, 'image'), imageOf([moved]));
  assert.deepEqual(await publish(host, moved), [
    { id: 'host', status: 'live' },
    { id: pod.id, status: 'live' },
  ]);
  assert.equal(await pods.run(node, udpClient, '10.42.0.99', 7000, 100).line(), '100');
  assert.doesNotMatch(pods.inside(pod, 'ip', 'addr', 'show', 'eth0'), /10\.42\.0\.2\/|fd00::2\//);
});
