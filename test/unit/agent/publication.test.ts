/** From a change of the sources to what the switch has in force. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { WeftError } from '../../../src/errors/problem.js';
import {
  eventually,
  fixture,
  podManifest,
  policyManifest,
  readableCompile,
} from '../../support/agent-fixture.js';

const web = { namespace: 'shop', name: 'web', uid: '', netns: '/run/netns/web', ifname: 'eth0' };
const code = (expected: string) => (error: WeftError) => {
  assert.equal(error.code, expected, error.message);
  return true;
};

test('nothing is published before every source has synced, and a broken file keeps it so', async (t) => {
  const f = fixture(t);
  f.write('broken.yaml', 'kind: [\n');
  const double = await f.startSwitch();
  const running = await f.startAgent();
  const client = await f.client();
  await eventually('the agent is connected', () => running.agent.link !== null);
  await assert.rejects(client.request('sync', { timeoutMilliseconds: 60 }), code('source-not-synced'));
  assert.equal(double.publications.length, 0);
  f.write('broken.yaml', podManifest('shop', 'web'));
  await client.request('sync', {});
  assert.equal(double.last?.imageText, 'pod shop/web');
});

test('a file that breaks later keeps its policies in force; a file that is deleted takes its own away', async (t) => {
  const f = fixture(t);
  f.write('deny.yaml', policyManifest('shop', 'deny'));
  const double = await f.startSwitch();
  await f.startAgent();
  const client = await f.client();
  await client.request('sync', {});
  f.write('deny.yaml', `${policyManifest('shop', 'deny')}\nspec: [`);
  const synced = await client.request('sync', {});
  assert.equal(double.last?.imageText, 'policy shop/deny');
  assert.ok(synced.problems.some(({ code }) => code === 'syntax'));
  f.remove('deny.yaml');
  await client.request('sync', {});
  assert.equal(double.last?.imageText, '');
});

test('a change that leaves size and time as they were is seen all the same', async (t) => {
  const f = fixture(t);
  const double = await f.startSwitch();
  await f.startAgent();
  const client = await f.client();
  for (let i = 0; i < 8; i++) {
    f.write('one.yaml', policyManifest('shop', `p${i}`));
    await client.request('sync', {});
    assert.equal(double.last?.imageText, `policy shop/p${i}`);
  }
});

test('an object that is defined twice is told with the place of the one that counts', async (t) => {
  const f = fixture(t);
  await f.startSwitch();
  f.write('a.yaml', policyManifest('shop', 'deny'));
  f.write('b.yaml', `${podManifest('shop', 'web')}${policyManifest('shop', 'deny')}`);
  const workload = {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { namespace: 'shop', name: 'api' },
  };
  const template = {
    metadata: { labels: { app: 'api' } },
    spec: { containers: [{ name: 'c', image: 'i' }] },
  };
  const deployment = { ...workload, spec: { selector: { matchLabels: { app: 'api' } }, template } };
  f.write('c.json', JSON.stringify({ apiVersion: 'v1', kind: 'List', items: [deployment, deployment] }));
  await f.startAgent();
  const { problems } = await (await f.client()).request('sync', {});
  const places = problems
    .filter(({ code }) => code === 'duplicate-object')
    .map(({ message, source }) => [
      /The (\S+ \S+) is/.exec(message)?.[1],
      source?.file?.slice(-6),
      source?.line,
    ]);
  const policy = places.find(([name]) => name === 'policy shop/deny');
  assert.deepEqual(policy, ['policy shop/deny', 'b.yaml', 8]);
  const pod = places.find(([name]) => String(name).startsWith('pod shop/api'));
  assert.deepEqual(pod?.slice(1), ['c.json', 1]);
});

test('changes of the folder are seen without being asked for', async (t) => {
  const f = fixture(t);
  const double = await f.startSwitch();
  await f.startAgent();
  await eventually('the empty folder is published', () => double.publications.length > 0);
  f.write('late.yaml', policyManifest('shop', 'late'));
  await eventually('the new policy is published', () => double.last?.imageText === 'policy shop/late');
});

test('many changes during one publication make one compile and one publication', async (t) => {
  const f = fixture(t);
  const double = await f.startSwitch();
  const running = await f.startAgent();
  const client = await f.client();
  await client.request('sync', {});
  double.held = true;
  f.write('0.yaml', policyManifest('shop', 'p0'));
  const first = client.request('sync', {});
  const published = double.publications.length;
  await eventually('the first change is under way', () => double.publications.length === published + 1);
  for (let i = 1; i <= 50; i++) f.write(`${i}.yaml`, policyManifest('shop', `p${i}`));
  const compiles = running.agent.compiles.count;
  const all = client.request('sync', {});
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.equal(double.publications.length, published + 1, 'nothing more while one is under way');
  double.release();
  await Promise.all([first, all]);
  assert.equal(double.last?.imageText?.split('\n').length, 51);
  assert.ok(running.agent.compiles.count <= compiles + 2);
  assert.ok(
    double.publications.length <= published + 3,
    `${double.publications.length - published} publications for 51 files`,
  );
});

test('a restarted switch gets everything again, without a new compile', async (t) => {
  const f = fixture(t);
  f.write('web.yaml', podManifest('shop', 'web'));
  const first = await f.startSwitch();
  const running = await f.startAgent();
  const client = await f.client();
  await client.request('attach', web);
  const before = first.last!;
  const compiles = running.agent.compiles.count;
  await first.kill();
  await eventually('the agent notices', () => running.agent.link === null);
  assert.equal(running.agent.ready, false);
  const second = await f.startSwitch(first);
  await eventually(
    'everything is published again',
    () => second.publications.length === 1 && running.agent.ready,
  );
  assert.deepEqual(second.last?.ports, before.ports);
  assert.equal(second.last?.imageText, before.imageText);
  assert.equal(running.agent.compiles.count, compiles);
});

test('a refused image is told, keeps the agent unready, and heals with the next one', async (t) => {
  const f = fixture(t);
  const double = await f.startSwitch();
  double.refuseImage = 'section 3 is damaged';
  const running = await f.startAgent();
  const client = await f.client();
  await assert.rejects(client.request('sync', {}), code('image-refused'));
  const status = await client.request('status');
  assert.equal(status.ready, false);
  assert.equal(status.imageError, 'section 3 is damaged');
  double.refuseImage = null;
  f.write('x.yaml', policyManifest('shop', 'x'));
  await client.request('sync', {});
  assert.equal(running.agent.ready, true);
});

test('a compile that fails keeps the image before in force and says why', async (t) => {
  const f = fixture(t);
  const double = await f.startSwitch();
  let broken = false;
  const { WeftError } = await import('../../../src/errors/problem.js');
  const running = await f.startAgent({}, (request) => {
    if (broken) throw new WeftError('classes-exhausted', 'There are too many peer classes.');
    return readableCompile(request);
  });
  const client = await f.client();
  f.write('a.yaml', policyManifest('shop', 'a'));
  await client.request('sync', {});
  broken = true;
  f.write('b.yaml', policyManifest('shop', 'b'));
  await assert.rejects(client.request('sync', {}), code('classes-exhausted'));
  assert.equal(double.last?.imageText, 'policy shop/a');
  assert.equal(running.agent.ready, false);
  assert.equal(existsSync(double.last!.image!), true, 'the file of the image in force stays');
});

test('image files do not pile up', async (t) => {
  const f = fixture(t);
  await f.startSwitch();
  await f.startAgent();
  const client = await f.client();
  for (let i = 0; i < 10; i++) {
    f.write('one.yaml', policyManifest('shop', `p${i}`));
    await client.request('sync', {});
  }
  assert.ok(readdirSync(join(f.run, 'images')).length <= 2);
});

test('workloads of the folder are pods of the world; what is wrong with an object is told with its place', async (t) => {
  const f = fixture(t);
  f.write(
    'all.yaml',
    `apiVersion: apps/v1
kind: StatefulSet
metadata: { namespace: shop, name: db }
spec:
  replicas: 2
  selector: { matchLabels: { app: db } }
  template: { metadata: { labels: { app: db } }, spec: { containers: [{ name: main, image: none }] } }
---
${policyManifest('shop', 'deny').replace('podSelector', 'posSelector')}`,
  );
  const double = await f.startSwitch();
  await f.startAgent();
  const client = await f.client();
  const { problems } = await client.request('sync', {});
  assert.equal(double.last?.imageText, 'pod shop/db-0\npod shop/db-1\npolicy shop/deny');
  const unknown = problems.find(({ code }) => code === 'unknown-field');
  assert.equal(unknown?.source?.line, 12);
  assert.match(unknown?.message ?? '', /posSelector/);
});

test('a file that is written again with other line numbers makes no compile; one changed object touches only itself', async (t) => {
  const f = fixture(t);
  f.write('all.yaml', podManifest('shop', 'web') + policyManifest('shop', 'deny'));
  await f.startSwitch();
  const running = await f.startAgent();
  const client = await f.client();
  await client.request('sync', {});
  const { world } = running.agent.state;
  const before = { revision: world.revision, compiles: running.agent.compiles.count };
  f.write('all.yaml', `# a line more\n${podManifest('shop', 'web')}${policyManifest('shop', 'deny')}`);
  await client.request('sync', {});
  assert.deepEqual({ revision: world.revision, compiles: running.agent.compiles.count }, before);
  f.write(
    'all.yaml',
    podManifest('shop', 'web') + policyManifest('shop', 'deny').replace('Ingress', 'Egress'),
  );
  await client.request('sync', {});
  assert.deepEqual(world.touchedSince(before.revision), [{ kind: 'policy', key: 'shop/deny' }]);
});

test('the first change after a quiet tick is published at once, those behind it together', async (t) => {
  const f = fixture(t);
  const double = await f.startSwitch();
  let compiles = 0;
  const tick = 400_000; // µs
  await f.startAgent({ agent: { tick, reconnect: 20_000 } }, (request) => {
    compiles++;
    return readableCompile(request);
  });
  const client = await f.client();
  await client.request('sync', {});
  await new Promise((resolve) => setTimeout(resolve, tick / 1000));
  const before = { compiles, publications: double.publications.length };
  const policies = Array.from({ length: 20 }, (_, i) => policyManifest('shop', `p${i}`));
  f.write('first.yaml', policyManifest('shop', 'first'));
  await eventually('it is published', () => double.last?.imageText === 'policy shop/first');
  for (const [i, text] of policies.entries()) f.write(`p${i}.yaml`, text);
  await eventually('all are published', () => double.last?.imageText?.split('\n').length === 21);
  assert.deepEqual(
    { compiles, publications: double.publications.length },
    { compiles: before.compiles + 2, publications: before.publications + 2 },
  );
});

test('a publication whose ports are those of the one before says so; another port, switch or a refusal brings the list', async (t) => {
  const f = fixture(t);
  f.write('web.yaml', podManifest('shop', 'web'));
  const double = await f.startSwitch();
  await f.startAgent();
  const client = await f.client();
  await client.request('sync', {});
  await client.request('attach', web);
  await client.request('sync', {});
  const change = async (name: string) => {
    f.write(`${name}.yaml`, policyManifest('shop', name));
    await client.request('sync', {});
  };
  await change('one');
  const before = double.publications.at(-2);
  assert.equal(double.last?.portsOf, before?.revision);
  assert.deepEqual(double.last?.ports, before?.ports);
  assert.equal(double.last?.ports.filter(({ kind }) => kind === 'pod').length, 1);
  assert.match(double.last?.imageText ?? '', /policy shop\/one$/);

  f.write('api.yaml', podManifest('shop', 'api'));
  await client.request('attach', { ...web, name: 'api', netns: '/run/netns/api' });
  assert.equal(double.last?.ports.filter(({ kind }) => kind === 'pod').length, 2);
  const two = double.publications.find(
    ({ ports }) => ports.filter(({ kind }) => kind === 'pod').length === 2,
  );
  assert.equal(two?.portsOf, undefined);
  await client.request('detach', web);
  assert.equal(double.last?.portsOf, undefined);

  // Another connection has to be told everything.
  await double.kill();
  const successor = await f.startSwitch(double);
  await eventually('the switch has been told', () => successor.publications.length > 0);
  assert.equal(successor.publications[0]?.portsOf, undefined);
  assert.equal(successor.publications[0]?.ports.filter(({ kind }) => kind === 'pod').length, 1);

  // A switch of the older version knows no references.
  await successor.kill();
  const old = await f.startSwitch(successor);
  old.version = 1;
  await eventually('the old switch has been told', () => old.publications.length > 0);
  await change('two');
  assert.match(old.last?.imageText ?? '', /policy shop\/two/);
  assert.ok(old.publications.every(({ portsOf }) => portsOf === undefined));
});
