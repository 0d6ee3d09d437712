/** A trial of policies in the agent: what is published beside the image in force, for how long, and what the client is told. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { AgentClient } from '../../../src/agent/client.js';
import type { Compile } from '../../../src/agent/compile.js';
import type { TrialRow } from '../../../src/agent/protocol/events.js';
import type { TrialRequest } from '../../../src/agent/protocol/requests.js';
import type { AgentEvent } from '../../../src/agent/protocol.js';
import type { FlowEvent, TrialEvent } from '../../../src/dataplane/protocol/events.js';
import type { WeftError } from '../../../src/errors/problem.js';
import {
  eventually,
  fixture,
  podManifest,
  policyManifest,
  readableCompile,
} from '../../support/agent-fixture.js';

const web = { namespace: 'shop', name: 'web', uid: '', netns: '/run/netns/web', ifname: 'eth0' };
const service = `apiVersion: v1
kind: Service
metadata: { namespace: shop, name: db }
spec: { clusterIP: 10.43.0.9, clusterIPs: [10.43.0.9], ports: [{ port: 3306 }] }
---
`;
const frontend = `apiVersion: v1
kind: Pod
metadata: { namespace: shop, name: front-7d4b9c5f6-x2x4z, labels: { pod-template-hash: 7d4b9c5f6 } }
status: { podIPs: [{ ip: 10.42.9.1 }] }
---
`;

async function ready(t: Parameters<typeof fixture>[0], overrides: object = {}) {
  const f = fixture(t);
  f.write('all.yaml', podManifest('shop', 'web') + policyManifest('shop', 'deny') + service + frontend);
  const double = await f.startSwitch();
  const running = await f.startAgent(overrides);
  const client = await f.client();
  await client.request('attach', web);
  await eventually('the agent reads flows', () => double.subscriptions.includes('flows'));
  return { f, double, running, client };
}

const request = (change: Partial<TrialRequest> = {}): Omit<TrialRequest, 'id'> => ({
  type: 'trial',
  manifests: [{ file: 'new.yaml', text: policyManifest('shop', 'open') }],
  remove: [],
  seconds: 600,
  ...change,
});

/** Subscribes; what comes, and how it ends. */
function tryOut(client: AgentClient, asked: Omit<TrialRequest, 'id'>) {
  const events: AgentEvent[] = [];
  let error: WeftError | null = null;
  const end = client
    .subscribe(asked, (event) => events.push(event))
    .catch((thrown: WeftError) => {
      error = thrown;
    });
  return {
    events,
    end,
    get error() {
      return error as WeftError | null;
    },
    get rows(): Map<number, TrialRow> {
      return new Map(
        events.flatMap((event) =>
          event.event === 'trial' ? event.rows.map((row) => [row.id, row] as const) : [],
        ),
      );
    },
    get over() {
      return events.find((event) => event.event === 'trial-over');
    },
  };
}

const flow = (change: Partial<FlowEvent> = {}): FlowEvent => ({
  time: Date.UTC(2026, 0, 2, 3, 4, 5),
  verdict: 'allowed',
  protocol: 6,
  family: 4,
  source: { address: '10.42.9.1', port: 40_000 },
  destination: { address: '10.43.0.9', port: 3306 },
  translated: { address: '10.42.0.2', port: 3307 },
  ...change,
});
const wouldDeny = (change: Partial<FlowEvent> = {}): TrialEvent => ({
  actual: flow(change),
  shadow: { verdict: 'denied', reason: 'policy-ingress', isolatedBy: ['shop/open'] },
});
const counts = { judged: 9, denied: 2, allowed: 0, unnamed: 1 };

test('the shadow is the world with the policies put in, replaced and left out, and the real image is what it was', async (t) => {
  const { f, double, client } = await ready(t);
  const before = double.last!;
  const follower = await f.client();
  const trial = tryOut(follower, request({ remove: ['shop/deny'] }));
  await eventually('a shadow is published', () => double.last!.shadowText !== null);
  assert.equal(double.last!.imageText, before.imageText);
  assert.match(before.imageText!, /policy shop\/deny/);
  assert.doesNotMatch(double.last!.shadowText!, /policy shop\/deny/);
  assert.match(double.last!.shadowText!, /policy shop\/open/);
  assert.deepEqual(double.last!.ports, before.ports);
  // The world goes on: both images follow, together.
  f.write('more.yaml', podManifest('shop', 'late') + policyManifest('shop', 'later'));
  await client.request('sync');
  assert.match(double.last!.shadowText!, /pod shop\/late/);
  assert.match(double.last!.shadowText!, /policy shop\/later/);
  assert.match(double.last!.imageText!, /policy shop\/later/);
  f.remove('more.yaml');
  await client.request('sync');
  assert.doesNotMatch(double.last!.shadowText!, /later?$/m);
  // What a trial decides about is decided, whatever becomes of the real one.
  f.write('deny.yaml', policyManifest('shop', 'open'));
  await client.request('sync');
  assert.equal(double.last!.shadowText!.match(/policy shop\/open/g)?.length, 1);
  follower.close();
  await eventually('the trial went with its client', () => double.last!.shadowText === null);
  assert.match(double.last!.imageText!, /policy shop\/deny/);
  await trial.end;
  await eventually('nobody listens any more', () => !double.subscriptions.includes('trial'));
});

