/** Events on pods for denied traffic, against an API server over HTTP: made once, patched with counts, within budgets, and of no weight. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { type PodEventResult, PodEvents } from '../../../src/agent/pod-events.js';
import type { FlowRecord } from '../../../src/agent/protocol/events.js';
import { KubeClient } from '../../../src/kube/client.js';
import type { Pod } from '../../../src/model/pod.js';
import { eventually } from '../../support/agent-fixture.js';
import { type Misbehaviour, statusObject } from '../../support/api-server.js';
import { apiServer, plainAccess } from '../../support/kube.js';

interface KubeEvent {
  readonly metadata: { readonly namespace: string; readonly name: string };
  readonly involvedObject: {
    readonly kind: string;
    readonly name: string;
    readonly namespace: string;
    readonly uid?: string;
  };
  readonly reason: string;
  readonly type: string;
  readonly message: string;
  readonly count: number;
  readonly firstTimestamp: string;
  readonly lastTimestamp: string;
}

const begin = Date.UTC(2026, 0, 2, 3, 4, 5);
const pod = (name: string): Pod => ({
  namespace: 'shop',
  name,
  uid: `uid-${name}`,
  labels: new Map(),
  addresses: [],
  hostAddresses: [],
  hostNetwork: false,
  nodeName: 'here',
  phase: 'Running',
  terminating: false,
  ready: true,
  created: '',
  ports: [],
});

const denied = (change: Partial<FlowRecord> = {}): FlowRecord => ({
  time: '',
  verdict: 'denied',
  reason: 'policy-ingress',
  family: 4,
  protocol: 'TCP',
  source: { address: '10.42.0.9', port: 40_000, kind: 'pod', name: 'shop/web' },
  destination: { address: '10.42.0.3', port: 3306, kind: 'pod', name: 'shop/db' },
  rules: [],
  isolatedBy: ['shop/deny'],
  ...change,
});
const toPort = (port: number) =>
  denied({ destination: { address: '10.42.0.3', port, kind: 'pod', name: 'shop/db' } });

async function telling(t: TestContext) {
  const server = await apiServer(t);
  const stored = new Map<string, KubeEvent>();
  const writes: string[] = [];
  /** Set: every write is answered so. */
  const refusal: { now: ReturnType<Misbehaviour> } = { now: undefined };
  server.misbehave = ({ method, path, body }) => {
    if (method !== 'POST' && method !== 'PATCH') return undefined;
    writes.push(method);
    if (refusal.now !== undefined) return refusal.now;
    const answer = (status: number, value: unknown) => ({ status, body: JSON.stringify(value) });
    const parts = /^\/api\/v1\/namespaces\/([^/]+)\/events(?:\/([^/]+))?$/.exec(path);
    if (parts === null) return answer(404, statusObject(404, 'not found'));
    const given = JSON.parse(body) as KubeEvent;
    if (method === 'POST') {
      if (stored.has(given.metadata.name)) return answer(409, statusObject(409, 'already exists'));
      stored.set(given.metadata.name, given);
      return answer(201, given);
    }
    const held = stored.get(parts[2] ?? '');
    if (held === undefined) return answer(404, statusObject(404, 'not found'));
    stored.set(parts[2]!, { ...held, ...given });
    return answer(200, stored.get(parts[2]!));
  };
  const client = new KubeClient(plainAccess(server.url));
  t.after(() => client.close());
  /** `set`: by how much somebody has set the date, milliseconds. */
  const state = { now: begin, set: 0, enabled: true };
  const results: PodEventResult[] = [];
  const logged: string[] = [];
  const known = new Map(
    [pod('web'), pod('db'), ...Array.from({ length: 60 }, (_, i) => pod(`p${i}`))].map((one) => [
      one.name,
      one,
    ]),
  );
  const events = new PodEvents({
    node: () => 'here',
    pod: (namespace, name) => (namespace === 'shop' ? known.get(name) : undefined),
    send: (method, path, body) => client.send(method, path, { body, timeout: 5000 }),
    counted: (result) => results.push(result),
    log: (message) => logged.push(message),
    now: () => state.now,
    date: () => state.now + state.set,
    enabled: () => state.enabled,
  });
  const settled = async (count: number) => {
    await eventually(
      `${count} writes are over`,
      () => results.filter((result) => result !== 'unheard').length >= count,
    );
    // The promise's own end follows the count.
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(results.filter((result) => result !== 'unheard').length, count);
  };
  return { server, events, stored, writes, results, refusal, state, logged, known, settled };
}

