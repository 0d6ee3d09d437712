/** Pod CIDRs that come late or change, and attachments whose pod went without a word. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { AttachmentDetails } from '../../../src/agent/attachment.js';
import { NodeState } from '../../../src/agent/node-state.js';
import { PodNetwork } from '../../../src/agent/pod-network.js';
import { defaultConfig, overrideConfig } from '../../../src/config/parse.js';
import { namespaceAt } from '../../../src/dataplane/namespace-path.js';
import type { WeftError } from '../../../src/errors/problem.js';
import { Leases } from '../../../src/ipam/leases.js';
import { address } from '../../../src/net/address.js';
import { cidr } from '../../../src/net/cidr.js';
import { eventually, fixture, podManifest } from '../../support/agent-fixture.js';
import { apiServer, pod } from '../../support/kube.js';

const details = {} as AttachmentDetails;

function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'weft-pools-'));
  t.after(() => rmSync(path, { recursive: true }));
  return path;
}

const both = ['192.0.2.1', '2001:db8::1'];

function network(t: TestContext, podCIDRs: string[], fromApi: boolean, path = folder(t), addresses = both) {
  const config = overrideConfig(defaultConfig(), {
    node: { name: 'here', addresses },
    network: { podCIDRs },
  });
  const open = podCIDRs.map((text) => cidr(text));
  const leases = new Leases<AttachmentDetails>(join(path, 'leases.jsonl'), open);
  const pods = new PodNetwork(config, leases, fromApi);
  const state = new NodeState(pods.node);
  const tell = (name: string, ...cidrs: string[]) => {
    const node = { name, addresses: [], podCidrs: cidrs.map((text) => cidr(text)) };
    state.apply([{ type: 'upsert', kind: 'node', object: node }]);
    return pods.follow(state);
  };
  const codes = () => pods.problems.map(({ code }) => code);
  const port = () => [pods.hostPort?.addresses, pods.hostPort?.routes?.map(({ destination }) => destination)];
  return { pods, leases, state, tell, codes, port, path };
}

test('pod CIDRs of the Node come late: until then a word names what is missing, then pools and host port follow', (t) => {
  const { pods, leases, tell, codes, port, path } = network(t, [], true);
  assert.deepEqual(port(), [[], []]);
  assert.match(pods.missing?.message ?? '', /no source has told of the Node here/);
  assert.equal(tell('other', '10.42.7.0/24'), false);
  assert.match(pods.missing?.message ?? '', /no source has told of the Node here, but of other\./);
  assert.equal(tell('here'), false);
  assert.match(pods.missing?.message ?? '', /the Node here has no spec\.podCIDRs/);
  assert.deepEqual(codes(), ['pod-cidrs-missing']);
  assert.equal(tell('here', '10.42.3.0/24', 'fd42:3::/64', '10.99.0.0/24'), true);
  assert.deepEqual([pods.missing, codes()], [null, []]);
  assert.deepEqual(port(), [
    ['10.42.3.1', 'fd42:3::1'],
    ['10.42.3.0/24', 'fd42:3::/64'],
  ]);
  assert.deepEqual(
    pods.hostPort?.routes?.map(({ source }) => source),
    ['192.0.2.1', '2001:db8::1'],
  );
  assert.equal(tell('here', '10.42.3.0/24', 'fd42:3::/64'), false, 'told again');
  assert.equal(tell('here'), false, 'a Node that loses its CIDRs takes nothing away');
  assert.deepEqual(
    leases.allocate('a', 'ns/a', details).lease?.addresses.map(({ text }) => text),
    ['10.42.3.2', 'fd42:3::2'],
  );
  const restarted = network(t, [], true, path);
  assert.equal(restarted.pods.missing, null, 'remembered while the API is away');
  assert.deepEqual(restarted.port(), port());
});

test('a family that the node has no address of: its sockets send from the network address of that pod CIDR', (t) => {
  const told = ['10.42.3.0/24', 'fd42:3::/64'];
  const rows: readonly (readonly [string[], string[], string[]])[] = [
    [both, [], both],
    [['192.0.2.1'], ['fd42:3::'], ['192.0.2.1', 'fd42:3::']],
    [['2001:db8::1'], ['10.42.3.0'], ['10.42.3.0', '2001:db8::1']],
  ];
  for (const [addresses, sources, routed] of rows) {
    const { pods, tell } = network(t, [], true, folder(t), addresses);
    tell('here', ...told);
    assert.deepEqual(pods.hostPort?.sources ?? [], sources);
    assert.deepEqual(
      pods.hostPort?.routes?.map(({ source }) => source),
      routed,
    );
    assert.deepEqual(
      pods.node.addresses.map(({ text }) => text),
      [...addresses, ...sources],
      'they are the node’s to policy',
    );
    assert.deepEqual(
      pods.hostPort?.addresses,
      ['10.42.3.1', 'fd42:3::1'],
      'what is masqueraded comes from others',
    );
  }
});

test('pod CIDRs that change leave pods their addresses, keep them reachable from the node, and are a problem until they are gone', (t) => {
  const { leases, tell, codes, port } = network(t, [], true);
  tell('here', '10.42.3.0/24');
  leases.allocate('a', 'ns/a', details);
  assert.equal(tell('here', '10.42.5.0/24'), true);
  assert.deepEqual(codes(), ['pod-cidrs-changed']);
  assert.deepEqual(port(), [['10.42.5.1'], ['10.42.5.0/24', '10.42.3.2/32']]);
  assert.deepEqual(leases.allocate('b', 'ns/b', details).lease?.addresses, [address('10.42.5.2')]);
  leases.release('a');
  assert.deepEqual(codes(), []);
  assert.deepEqual(port(), [['10.42.5.1'], ['10.42.5.0/24']]);
});

test('configured CIDRs stay what they are; a Node object that differs is a problem', (t) => {
  const { tell, codes, port } = network(t, ['10.9.0.0/24'], true);
  assert.equal(tell('here', '10.9.0.0/24'), false);
  assert.deepEqual(codes(), []);
  assert.equal(tell('here', '10.42.5.0/24'), false);
  assert.deepEqual(codes(), ['pod-cidrs-differ']);
  assert.deepEqual(port(), [['10.9.0.1'], ['10.9.0.0/24']]);
});

test('manifests without a Node object: the usual CIDR at once', (t) => {
  const { pods, port } = network(t, [], false);
  assert.equal(pods.missing, null);
  assert.deepEqual(port(), [['10.42.0.1'], ['10.42.0.0/24']]);
});

const web = {
  namespace: 'shop',
  name: 'web',
  uid: '',
  netns: '/run/netns/web',
  ifname: 'eth0',
  containerId: 'c1',
} as const;

const node = (block: string) => `apiVersion: v1
kind: Node
metadata: { name: here }
spec: { podCIDR: ${block}, podCIDRs: ['${block}'] }
`;

const cluster = { namespace: 'default', uid: '', ifname: 'eth0' } as const;
const to = (name: string) => ({ ...cluster, name, netns: `/run/netns/${name}` });
const refused = (expected: string, says: RegExp) => (error: WeftError) => {
  assert.equal(error.code, expected, error.message);
  assert.match(error.message, says);
  return true;
};

test('on the Kubernetes API: no CIDR, a word to try again; CIDRs that come late; addresses that are asked for; the API away after a restart', async (t) => {
  const server = await apiServer(t);
  server.put('nodes', { metadata: { name: 'here' }, spec: {} });
  for (const name of ['a', 'b', 'c', 'd']) server.put('pods', pod(name));
  const f = fixture(t);
  const double = await f.startSwitch();
  const kubeconfig = join(f.run, 'kubeconfig');
  writeFileSync(
    kubeconfig,
    JSON.stringify({
      'current-context': 'c',
      clusters: [{ name: 'c', cluster: { server: server.url } }],
      contexts: [{ name: 'c', context: { cluster: 'c' } }],
    }),
  );
  const overrides = { kubernetes: { mode: 'auto' as const, kubeconfig } };
  const running = await f.startAgent(overrides);
  const client = await f.client();
  await client.request('sync');
  assert.deepEqual(
    double.last?.ports.map(({ kind, addresses }) => [kind, addresses]),
    [['host', []]],
  );
  await assert.rejects(
    client.request('attach', to('a')),
    refused('pod-cidrs-missing', /Node here .* spec\.podCIDRs/),
  );
  server.put('nodes', { metadata: { name: 'here' }, spec: { podCIDRs: ['10.42.3.0/29', 'fd42:3::/64'] } });
  await eventually('the CIDRs have come', () => double.last?.ports[0]?.addresses.length === 2);
  assert.deepEqual((await client.request('attach', to('a'))).addresses, ['10.42.3.2', 'fd42:3::2']);
  const asked = { ...to('b'), addresses: ['10.42.3.6'] };
  assert.deepEqual((await client.request('attach', asked)).addresses, ['10.42.3.6', 'fd42:3::3']);
  await assert.rejects(
    client.request('attach', { ...to('c'), addresses: ['10.42.3.6'] }),
    refused('address-taken', /default\/b/),
  );
  await assert.rejects(
    client.request('attach', { ...to('c'), addresses: ['10.42.4.2'] }),
    refused('address-outside', /10\.42\.3\.2 to 10\.42\.3\.6/),
  );
  await running.stop();
  await server.down();
  const again = await f.startAgent(overrides);
  const status = (await (await f.client()).request('status')).addresses;
  assert.deepEqual(
    status.map(({ cidr: text, used }) => [text, used]),
    [
      ['10.42.3.0/29', 2],
      ['fd42:3::/64', 2],
    ],
  );
  assert.deepEqual(again.agent.attachments.ports[0]?.addresses, ['10.42.3.1', 'fd42:3::1']);
});

test("a running agent takes over its Node's CIDRs: the next pod and the node's port have them", async (t) => {
  const f = fixture(t);
  f.write('web.yaml', podManifest('shop', 'web') + podManifest('shop', 'api'));
  f.write('node.yaml', node('10.42.3.0/24'));
  const double = await f.startSwitch();
  await f.startAgent();
  const client = await f.client();
  await client.request('sync', {});
  assert.deepEqual((await client.request('attach', web)).addresses, ['10.42.3.2']);
  f.write('node.yaml', node('10.42.4.0/24'));
  await client.request('sync', {});
  const host = double.last?.ports.find(({ kind }) => kind === 'host');
  assert.deepEqual(
    [host?.addresses, host?.routes?.map(({ destination }) => destination)],
    [['10.42.4.1'], ['10.42.4.0/24', '10.42.3.2/32']],
  );
  assert.deepEqual(
    double.last?.ports.find(({ name }) => name === 'web')?.addresses,
    ['10.42.3.2'],
    'the pod keeps its address',
  );
  const other = { ...web, name: 'api', containerId: 'c2', netns: '/run/netns/api' };
  assert.deepEqual((await client.request('attach', other)).addresses, ['10.42.4.2']);
  const { problems, addresses } = await client.request('status');
  assert.ok(problems.some(({ code }) => code === 'pod-cidrs-changed'));
  assert.deepEqual(addresses, [{ cidr: '10.42.4.0/24', used: 1, total: '253' }]);
});

test('a pod whose namespace is gone gives its address back after a grace though its port is live, is counted, and comes back clean', async (t) => {
  const f = fixture(t);
  f.write('web.yaml', podManifest('shop', 'web'));
  const double = await f.startSwitch();
  const { agent } = await f.startAgent();
  const client = await f.client();
  const { port } = await client.request('attach', web);
  const there = () => agent.attachments.get(port) !== undefined;
  double.namespaceState = () => 'unknown';
  await agent.reconcile(0);
  assert.ok(there(), 'what could not be looked at is not gone');
  double.namespaceState = () => 'gone';
  await agent.reconcile(60_000);
  assert.ok(there(), 'its DEL may be on its way');
  double.namespaceState = () => 'there';
  await agent.reconcile(60_000);
  double.namespaceState = () => 'gone';
  await agent.reconcile(60_000);
  assert.ok(there(), 'the grace begins anew');
  const removed = await agent.reconcile(0);
  assert.deepEqual(
    removed.map(({ id }) => id),
    [port],
  );
  await client.request('sync', {});
  assert.deepEqual(
    double.last?.ports.map(({ kind }) => kind),
    ['host'],
  );
  assert.match((await client.request('metrics')).text, /^weft_ipam_leaked_total 1$/m);
  assert.equal((await client.request('status')).addresses[0]?.used, 0);
  assert.equal((await client.request('detach', web)).found, false, 'a late DEL finds nothing to do');
});

test('an attachment whose ADD is under way is never taken for one that was left behind', async (t) => {
  const f = fixture(t);
  const double = await f.startSwitch();
  const { agent } = await f.startAgent();
  const client = await f.client();
  await client.request('sync', {});
  double.namespaceState = () => 'gone';
  // No source knows the pod: the request waits.
  const attached = client.request('attach', web).then(
    () => 'attached',
    (error: Error) => error.message,
  );
  await eventually('the port is published', () => (double.last?.ports.length ?? 0) === 2);
  assert.deepEqual(await agent.reconcile(0), []);
  f.write('web.yaml', podManifest('shop', 'web'));
  assert.equal(await attached, 'attached');
  assert.equal((await agent.reconcile(0)).length, 1, 'once it is attached it is as any other');
});

test('a path is gone when nothing is there or when what is there is no namespace', (t) => {
  const path = folder(t);
  writeFileSync(join(path, 'unmounted'), '');
  assert.equal(namespaceAt('/proc/self/ns/net'), 'there');
  assert.equal(namespaceAt(join(path, 'unmounted')), 'gone');
  assert.equal(namespaceAt(join(path, 'nothing')), 'gone');
  assert.equal(namespaceAt(`${join(path, 'unmounted')}/below`), 'gone');
  assert.equal(namespaceAt(`/${'x'.repeat(5000)}`), 'unknown');
});
