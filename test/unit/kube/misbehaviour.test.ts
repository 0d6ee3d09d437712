/** What servers, proxies and networks do wrong, one at a time: nothing of it may lose, repeat or invent an object. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { eventually } from '../../support/agent-fixture.js';
import { sixKinds } from '../../support/api-server.js';
import { apiServer, namespace, pod, policy, watching } from '../../support/kube.js';

test('a line that cannot be read is counted, holds up nothing, and a list makes it good', async (t) => {
  const server = await apiServer(t);
  server.put('networkpolicies', policy('stays'));
  const it = watching(t, server);
  await it.caughtUp();
  for (const garbage of [
    '{"type":"ADDED","object":\n',
    'HTTP/1.1 502 Bad Gateway\n',
    '[]\n',
    '{"type":"ADDED","object":{"metadata":{}}}\n',
    '{"type":"SOMETHING","object":{}}\n',
    '{"type":"BOOKMARK","object":{"kind":"Pod"}}\n',
    Buffer.from([0xff, 0xfe, 0x0a]),
  ]) {
    const before = it.source.watches.find(({ resource }) => resource === 'pods')!;
    server.say('pods', garbage);
    server.put('pods', pod(`after-${before.garbled}`));
    await eventually('the list that makes it good', () =>
      it.source.watches.some(({ resource, lists }) => resource === 'pods' && lists > before.lists),
    );
    await it.caughtUp();
  }
  assert.equal(it.source.watches.find(({ resource }) => resource === 'pods')?.garbled, 7);
  assert.equal(it.events.filter(({ kind }) => kind === 'policy').length, 1);
});

test('events that were damaged on their way are in the next list', async (t) => {
  const server = await apiServer(t);
  const it = watching(t, server);
  await it.caughtUp();
  server.encode = (line, resource) => (resource === 'pods' ? [`${line.slice(0, -4)}\n`] : [`${line}\n`]);
  server.put('pods', pod('a'));
  server.put('pods', pod('b'));
  await it.caughtUp();
  assert.equal(it.world.all('pod').size, 2);
});

test('an object too long for an event comes with the list', async (t) => {
  const server = await apiServer(t);
  const it = watching(t, server, { longestEvent: 10_000 });
  await it.caughtUp();
  server.put('pods', pod('fat', {}, { spec: { containers: [{ name: 'c', args: ['x'.repeat(50_000)] }] } }));
  server.put('pods', pod('thin'));
  await it.caughtUp();
  assert.equal(it.world.all('pod').size, 2);
});

test('a page that is too long is asked for in smaller ones', async (t) => {
  const server = await apiServer(t);
  for (let i = 0; i < 40; i++) server.put('pods', pod(`p${i}`));
  const it = watching(t, server, { longestPage: 4000 });
  await it.caughtUp();
  assert.equal(it.world.all('pod').size, 40);
});

test('characters that are split over chunks arrive whole', async (t) => {
  const server = await apiServer(t);
  const it = watching(t, server);
  await it.caughtUp();
  server.encode = (line) => [...Buffer.from(`${line}\n`)].map((byte) => Buffer.from([byte]));
  server.put('namespaces', namespace('n', { owner: 'Zoë-ΩΩ-猫' }));
  await it.caughtUp();
  assert.equal(it.world.get('namespace', 'n')?.labels.get('owner'), 'Zoë-ΩΩ-猫');
});

test('repeated events change nothing, and none of the past comes back', async (t) => {
  const server = await apiServer(t);
  const it = watching(t, server);
  await it.caughtUp();
  const lines: string[] = [];
  server.encode = (line) => {
    lines.push(`${line}\n`);
    return [`${line}\n`, `${line}\n`];
  };
  server.put('pods', pod('a', { v: '1' }));
  server.put('pods', pod('a', { v: '2' }));
  server.put('pods', pod('b'));
  server.delete('pods', 'b', 'default');
  await it.caughtUp();
  const told = it.events.length;
  for (const line of lines) if (!line.includes('"DELETED"')) server.say('pods', line);
  server.put('pods', pod('c'));
  await it.caughtUp();
  assert.equal(it.events.length, told + 1);
  assert.equal(it.world.get('pod', 'default/a')?.labels.get('v'), '2');
});

test('a pod that was deleted and made again under one name is the later one, whatever comes twice', async (t) => {
  const server = await apiServer(t);
  server.put('pods', pod('a', { life: '1' }));
  const it = watching(t, server);
  await it.caughtUp();
  let deletion = '';
  server.encode = (line) => {
    if (line.includes('"DELETED"')) deletion = `${line}\n`;
    return [`${line}\n`];
  };
  server.delete('pods', 'a', 'default');
  server.put('pods', pod('a', { life: '2' }));
  server.say('pods', deletion);
  server.put('pods', pod('z'));
  await it.caughtUp();
  assert.equal(it.world.get('pod', 'default/a')?.labels.get('life'), '2');
});

test('kinds are in no order with each other', async (t) => {
  const server = await apiServer(t);
  const it = watching(t, server);
  await it.caughtUp();
  server.holdBack('namespaces');
  server.put('namespaces', namespace('default', { team: 'red' }));
  server.put('pods', pod('a'));
  await eventually('the pod came first', () => it.world.all('pod').size === 1);
  assert.equal(it.world.all('namespace').size, 0);
  server.release();
  await it.caughtUp();
});

test('429 waits as long as the server asks', async (t) => {
  const server = await apiServer(t);
  const asked: number[] = [];
  server.misbehave = ({ path }) => {
    if (path !== '/api/v1/nodes' || asked.length > 1) return undefined;
    asked.push(performance.now());
    return asked.length === 1 ? { status: 429, headers: { 'retry-after': '1' } } : undefined;
  };
  const it = watching(t, server);
  await it.caughtUp();
  assert.ok(asked[1]! - asked[0]! >= 990, 'not before');
});

test('403 names the rule that is missing; once it is there all goes on', async (t) => {
  const server = await apiServer(t);
  let denied = true;
  server.misbehave = ({ path }) =>
    denied && path.includes('/endpointslices')
      ? {
          status: 403,
          body: '{"kind":"Status","message":"endpointslices is forbidden: User \\"weft\\" cannot list"}',
        }
      : undefined;
  const it = watching(t, server);
  await eventually('it is told', () => it.problems().length > 0);
  const [problem] = it.problems();
  assert.equal(problem?.code, 'kube-forbidden');
  assert.match(problem?.message ?? '', /may not watch endpointslices.*cannot list/);
  assert.match(
    problem?.fix ?? '',
    /apiGroups: \["discovery.k8s.io"\], resources: \["endpointslices"\], verbs: \["list", "watch"\]/,
  );
  assert.equal(it.synced(), false);
  denied = false;
  await it.caughtUp();
  assert.deepEqual(it.problems(), []);
});

test('a token that is no longer accepted: what is known stays, and a new token brings everything up to date', async (t) => {
  const server = await apiServer(t);
  const place = mkdtempSync(join(tmpdir(), 'weft-kube-'));
  t.after(() => rmSync(place, { recursive: true, force: true }));
  const path = join(place, 'token');
  writeFileSync(path, 'one');
  server.tokens = new Set(['one']);
  server.put('networkpolicies', policy('stays'));
  const it = watching(t, server, {}, { token: { kind: 'file', path } });
  await it.caughtUp();
  server.tokens = new Set(['two']);
  server.endWatches('reset');
  await eventually('it is told', () => it.problems().some(({ code }) => code === 'kube-unauthorized'));
  server.put('pods', pod('a'));
  assert.equal(it.world.all('policy').size, 1);
  writeFileSync(path, 'two');
  await it.caughtUp();
  assert.deepEqual(it.problems(), []);
  assert.equal(it.events.filter(({ kind }) => kind === 'policy').length, 1);
});

test('a stream that falls silent after bookmarks is given up and taken up again', async (t) => {
  const server = await apiServer(t);
  const it = watching(t, server, { silence: 60 });
  await it.caughtUp();
  server.bookmark();
  // Comes after the bookmark on the same stream.
  server.put('pods', pod('marker'));
  await it.caughtUp();
  const watches = () =>
    server.seen.filter(({ path, query }) => path === '/api/v1/pods' && query.watch !== undefined).length;
  const before = watches();
  server.stall();
  server.put('pods', pod('unheard'));
  await eventually('the watch began again', () => watches() > before);
  await it.caughtUp();
  assert.ok(it.source.watches.every(({ lists }) => lists === 1));
});

test('a server that answers nothing at all is given up after our own patience', async (t) => {
  const server = await apiServer(t);
  let silent = true;
  server.misbehave = () => (silent ? 'silence' : undefined);
  const it = watching(t, server, { patience: 150 });
  await eventually('it is told', () =>
    it.problems().some(({ message }) => message.includes('did not answer')),
  );
  silent = false;
  await it.caughtUp();
});

test('a list that comes slowly is waited for as long as it comes', async (t) => {
  const server = await apiServer(t);
  for (let i = 0; i < 30; i++) server.put('pods', pod(`p${i}`));
  server.misbehave = ({ query }) => (query.watch === undefined ? { trickle: 20, pieces: 30 } : undefined);
  // The whole takes longer than the patience for the next piece.
  const it = watching(t, server, { patience: 400 });
  await it.caughtUp();
  assert.ok(it.source.watches.every(({ lists }) => lists === 1));
});

test('a watch that is never answered is given up too', async (t) => {
  const server = await apiServer(t);
  server.put('pods', pod('a'));
  let silent = true;
  server.misbehave = ({ query }) => (silent && query.watch !== undefined ? 'silence' : undefined);
  const it = watching(t, server, { patience: 150 });
  await eventually('it is told', () =>
    it.problems().some(({ message }) => message.includes('did not begin to answer')),
  );
  await eventually('the lists are enough', () => it.synced());
  silent = false;
  await it.caughtUp();
});

test('the server away and back: nothing is taken away, one problem says so, and what was missed comes without a list', async (t) => {
  const server = await apiServer(t);
  server.put('networkpolicies', policy('stays'));
  server.put('pods', pod('a'));
  const it = watching(t, server);
  await it.caughtUp();
  const before = it.events.length;
  await server.down();
  await eventually('every kind is away', () => it.source.watches.every(({ state }) => state === 'away'));
  assert.deepEqual(
    it.problems().map(({ code }) => code),
    ['kube-away'],
  );
  assert.match(it.problems()[0]?.message ?? '', /What was known before stays in force/);
  assert.equal(it.events.length, before);
  await eventually('the log reminds', () => it.logged.some((line) => line.includes('still away')));
  server.put('pods', pod('b'));
  await server.up();
  await it.caughtUp();
  assert.deepEqual(it.problems(), []);
  await eventually('the log says so', () => it.logged.includes('the API server is back'));
  assert.equal(it.events.length, before + 1);
  assert.ok(it.source.watches.every(({ lists, failures }) => lists === 1 && failures > 0));
});

test('a server whose history began anew (a backup was put back) is listed again', async (t) => {
  const server = await apiServer(t);
  server.put('pods', pod('a', { v: 'old' }));
  server.put('pods', pod('b'));
  for (let i = 0; i < 50; i++) server.put('nodes', { metadata: { name: 'n', labels: { i: String(i) } } });
  const it = watching(t, server);
  await it.caughtUp();
  await server.down();
  await eventually('every kind is away', () => it.source.watches.every(({ state }) => state === 'away'));
  server.put('pods', pod('a', { v: 'restored' }));
  server.delete('pods', 'b', 'default');
  server.turnBack(40);
  await server.up();
  await it.caughtUp();
  assert.equal(it.world.get('pod', 'default/a')?.labels.get('v'), 'restored');
  server.put('pods', pod('a', { v: 'new' }));
  await it.caughtUp();
});

test('versions need be no numbers', async (t) => {
  const server = await apiServer(t);
  server.versionText = (version) => `v-${version.toString(36)}`;
  server.put('pods', pod('a'));
  const it = watching(t, server);
  await it.caughtUp();
  server.put('pods', pod('a', { v: '2' }));
  server.endWatches('reset');
  server.put('pods', pod('b'));
  await it.caughtUp();
  server.compact();
  server.endWatches('reset');
  server.delete('pods', 'b', 'default');
  await it.caughtUp();
});

test('EndpointSlices of a server that has only v1beta1, and after its upgrade only v1', async (t) => {
  const older = { ...sixKinds, endpointslices: ['discovery.k8s.io/v1beta1', 'EndpointSlice'] as const };
  const server = await apiServer(t, { served: older });
  server.put('endpointslices', {
    metadata: { namespace: 'default', name: 'web-1', labels: { 'kubernetes.io/service-name': 'web' } },
    addressType: 'IPv4',
    ports: [{ name: '', port: 80 }],
    endpoints: [{ addresses: ['10.42.0.9'], topology: { 'kubernetes.io/hostname': 'n1' } }],
  });
  const it = watching(t, server);
  await it.caughtUp();
  assert.equal(it.world.get('slice', 'default/web-1')?.endpoints[0]?.nodeName, 'n1');
  const { port } = server;
  await server.down();
  const newer = await apiServer(t, { port });
  newer.put('pods', pod('a'));
  await it.caughtUp();
});

test('a pod that the watch has not told yet is asked for by name', async (t) => {
  const server = await apiServer(t);
  const it = watching(t, server);
  await it.caughtUp();
  server.holdBack('pods');
  server.holdBack('namespaces');
  server.put('namespaces', namespace('default', { team: 'red' }));
  server.put('pods', pod('a', { v: '1' }));
  server.put('pods', pod('a', { v: '2' }));
  assert.equal(await it.source.lookUp('default', 'a'), 'known');
  assert.equal(it.world.get('pod', 'default/a')?.labels.get('v'), '2');
  assert.equal(it.world.get('namespace', 'default')?.labels.get('team'), 'red');
  assert.equal(await it.source.lookUp('default', 'nobody'), 'absent');
  // The watch comes late with an older state: nothing goes back.
  const before = it.events.length;
  server.release();
  server.put('pods', pod('last'));
  await it.caughtUp();
  assert.deepEqual(
    it.events.slice(before).map((event) => event.type === 'upsert' && event.object.name),
    ['last'],
  );
  server.misbehave = ({ path }) => (path.endsWith('/pods/b') ? { status: 500 } : undefined);
  assert.equal(await it.source.lookUp('default', 'b'), 'away');
  await server.down();
  assert.equal(await it.source.lookUp('default', 'c'), 'away');
});

test('a list that lags behind a pod that was asked for by name does not take it away', async (t) => {
  const server = await apiServer(t);
  const it = watching(t, server);
  await it.caughtUp();
  server.holdBack('pods');
  server.put('pods', pod('a'));
  await it.source.lookUp('default', 'a');
  server.endWatches({ status: 410 }, 'pods');
  const stale = JSON.stringify({
    kind: 'PodList',
    metadata: { resourceVersion: String(server.version - 1) },
    items: [],
  });
  let lists = 0;
  server.misbehave = ({ path, query }) =>
    path === '/api/v1/pods' && query.watch === undefined && lists++ === 0
      ? { status: 200, body: stale }
      : undefined;
  await eventually('it was listed', () => lists > 0);
  server.release();
  await it.caughtUp();
  assert.equal(it.events.filter(({ type }) => type === 'delete').length, 0);
});

test('refresh brings what a held-back watch has not told, or says that the server is away', async (t) => {
  const server = await apiServer(t);
  const it = watching(t, server);
  await it.caughtUp();
  server.holdBack('pods');
  server.put('pods', pod('a'));
  await it.source.refresh();
  assert.equal(it.world.all('pod').size, 1);
  await server.down();
  await assert.rejects(it.source.refresh(), { code: 'kube-away' });
});

test('stopping ends everything at once, in whatever state', async (t) => {
  const server = await apiServer(t);
  for (const behaviour of [undefined, 'silence', 'cut'] as const) {
    server.misbehave = () => behaviour;
    const it = watching(t, server);
    if (behaviour === undefined) await it.caughtUp();
    const refreshing = it.source.refresh();
    const seen = server.seen.length;
    it.source.stop();
    await assert.rejects(refreshing);
    await new Promise((resolve) => setTimeout(resolve, 30));
    // Requests that were on their way may still arrive; no new ones follow.
    const settled = server.seen.length;
    assert.ok(settled <= seen + 12);
    await new Promise((resolve) => setTimeout(resolve, 60));
    assert.equal(server.seen.length, settled);
  }
});