test('rows are flows of the same workloads, port and cause, each flow once', async (t) => {
  const { f, double } = await ready(t);
  const trial = tryOut(await f.client(), request());
  await eventually('the trial runs', () => double.last!.shadowText !== null);
  const allowed: TrialEvent = {
    actual: flow({
      verdict: 'denied',
      reason: 'policy-egress',
      isolatedBy: ['shop/deny'],
      source: { address: '198.51.100.7', port: 1 },
      destination: { address: '203.0.113.9', port: 443 },
      translated: undefined as never,
    }),
    shadow: { verdict: 'allowed', egress: { policy: 'shop/open', direction: 'egress', index: 2 } },
  };
  double.emitTrial(
    [wouldDeny(), wouldDeny({ source: { address: '10.42.9.1', port: 40_001 } }), wouldDeny()],
    counts,
  );
  double.emitTrial([JSON.parse(JSON.stringify(allowed))], counts);
  await eventually('both rows are told', () => trial.rows.size === 2);
  const [first, second] = [...trial.rows.values()];
  assert.equal(first?.change, 'denied');
  assert.deepEqual(first?.source, { kind: 'pod', name: 'shop/front' });
  assert.deepEqual(first?.destination, { kind: 'pod', name: 'shop/web' });
  assert.equal(first?.service, 'shop/db');
  assert.equal(first?.port, 3307);
  assert.equal(first?.flows, 2);
  assert.deepEqual(first?.then.isolatedBy, ['shop/open']);
  assert.equal(second?.change, 'allowed');
  assert.deepEqual(second?.source, { kind: 'external', name: '' });
  assert.deepEqual(second?.destination, { kind: 'external', name: '203.0.113.9' });
  assert.deepEqual(second?.then.rules, [{ policy: 'shop/open', direction: 'egress', rule: 2 }]);
  const metrics = async () => {
    const { text } = await (await f.client()).request('metrics');
    return [...text.matchAll(/^weft_trial_flows\{verdict="(\w+)"\} (\d+)$/gm)].map(([, ...found]) =>
      found.join(' '),
    );
  };
  assert.deepEqual((await metrics()).sort(), ['allowed 0', 'denied 2', 'judged 9', 'unnamed 1']);
  const last = trial.events.filter((event) => event.event === 'trial').at(-1);
  assert.deepEqual(last?.totals, { judged: 9, denied: 2, allowed: 0, unnamed: 1, unlisted: 0 });
});

test('beyond the rows that are kept flows are only counted', async (t) => {
  const { f, double } = await ready(t, { agent: { trials: { rows: 1 }, tick: 1000, reconnect: 20_000 } });
  const trial = tryOut(await f.client(), request({ seconds: 1 }));
  await eventually('the trial runs', () => double.last!.shadowText !== null);
  const other = wouldDeny({ translated: { address: '10.42.0.2', port: 9 } });
  const third = wouldDeny({
    source: { address: '10.42.9.1', port: 2 },
    translated: { address: '10.42.0.2', port: 9 },
  });
  double.emitTrial([wouldDeny(), JSON.parse(JSON.stringify(other)), third], counts);
  await trial.end;
  assert.equal(trial.rows.size, 1);
  const last = trial.events.filter((event) => event.event === 'trial').at(-1);
  assert.equal(last?.totals.unlisted, 1, 'the second of the three is the first one once more');
});

test('a trial ends when its time is over, says so, and the next may begin', async (t) => {
  const { f, double } = await ready(t);
  const client = await f.client();
  const trial = tryOut(client, request({ seconds: 0.05 }));
  await trial.end;
  assert.equal(trial.error, null);
  assert.equal(trial.over?.reason, 'time');
  await eventually('the switch is told', () => double.last!.shadowText === null);
  const second = tryOut(client, request({ seconds: 0.05 }));
  await second.end;
  assert.equal(second.over?.reason, 'time');
  const trials = double.publications.flatMap(({ shadow }) => (shadow === undefined ? [] : [shadow.trial]));
  assert.deepEqual([...new Set(trials)], [1, 2]);
});