test('a denial becomes one Event on the pod whose direction denied, with what is needed to mend it', async (t) => {
  const { events, stored, settled } = await telling(t);
  events.take([
    denied(),
    denied({
      reason: 'policy-egress',
      destination: { address: '203.0.113.9', port: 443, kind: 'external', name: '' },
      isolatedBy: [],
    }),
    denied({ verdict: 'allowed' }),
    denied({ verdict: 'dropped', reason: 'multicast' }),
    denied({ destination: { address: '10.42.0.77', port: 1, kind: 'pod', name: 'shop/unknown' } }),
  ]);
  await settled(2);
  const [ingress, egress] = [...stored.values()];
  const { metadata, ...rest } = ingress!;
  assert.match(metadata.name, /^db\.[0-9a-f]{16}$/);
  assert.deepEqual(rest, {
    apiVersion: 'v1',
    kind: 'Event',
    involvedObject: { apiVersion: 'v1', kind: 'Pod', namespace: 'shop', name: 'db', uid: 'uid-db' },
    reason: 'NetworkPolicyDenied',
    type: 'Warning',
    source: { component: 'weft', host: 'here' },
    reportingComponent: 'weft',
    reportingInstance: 'here',
    firstTimestamp: '2026-01-02T03:04:05Z',
    lastTimestamp: '2026-01-02T03:04:05Z',
    count: 1,
    message: 'Denied ingress from pod shop/web port 3306/TCP: no rule allows it (isolated by shop/deny)',
  });
  assert.equal(egress?.involvedObject.name, 'web');
  assert.equal(egress?.message, 'Denied egress to 203.0.113.9 port 443/TCP: no rule allows it');
});

test('more of the same is one Event with a count, written at most once a minute; a quiet series is forgotten', async (t) => {
  const { events, stored, writes, state, settled } = await telling(t);
  events.take([denied()]);
  await settled(1);
  // Client ports differ; it is the same denial.
  for (let i = 0; i < 500; i++)
    events.take([denied({ source: { address: '10.42.0.9', port: i + 1, kind: 'pod', name: 'shop/web' } })]);
  state.now += 59_000;
  events.flush();
  assert.deepEqual(writes, ['POST']);
  state.now += 1000;
  events.flush();
  await settled(2);
  const [event] = [...stored.values()];
  assert.deepEqual(
    [stored.size, event?.count, event?.firstTimestamp, event?.lastTimestamp],
    [1, 501, '2026-01-02T03:04:05Z', '2026-01-02T03:04:05Z'],
  );
  assert.deepEqual(writes, ['POST', 'PATCH']);
  state.now += 600_001;
  events.flush();
  assert.equal(events.size, 0);
  events.take([denied()]);
  await settled(3);
  assert.equal(stored.size, 2, 'another series is another Event');
});

test('an Event that the server has forgotten is made anew', async (t) => {
  const { events, stored, writes, state, settled } = await telling(t);
  events.take([denied()]);
  await settled(1);
  stored.clear();
  events.take([denied()]);
  state.now += 60_000;
  events.flush();
  await settled(2);
  events.flush();
  await settled(3);
  assert.deepEqual(writes, ['POST', 'PATCH', 'POST']);
  assert.equal([...stored.values()][0]?.count, 2);
});

