/**
 * What a pod with CAP_NET_ADMIN does to its own interface: it may cut itself off, and gets nowhere that policy denies; the others go on, and
 * what it takes back works again.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { loadAddon, type NativeSwitch } from '../../src/dataplane/addon.js';
import type { PortSpec } from '../../src/dataplane/protocol/desired-state.js';
import { denyIngress, imageOf } from '../support/image.js';
import { echoServer, TestPods, udpClient } from '../support/netns.js';
import { openTestSwitch } from '../support/switch.js';

const pods = new TestPods();
let core: NativeSwitch;
let meddler: PortSpec;
let server: PortSpec;
let closed: PortSpec;
let other: PortSpec;

before(async () => {
  core = openTestSwitch(loadAddon(), pods.runDirectory());
  [meddler, server, closed, other] = [pods.pod(1), pods.pod(2), pods.pod(3), pods.pod(4)];
  const all = [meddler, server, closed, other];
  core.start();
  for (const pod of all) await core.attach(pod);
  const named = all.map(({ namespace, name, addresses }) => ({
    namespace,
    name,
    addresses,
    labels: { name },
  }));
  assert.equal(core.loadImage(imageOf(named, [denyIngress('test', { name: closed.name })])).status, 'loaded');
  for (const pod of [server, closed]) assert.equal(await pods.run(pod, echoServer, 7000).line(), 'ready');
});

after(() => {
  core?.stop();
  pods.end();
});

const ask = (from: PortSpec, address: string, bytes = 100) =>
  pods.run(from, udpClient, address, 7000, bytes).line();
const away = 'link set eth0 down';
const routes = [
  'route replace 169.254.1.1 dev eth0 scope link',
  'route replace default via 169.254.1.1 dev eth0',
  'neigh replace 169.254.1.1 dev eth0 lladdr 02:77:65:66:74:01 nud permanent',
];

const deeds: readonly {
  readonly what: string;
  readonly does: readonly string[];
  /** Whether it still reaches what it may reach. */
  readonly works: boolean;
  readonly undoes: readonly string[];
}[] = [
  {
    what: 'the largest MTU',
    does: ['link set eth0 mtu 65521'],
    works: true,
    undoes: ['link set eth0 mtu 1500'],
  },
  {
    what: 'the smallest MTU',
    does: ['link set eth0 mtu 68'],
    works: true,
    undoes: ['link set eth0 mtu 1500'],
  },
  {
    what: 'a queue of its own',
    does: ['link set eth0 txqueuelen 100000'],
    works: true,
    undoes: ['link set eth0 txqueuelen 1000'],
  },
  {
    what: 'another address',
    does: [
      'addr add 10.42.0.99/32 dev eth0',
      'route replace default via 169.254.1.1 dev eth0 src 10.42.0.99',
    ],
    works: false,
    undoes: ['addr del 10.42.0.99/32 dev eth0', ...routes],
  },
  {
    what: "another pod's address",
    does: ['addr add 10.42.0.4/32 dev eth0', 'route replace default via 169.254.1.1 dev eth0 src 10.42.0.4'],
    works: false,
    undoes: ['addr del 10.42.0.4/32 dev eth0', ...routes],
  },
  {
    what: 'another MAC',
    does: ['link set eth0 address 02:00:00:00:00:77'],
    works: false,
    undoes: ['link set eth0 address MAC', ...routes],
  },
  {
    what: 'no carrier',
    does: ['link set eth0 carrier off'],
    works: false,
    undoes: ['link set eth0 carrier on', ...routes],
  },
  {
    what: 'another name',
    does: [away, 'link set eth0 name eth7', 'link set eth7 up'],
    works: false,
    undoes: ['link set eth7 down', 'link set eth7 name eth0', 'link set eth0 up', ...routes],
  },
  {
    what: 'a macvlan',
    does: [
      'link add link eth0 name mv0 type macvlan',
      'link set mv0 up',
      'route replace 169.254.1.1 dev mv0 scope link',
      'route replace default via 169.254.1.1 dev mv0 src 10.42.0.1',
      'neigh replace 169.254.1.1 dev mv0 lladdr 02:77:65:66:74:01 nud permanent',
    ],
    works: false,
    undoes: ['link del mv0', ...routes],
  },
];

for (const { what, does, works, undoes } of deeds) {
  test(`${what}: nothing denied is reached, others go on, and it can be taken back`, async () => {
    const own = (line: string) => {
      pods.inside(meddler, 'ip', ...line.replace('MAC', meddler.mac).split(' '));
    };
    for (const line of does) own(line);
    const [open, denied, beside] = await Promise.all([
      ask(meddler, '10.42.0.2'),
      ask(meddler, '10.42.0.3'),
      ask(other, '10.42.0.2'),
    ]);
    assert.deepEqual([open === '100', denied === '100', beside], [works, false, '100'], `${open} ${denied}`);
    for (const line of undoes) own(line);
    assert.equal(await ask(meddler, '10.42.0.2'), '100');
    assert.deepEqual(core.brokenPorts(), []);
  });
}