test('one trial at a time', async (t) => {
  const { f, double } = await ready(t);
  tryOut(await f.client(), request());
  await eventually('the trial runs', () => double.last!.shadowText !== null);
  const second = tryOut(await f.client(), request());
  await second.end;
  assert.equal(second.error?.code, 'trial-busy');
  assert.notEqual(double.last!.shadowText, null, 'the first goes on');
});

test('the switch goes away: the trial ends with a word, and the next switch hears nothing of it', async (t) => {
  const { f, double } = await ready(t, { agent: { reconnect: 20_000 } });
  const trial = tryOut(await f.client(), request());
  await eventually('the trial runs', () => double.last!.shadowText !== null);
  await double.kill();
  await trial.end;
  assert.equal(trial.over?.reason, 'switch');
  const next = await f.startSwitch(double);
  await eventually('the next switch has the state', () => next.publications.length > 0);
  await eventually('without a shadow', () => next.last!.shadowText === null);
  assert.equal(next.last!.imageText, double.last!.imageText);
});

test('an image of the trial that is refused, or cannot be compiled any more, ends the trial and nothing else', async (t) => {
  const { f, double, client } = await ready(t);
  double.refuseShadow = 'it is damaged';
  const refused = tryOut(await f.client(), request());
  await refused.end;
  assert.equal(refused.error?.code, 'image-refused');
  assert.match(refused.error!.message, /damaged/);
  double.refuseShadow = null;
  const trial = tryOut(await f.client(), request());
  await eventually('the trial runs', () => double.last!.shadowText !== null);
  double.refuseShadow = 'not now';
  f.write('more.yaml', podManifest('shop', 'late'));
  await client.request('sync');
  await trial.end;
  assert.equal(trial.over?.reason, 'failed');
  assert.match(double.last!.imageText!, /shop\/late/);
  assert.equal((await client.request('status')).ready, true);
});

const wrong: readonly (readonly [what: string, change: Partial<TrialRequest>, code: string, says: RegExp])[] =
  [
    ['nothing', { manifests: [] }, 'trial-invalid', /no NetworkPolicy/],
    [
      'a policy to leave out that is not there',
      { remove: ['shop/none'] },
      'trial-invalid',
      /no policy shop\/none/,
    ],
    ['too long', { seconds: 4000 }, 'trial-invalid', /3600 seconds/],
    ['no time at all', { seconds: 0 }, 'trial-invalid', /0 were asked/],
    ['text that is no YAML', { manifests: [{ file: 'x.yaml', text: 'a: [' }] }, 'input', /cannot be read/],
    ['another shape', { manifests: 'x' as never }, 'request-invalid', /file and text/],
  ];
for (const [what, change, code, says] of wrong) {
  test(`a trial of ${what} is refused and changes nothing`, async (t) => {
    const { f, double } = await ready(t);
    const publications = double.publications.length;
    const trial = tryOut(await f.client(), request(change));
    await trial.end;
    assert.equal(trial.error?.code, code);
    assert.match(trial.error!.message, says);
    assert.equal(double.publications.length, publications);
  });
}

test('a switch of an older version is named as what is in the way', async (t) => {
  const { f, double } = await ready(t);
  double.old = true;
  const publications = double.publications.length;
  const trial = tryOut(await f.client(), request());
  await trial.end;
  assert.equal(trial.error?.code, 'switch-old');
  assert.equal(double.publications.length, publications);
});

test('what a trial has made goes with it, while agent and switch live on', async (t) => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const seen: WeakRef<object>[] = [];
  const compile: Compile = (request) => {
    if (!seen.some((ref) => ref.deref() === request.world)) seen.push(new WeakRef(request.world));
    return readableCompile(request);
  };
  const f = fixture(t);
  f.write('all.yaml', podManifest('shop', 'web') + policyManifest('shop', 'deny'));
  const double = await f.startSwitch();
  await f.startAgent({ agent: { tick: 1000, reconnect: 20_000 } }, compile);
  const client = await f.client();
  await client.request('attach', web);
  for (let i = 0; i < 2; i++) {
    const own = await f.client();
    const trial = tryOut(own, request());
    await eventually('the trial runs', () => double.subscriptions.includes('trial'));
    await eventually('its image is published', () => (double.last?.shadow?.trial ?? 0) === i + 1);
    own.close();
    await trial.end;
    await eventually('the trial is over', () => !double.subscriptions.includes('trial'));
    await eventually('and not published any more', () => double.last?.shadow === undefined);
  }
  assert.equal(seen.length, 3, 'the real world and one for each trial');
  let held = seen.length;
  for (let i = 0; i < 100 && held > 1; i++) {
    await pause(10);
    collect();
    held = seen.filter((ref) => ref.deref() !== undefined).length;
  }
  assert.equal(held, 1, 'the real world');
});
