/** Attaching pods through the whole agent: what it waits for, what is undone, and what outlives agent and switch. */
import assert from 'node:assert/strict';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { WeftError } from '../../../src/errors/problem.js';
import { eventually, fixture, podManifest, policyManifest } from '../../support/agent-fixture.js';

const web = { namespace: 'shop', name: 'web', uid: '', netns: '/run/netns/web', ifname: 'eth0' };
const code = (expected: string) => (error: WeftError) => {
  assert.equal(error.code, expected, error.message);
  return true;
};

test('a pod is attached once its port is live at a state that knows it and its policies', async (t) => {
  const f = fixture(t);
  f.write('all.yaml', podManifest('shop', 'web') + policyManifest('shop', 'deny'));
  const double = await f.startSwitch();
  await f.startAgent();
  const client = await f.client();
  const answer = await client.request('attach', web);
  assert.deepEqual(answer.addresses, ['10.42.0.2']);
  assert.deepEqual(answer.gateways, ['169.254.1.1']);
  assert.match(answer.mac, /^02:/);
  assert.equal(double.last?.imageText, 'local shop/web 10.42.0.2\npolicy shop/deny');
  const port = double.last?.ports.find(({ kind }) => kind === 'pod');
  assert.equal(port?.netns, '/run/netns/web');
  assert.deepEqual(port?.addresses, ['10.42.0.2']);
  assert.equal(double.last?.revision, answer.revision);
});

test('the order of manifest and attach does not matter: an attach waits for its pod', async (t) => {
  const f = fixture(t);
  const double = await f.startSwitch();
  await f.startAgent();
  const client = await f.client();
  let answered = false;
  const attach = client.request('attach', web).then((answer) => {
    answered = true;
    return answer;
  });
  await eventually('the port is published before the pod is known', () =>
    (double.last?.ports ?? []).some(({ name }) => name === 'web'),
  );
  await client.request('sync', {});
  assert.equal(answered, false);
  f.write('web.yaml', podManifest('shop', 'web'));
  const answer = await attach;
  assert.equal(double.last?.imageText, 'local shop/web 10.42.0.2');
  assert.equal(answer.revision, double.last?.revision);
});

test('an attach that nobody knows the pod of fails with the reason and is undone', async (t) => {
  const f = fixture(t);
  const double = await f.startSwitch();
  const running = await f.startAgent();
  const client = await f.client();
  await assert.rejects(client.request('attach', { ...web, timeoutMilliseconds: 80 }), code('pod-unknown'));
  await eventually(
    'the port is gone again',
    () => double.last?.ports.every(({ kind }) => kind === 'host') === true,
  );
  assert.equal(running.agent.attachments.list().length, 0);
});

test('a port that the switch cannot bring up fails the attach with its error and is undone', async (t) => {
  const f = fixture(t);
  f.write('web.yaml', podManifest('shop', 'web'));
  const double = await f.startSwitch();
  double.portStatus = (id) =>
    id === 'host'
      ? { status: 'live' }
      : { status: 'failed', error: { code: 'netns-gone', message: 'no such namespace' } };
  const running = await f.startAgent();
  const client = await f.client();
  await assert.rejects(client.request('attach', web), code('netns-gone'));
  assert.equal(running.agent.attachments.list().length, 0);
});

test('attach is idempotent, a new sandbox of the same pod replaces the old port, detach can be repeated', async (t) => {
  const f = fixture(t);
  f.write('web.yaml', podManifest('shop', 'web'));
  const double = await f.startSwitch();
  await f.startAgent();
  const client = await f.client();
  const first = await client.request('attach', { ...web, containerId: 'one' });
  const again = await client.request('attach', { ...web, containerId: 'one' });
  assert.deepEqual([again.port, again.addresses], [first.port, first.addresses]);
  const second = await client.request('attach', { ...web, containerId: 'two', netns: '/run/netns/two' });
  assert.notEqual(second.port, first.port);
  assert.deepEqual(second.addresses, ['10.42.0.3'], 'least recently used: not the address just released');
  assert.deepEqual(
    double.last?.ports.filter(({ kind }) => kind === 'pod').map(({ netns }) => netns),
    ['/run/netns/two'],
  );
  assert.equal((await client.request('detach', { containerId: 'one' })).found, false);
  assert.equal((await client.request('detach', { containerId: 'two' })).found, true);
  assert.equal((await client.request('detach', { containerId: 'two' })).found, false);
  assert.deepEqual(
    double.last?.ports.map(({ id }) => id),
    ['host'],
  );
  assert.equal(
    double.last?.imageText,
    'pod shop/web',
    'the pod is in the world, without address and program',
  );
});