test('a pod that is scanned gets ten Events, and one for all the rest; its budget bounds the writes', async (t) => {
  const { events, stored, writes, state, settled } = await telling(t);
  for (let port = 1; port <= 500; port++) events.take([toPort(port)]);
  await settled(10);
  assert.equal(stored.size, 10);
  assert.equal(events.size, 11);
  state.now += 30_000;
  events.flush();
  await settled(11);
  const others = [...stored.values()].find(({ message }) =>
    message.startsWith('Denied connections of many kinds'),
  );
  assert.equal(others?.count, 490);
  assert.match(others?.message ?? '', /port 500\/TCP/);
  assert.equal(writes.length, 11);
});

test('the node as a whole has a budget, too, and memory is bounded', async (t) => {
  const { events, stored, state, settled, results, known } = await telling(t);
  const from = (index: number) =>
    denied({ destination: { address: '10.42.0.3', port: 80, kind: 'pod', name: `shop/p${index}` } });
  for (let index = 0; index < 60; index++) events.take([from(index)]);
  await settled(25);
  assert.equal(stored.size, 25);
  state.now += 10_000;
  events.flush();
  await settled(35);
  for (let index = 0; index < 2000; index++) {
    known.set(`q${index}`, pod(`q${index}`));
    events.take([
      denied({ destination: { address: '10.42.0.3', port: 80, kind: 'pod', name: `shop/q${index}` } }),
    ]);
  }
  assert.equal(events.size, 1000);
  assert.equal(results.filter((result) => result === 'unheard').length, 2000 - 940);
});

const refusals: readonly (readonly [string, ReturnType<Misbehaviour>])[] = [
  ['no permission', { status: 403, body: JSON.stringify(statusObject(403, 'forbidden')) }],
  ['a server in trouble', { status: 500, body: 'oops' }],
  ['too many requests', { status: 429, body: '' }],
  ['a connection that is cut', 'cut'],
];
for (const [what, how] of refusals) {
  test(`${what}: said once, tried again a minute later, and nothing is thrown or lost`, async (t) => {
    const { events, stored, writes, results, refusal, state, logged, settled } = await telling(t);
    refusal.now = how;
    events.take([denied()]);
    await settled(1);
    events.take([denied(), toPort(22)]);
    state.now += 30_000;
    events.flush();
    const tries = writes.length;
    state.now += 31_000;
    events.flush();
    await eventually('it was tried again', () => writes.length > tries);
    await eventually('it failed again', () => results.length === writes.length);
    await new Promise((resolve) => setImmediate(resolve));
    refusal.now = undefined;
    state.now += 120_000;
    events.flush();
    await eventually('both are told', () => stored.size === 2);
    assert.deepEqual([...stored.values()].map(({ count }) => count).sort(), [1, 2]);
    assert.equal(logged.length, 1);
  });
}

test('a server that never answers holds up nobody: denials are counted meanwhile', async (t) => {
  const { events, refusal, writes } = await telling(t);
  refusal.now = 'silence';
  for (let i = 0; i < 1000; i++) events.take([denied()]);
  await eventually('the write is under way', () => writes.length === 1);
  assert.equal(events.size, 1);
});

test('turned off, nothing is kept or sent', async (t) => {
  const { events, state, writes } = await telling(t);
  state.enabled = false;
  events.take([denied()]);
  assert.deepEqual([events.size, writes.length], [0, 0]);
});

test('a date that is set by hours, either way, holds up no Event and is what Events say', async (t) => {
  const { events, stored, settled, state } = await telling(t);
  events.take([denied()]);
  await settled(1);
  for (const [count, hours, said] of [
    [2, -3, '2026-01-02T00:05:05Z'],
    [3, 3, '2026-01-02T06:06:05Z'],
  ] as const) {
    state.now += 60_000;
    state.set = hours * 3_600_000;
    events.take([denied()]);
    await settled(count);
    const [event] = [...stored.values()];
    assert.equal(event?.count, count);
    assert.equal(event?.lastTimestamp, said);
  }
});
