/** The Kubernetes API as a source, against a server that speaks the real protocol and misbehaves as real ones do. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Problem } from '../../../src/errors/problem.js';
import { KubeClient } from '../../../src/kube/client.js';
import { KubeSource } from '../../../src/kube/source.js';
import { eventually } from '../../support/agent-fixture.js';
import { type ApiObject, statusObject } from '../../support/api-server.js';
import {
  apiServer,
  namespace,
  plainAccess,
  pod,
  policy,
  quick,
  service,
  watching,
} from '../../support/kube.js';

test('what was there, what comes, what changes and what goes', async (t) => {
  const server = await apiServer(t);
  for (let i = 0; i < 25; i++) server.put('pods', pod(`p${i}`, { app: 'a' }));
  server.put('namespaces', namespace('default', { team: 'red' }));
  server.put('networkpolicies', policy('deny'));
  server.put('nodes', {
    metadata: { name: 'n1' },
    status: { addresses: [{ type: 'InternalIP', address: '192.0.2.1' }] },
  });
  const it = watching(t, server, { page: 10 });
  await it.caughtUp();
  assert.equal(it.synced(), true);
  assert.equal(it.source.size, 28);
  const pages = server.seen.filter(({ path, query }) => path === '/api/v1/pods' && query.watch === undefined);
  assert.deepEqual(
    pages.map(({ query }) => [query.limit, query.continue !== undefined]),
    [
      ['10', false],
      ['10', true],
      ['10', true],
    ],
  );
  server.put('pods', pod('p3', { app: 'b' }));
  server.put('pods', pod('new'));
  server.put('services', service('web'));
  server.delete('pods', 'p4', 'default');
  server.delete('networkpolicies', 'deny', 'default');
  await it.caughtUp();
  assert.equal(it.world.get('pod', 'default/p3')?.labels.get('app'), 'b');
  assert.equal(it.world.get('pod', 'default/p4'), undefined);
  assert.equal(it.world.all('policy').size, 0);
  assert.deepEqual(it.problems(), []);
  assert.ok(
    it.source.watches.every(({ lists, failures, garbled }) => lists === 1 && failures === 0 && garbled === 0),
  );
});

test('an object whose change means nothing to weft makes no event', async (t) => {
  const server = await apiServer(t);
  server.put('pods', pod('p'));
  const it = watching(t, server);
  await it.caughtUp();
  const before = it.events.length;
  server.put(
    'pods',
    pod('p', {}, { metadata: { namespace: 'default', name: 'p', labels: {}, annotations: { a: 'b' } } }),
  );
  server.put('pods', pod('q'));
  await it.caughtUp();
  assert.deepEqual(
    it.events.slice(before).map((event) => event.type === 'upsert' && event.object.name),
    ['q'],
  );
});

test('it is synced only when all six lists are in', async (t) => {
  const server = await apiServer(t);
  let wrong = true;
  server.misbehave = ({ path }) =>
    wrong && path.endsWith('/networkpolicies') ? { status: 500, body: 'etcd leader changed' } : undefined;
  const it = watching(t, server);
  await eventually(
    'five kinds are watched',
    () => it.source.watches.filter(({ state }) => state === 'watching').length === 5,
  );
  assert.equal(it.synced(), false);
  assert.match(it.problems()[0]?.message ?? '', /500.*etcd leader changed/);
  wrong = false;
  await it.caughtUp();
  assert.equal(it.synced(), true);
  assert.deepEqual(it.problems(), []);
});

for (const how of ['end', 'mid-line', 'reset'] as const)
  test(`a watch that ${how === 'end' ? 'ends' : how === 'reset' ? 'is reset' : 'is cut in the middle of a line'} goes on from where it was, without a list`, async (t) => {
    const server = await apiServer(t);
    server.put('networkpolicies', policy('deny'));
    const it = watching(t, server);
    await it.caughtUp();
    server.put('pods', pod('a'));
    await it.caughtUp();
    server.endWatches(how);
    server.put('pods', pod('b'));
    server.delete('pods', 'a', 'default');
    await it.caughtUp();
    assert.deepEqual([...it.world.all('pod').keys()], ['default/b']);
    assert.ok(it.source.watches.every(({ lists }) => lists === 1));
    assert.equal(it.events.filter(({ kind }) => kind === 'policy').length, 1, 'the policy did not flap');
  });

for (const how of ['event', 'status'] as const)
  test(`410 as ${how} brings a list that is compared with what is held`, async (t) => {
    const server = await apiServer(t);
    server.put('networkpolicies', policy('stays'));
    server.put('networkpolicies', policy('goes'));
    server.put('pods', pod('stays'));
    server.put('pods', pod('goes'));
    const it = watching(t, server);
    await it.caughtUp();
    const before = it.events.length;
    if (how === 'status') {
      let left = 6;
      server.misbehave = ({ query }) =>
        query.watch !== undefined && left-- > 0
          ? { status: 410, body: JSON.stringify(statusObject(410, 'too old resource version', 'Expired')) }
          : undefined;
    }
    server.endWatches('reset');
    server.delete('pods', 'goes', 'default');
    server.delete('networkpolicies', 'goes', 'default');
    server.put('pods', pod('comes'));
    server.compact();
    await it.caughtUp();
    const told = it.events
      .slice(before)
      .map((event) => `${event.type} ${event.type === 'upsert' ? event.object.name : event.name}`);
    assert.deepEqual(told.sort(), ['delete goes', 'delete goes', 'upsert comes']);
    assert.deepEqual(it.problems(), [], 'an old version is nothing to tell people');
  });

test('an ERROR event of another kind goes on from the same version', async (t) => {
  const server = await apiServer(t);
  const it = watching(t, server);
  await it.caughtUp();
  server.endWatches({ status: 500 });
  server.put('pods', pod('a'));
  await it.caughtUp();
  assert.ok(it.source.watches.every(({ lists }) => lists === 1));
});

test('a continue token that has expired begins the list again; if that goes on, without pages', async (t) => {
  const server = await apiServer(t);
  for (let i = 0; i < 5; i++) server.put('pods', pod(`p${i}`));
  const asked: (string | undefined)[] = [];
  server.misbehave = ({ path, query }) => {
    if (path !== '/api/v1/pods' || query.watch !== undefined) return undefined;
    asked.push(query.limit);
    if (query.continue !== undefined) {
      server.put('pods', pod('late'));
      server.compact();
    }
    return undefined;
  };
  const it = watching(t, server, { page: 2 });
  await it.caughtUp();
  assert.deepEqual(asked, ['2', '2', '2', '2', undefined]);
  assert.equal(it.world.all('pod').size, 6);
});

test('problems of objects are told when they are others, and not at every event beside them', async (t) => {
  const admitting = (name: string, cidr: string): ApiObject => ({
    metadata: { namespace: 'default', name },
    spec: { podSelector: {}, ingress: [{ from: [{ ipBlock: { cidr } }] }] },
  });
  const server = await apiServer(t);
  server.put('networkpolicies', admitting('broken', 'nonsense'));
  const source = new KubeSource({
    client: new KubeClient(plainAccess(server.url)),
    log: () => {},
    settings: quick,
  });
  t.after(() => source.stop());
  let told = 0;
  let last: readonly Problem[] = [];
  source.start({
    apply: () => {},
    synced: () => {},
    problems: (problems) => {
      told++;
      last = problems;
    },
  });
  await eventually('all is watched', () => source.watches.every(({ state }) => state === 'watching'));
  assert.equal(last.length, 1);
  const before = told;
  for (let i = 0; i < 20; i++) {
    server.put('networkpolicies', admitting(`good-${i}`, '10.0.0.0/8'));
    server.put('networkpolicies', admitting('broken', 'nonsense'));
    await eventually('it has come', () => source.size === 2 + i);
  }
  assert.equal(told, before);
  server.put('networkpolicies', admitting('other', 'nonsense'));
  await eventually('the new one is told', () => last.length === 2);
  server.put('networkpolicies', admitting('broken', '10.0.0.0/8'));
  server.delete('networkpolicies', 'other', 'default');
  await eventually('and that both are well', () => last.length === 0);
});