test('an attach that the switch dies under is answered by the next switch', async (t) => {
  const f = fixture(t);
  f.write('web.yaml', podManifest('shop', 'web'));
  const first = await f.startSwitch();
  await f.startAgent();
  const client = await f.client();
  await client.request('sync', {});
  first.held = true;
  const attach = client.request('attach', web);
  await eventually(
    'the port is published',
    () => first.last?.ports.some(({ name }) => name === 'web') === true,
  );
  await first.kill();
  const second = await f.startSwitch(first);
  const answer = await attach;
  assert.deepEqual(answer.addresses, ['10.42.0.2']);
  assert.equal(second.last?.revision, answer.revision);
});

test('a restarted agent desires the same ports and addresses, so nothing changes for running pods', async (t) => {
  const f = fixture(t);
  f.write('web.yaml', podManifest('shop', 'web') + podManifest('shop', 'api'));
  const double = await f.startSwitch();
  const first = await f.startAgent();
  const client = await f.client();
  await client.request('attach', web);
  await client.request('attach', { ...web, name: 'api', netns: '/run/netns/api' });
  const before = double.last!;
  await first.stop();
  const second = await f.startAgent();
  await eventually('the new agent has published', () => second.agent.ready);
  assert.deepEqual(double.last?.ports, before.ports);
  assert.equal(double.last?.imageText, before.imageText);
  assert.ok(double.epochs[1]! > double.epochs[0]!, 'the epoch grows');
  const third = await (await f.client()).request('attach', { ...web, namespace: 'shop', name: 'web' });
  assert.deepEqual(third.addresses, ['10.42.0.2']);
});

test('two agents: the second refuses to start while the first answers; a stale one is fenced off', async (t) => {
  const f = fixture(t);
  const double = await f.startSwitch();
  const running = await f.startAgent();
  await eventually('the first has published', () => running.agent.ready);
  await assert.rejects(f.startAgent(), code('agent-running'));
  // A successor elsewhere has greeted the switch; the switch restarts and refuses the old epoch.
  double.highestEpoch += 10;
  f.write('x.yaml', policyManifest('shop', 'x'));
  const error = await running.fenced;
  assert.equal((error as WeftError).code, 'epoch-stale');
  const published = double.publications.length;
  f.write('y.yaml', policyManifest('shop', 'y'));
  await new Promise((resolve) => setTimeout(resolve, 60));
  assert.equal(double.publications.length, published, 'a fenced agent publishes nothing more');
});

test('the pool is bounded and says so; limits.ports too; both let the others go on', async (t) => {
  const f = fixture(t);
  f.write('pods.yaml', ['a', 'b', 'c'].map((name) => podManifest('shop', name)).join(''));
  await f.startSwitch();
  const overrides = { network: { podCIDRs: ['10.42.0.0/30'] }, limits: { ports: 3 } };
  const running = await f.startAgent(overrides);
  const client = await f.client();
  const attach = (name: string) => client.request('attach', { ...web, name, netns: `/run/netns/${name}` });
  assert.deepEqual((await attach('a')).addresses, ['10.42.0.2']);
  await assert.rejects(attach('b'), code('addresses-exhausted'));
  await running.stop();
  const roomy = await f.startAgent({ network: { podCIDRs: ['10.42.0.0/24'] }, limits: { ports: 3 } });
  const next = await f.client();
  const go = (name: string) => next.request('attach', { ...web, name, netns: `/run/netns/${name}` });
  await go('b');
  await assert.rejects(go('c'), code('ports-exhausted'));
  assert.equal(roomy.agent.attachments.list().length, 2);
});

test('addresses that a manifest or the caller assigns are given; one that is taken is refused', async (t) => {
  const f = fixture(t);
  f.write(
    'pods.yaml',
    podManifest('shop', 'web', 'status: { podIPs: [{ ip: 10.42.7.7 }, { ip: "fd00::7" }] }\n') +
      podManifest('shop', 'api') +
      podManifest('shop', 'thief'),
  );
  await f.startSwitch();
  await f.startAgent();
  const client = await f.client();
  await client.request('sync', {});
  assert.deepEqual((await client.request('attach', web)).addresses, ['10.42.7.7', 'fd00::7']);
  const api = await client.request('attach', { ...web, name: 'api', addresses: ['10.42.0.9'] });
  assert.deepEqual(api.addresses, ['10.42.0.9']);
  await assert.rejects(
    client.request('attach', { ...web, name: 'thief', addresses: ['10.42.0.9'] }),
    code('address-taken'),
  );
});

test('a pod of another uid is a predecessor: the attach waits for its successor', async (t) => {
  const f = fixture(t);
  const manifest = (uid: string) =>
    podManifest('shop', 'web').replace('name: web,', `name: web, uid: ${uid},`);
  f.write('web.yaml', manifest('old'));
  const double = await f.startSwitch();
  await f.startAgent();
  const client = await f.client();
  await client.request('sync', {});
  const attach = client.request('attach', { ...web, uid: 'new' });
  await eventually('the port is there', () => double.last?.ports.some(({ name }) => name === 'web') === true);
  assert.equal(double.last?.imageText, 'pod shop/web');
  f.write('web.yaml', manifest('new'));
  await attach;
  assert.equal(double.last?.imageText, 'local shop/web 10.42.0.2');
});

const invalid: readonly (readonly [string, object])[] = [
  ['a name with a slash', { name: 'a/b' }],
  ['a relative namespace path', { netns: 'run/netns/x' }],
  ['an interface name of 16 bytes', { ifname: 'e'.repeat(16) }],
  ['an interface name that is a path', { ifname: '..' }],
  ['a multicast MAC', { mac: '01:00:00:00:00:01' }],
  ['an address that is none', { addresses: ['10.0.0'] }],
  ['two addresses of one family', { addresses: ['10.0.0.1', '10.0.0.2'] }],
  ['an MTU below 576', { mtu: 100 }],
];
for (const [what, change] of invalid) {
  test(`an attach with ${what} is refused`, async (t) => {
    const f = fixture(t);
    const running = await f.startAgent();
    const client = await f.client();
    await assert.rejects(client.request('attach', { ...web, ...change }), code('attach-invalid'));
    assert.equal(running.agent.attachments.list().length, 0);
  });
}

test('the socket is for its owner only', async (t) => {
  const f = fixture(t);
  await f.startAgent();
  assert.equal(statSync(join(f.run, 'agent.sock')).mode & 0o777, 0o600);
});

const gone = { status: 'failed', error: { code: 'netns-gone', message: 'the namespace is gone' } } as const;

test('a pod whose port has failed and whose namespace is gone gives its addresses back without a DEL', async (t) => {
  const f = fixture(t);
  f.write('pods.yaml', podManifest('shop', 'web') + podManifest('shop', 'api'));
  const double = await f.startSwitch();
  const running = await f.startAgent();
  const client = await f.client();
  const lost = await client.request('attach', web);
  await client.request('attach', { ...web, name: 'api', netns: '/run/netns/api' });
  double.namespaceState = (path) => (path === '/run/netns/web' ? 'gone' : 'there');
  assert.deepEqual(await running.agent.reconcile(60_000), [], 'a live port waits for its DEL');
  double.portStatus = (id) => (id === lost.port ? gone : { status: 'live' });
  const removed = await running.agent.reconcile(60_000);
  assert.deepEqual(
    removed.map(({ id }) => id),
    [lost.port],
  );
  await client.request('sync', {});
  assert.deepEqual(
    double.last?.ports.map(({ name }) => name),
    ['here', 'api'],
  );
});

test('a failed port whose namespace is there is tried again, and ports tell its state meanwhile', async (t) => {
  const f = fixture(t);
  f.write('web.yaml', podManifest('shop', 'web'));
  const double = await f.startSwitch();
  const running = await f.startAgent();
  const client = await f.client();
  const { port } = await client.request('attach', web);
  const state = async () => (await client.request('ports')).ports.find(({ id }) => id === port)?.status;
  double.portStatus = (id) => (id === port ? gone : { status: 'live' });
  const published = double.publications.length;
  assert.equal(await state(), 'failed', 'at once, not after the next look');
  assert.deepEqual(await running.agent.reconcile(0), []);
  assert.equal(running.agent.attachments.status(port)?.status, 'failed');
  // Before the tick publishes anew.
  double.portStatus = () => ({ status: 'live' });
  await eventually('it is published again', () => double.publications.length > published);
  await client.request('sync', {});
  assert.equal(await state(), 'live');
});
