import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { WhyAnswer } from '../../../src/agent/protocol/answers.js';
import type { QuestionEnd, WhyRequest } from '../../../src/agent/protocol/requests.js';
import { printLiveWhy } from '../../../src/cli/live-why.js';
import type { ExplainReport } from '../../../src/dataplane/protocol/answers.js';
import type { WeftError } from '../../../src/errors/problem.js';
import { eventually, fixture, podManifest } from '../../support/agent-fixture.js';

const world = `${podManifest('shop', 'web')}${podManifest('shop', 'db-0')}apiVersion: v1
kind: Pod
metadata: { namespace: far, name: there, labels: { app: there } }
spec: { nodeName: node-2, containers: [{ name: main, image: none, ports: [{ name: http, containerPort: 80 }] }] }
status: { podIP: 10.42.9.9, podIPs: [{ ip: 10.42.9.9 }], phase: Running }
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { namespace: shop, name: db }
spec:
  podSelector: { matchLabels: { app: db-0 } }
  ingress:
    - { from: [{ podSelector: { matchLabels: { app: web } } }], ports: [{ port: 3306 }] }
---
apiVersion: v1
kind: Service
metadata: { namespace: shop, name: db }
spec: { clusterIP: 10.43.0.9, clusterIPs: [10.43.0.9], ports: [{ name: mysql, port: 3306 }] }
---
apiVersion: v1
kind: Service
metadata: { namespace: shop, name: named }
spec: { clusterIP: None, ports: [{ port: 80 }] }
---
`;
const pod = (namespace: string, name: string): QuestionEnd => ({ kind: 'pod', namespace, name });
const service = (name: string): QuestionEnd => ({ kind: 'service', namespace: 'shop', name });
const web = pod('shop', 'web');
const db = pod('shop', 'db-0');
const order = { uid: '', ifname: 'eth0' };

async function ready(t: TestContext) {
  const f = fixture(t);
  f.write('world.yaml', world);
  const double = await f.startSwitch();
  const running = await f.startAgent();
  const client = await f.client();
  const attached = await client.request('attach', {
    ...order,
    namespace: 'shop',
    name: 'web',
    netns: '/run/netns/a',
  });
  const other = await client.request('attach', {
    ...order,
    namespace: 'shop',
    name: 'db-0',
    netns: '/run/netns/b',
  });
  const host = running.agent.attachments.ports.find(({ kind }) => kind === 'host')?.id ?? '';
  const ask = (request: Omit<WhyRequest, 'type' | 'id'>): Promise<WhyAnswer> =>
    client.request('why', request);
  return { f, double, running, client, ask, web: attached, db: other, host };
}

test("the switch's verdict comes with the policies' own rules and what stood in their way", async (t) => {
  const { double, ask, web: webPort, db: dbPort } = await ready(t);
  const asked: unknown[] = [];
  double.explain = (flow) => {
    asked.push(flow);
    return {
      generation: '7',
      image: true,
      from: webPort.port,
      ways: [
        {
          destination: { address: dbPort.addresses[0]!, port: flow.port },
          reason: 'policy-ingress',
          to: dbPort.port,
          egress: { basis: 'not-isolated', isolatedBy: [] },
          ingress: { basis: 'isolated', isolatedBy: ['shop/db', 'shop/gone'] },
        },
      ],
    };
  };
  const answer = await ask({ from: web, to: db, port: 3307 });
  assert.deepEqual(asked, [
    { source: webPort.addresses[0], destination: dbPort.addresses[0], protocol: 6, port: 3307 },
  ]);
  assert.deepEqual(
    [answer.allowed, answer.generation, answer.unsettled, answer.alsoAsk],
    [false, '7', [], []],
  );
  const [egress, ingress] = answer.flows[0]!.sides;
  assert.equal(egress?.verdict.reason, 'not-isolated');
  // A policy that the world has lost already is named, and explained by nobody.
  assert.deepEqual(ingress?.verdict.isolatedBy, ['shop/db', 'shop/gone']);
  assert.deepEqual(
    ingress?.policies.map(({ policy, rules }) => [policy, rules[0]?.reasons]),
    [['shop/db', ['port 3307 is not 3306']]],
  );
  assert.match(ingress?.change ?? '', /Add \{protocol: TCP, port: 3307\}/);
  assert.deepEqual(
    answer.ports.map(({ end, pod: name, status, drops }) => [end, name, status, drops]),
    [
      ['from', 'shop/web', 'live', { 'policy-egress': 3 }],
      ['to', 'shop/db-0', 'live', { 'policy-egress': 3 }],
    ],
  );
  const text = printLiveWhy(answer);
  assert.match(text, /^DENIED: shop\/web -> shop\/db-0:3307\/TCP\n/);
  assert.match(text, /shop\/db selects it\n {6}spec\.ingress\[0\] does not match\n/);
  assert.ok(!/ +$/m.test(text), 'no spaces at the end of a line');
});

const passes = (from: string, to: string, address: string): ExplainReport => ({
  generation: '1',
  image: true,
  from,
  ways: [
    {
      destination: { address, port: 80 },
      to,
      egress: { basis: 'not-isolated', isolatedBy: [] },
      ingress: { basis: 'elsewhere', isolatedBy: [] },
    },
  ],
});

test('a Service is asked by its address, and every backend is told', async (t) => {
  const { double, ask, web: webPort, db: dbPort } = await ready(t);
  let destination = '';
  const backend = { basis: 'not-isolated' as const, isolatedBy: [] };
  double.explain = (flow) => {
    destination = flow.destination;
    return {
      generation: '1',
      image: true,
      from: webPort.port,
      service: { name: 'shop/db:mysql', affinitySeconds: 0 },
      ways: [
        {
          destination: { address: dbPort.addresses[0]!, port: 3306 },
          to: dbPort.port,
          egress: backend,
          ingress: backend,
        },
        { destination: { address: '10.42.0.77', port: 3306 }, reason: 'no-route' },
      ],
    };
  };
  const answer = await ask({ from: web, to: service('db'), port: 'mysql' });
  assert.equal(destination, '10.43.0.9');
  assert.equal(answer.service, 'shop/db:mysql');
  assert.deepEqual(
    answer.flows.map(({ destinationName, allowed, reason }) => [destinationName, allowed, reason]),
    [
      ['shop/db-0', true, undefined],
      ['10.42.0.77', false, 'no-route'],
    ],
  );
  assert.deepEqual(
    [answer.allowed, answer.reason],
    [false, 'No port, node or host has the destination address. (no-route)'],
  );
  assert.match(printLiveWhy(answer), /is translated to one of 2 backends\./);
  double.explain = () => ({
    generation: '1',
    image: true,
    from: webPort.port,
    service: { name: 'shop/db:mysql', affinitySeconds: 0 },
    ways: [],
  });
  const nobody = await ask({ from: web, to: service('db') });
  assert.equal(nobody.allowed, false);
  assert.match(nobody.reason ?? '', /no ready endpoint/);
  double.explain = () => ({
    generation: '1',
    image: true,
    from: webPort.port,
    service: { name: 'shop/db:mysql', affinitySeconds: 0, reason: 'service-no-local-endpoint' },
    ways: [],
  });
  assert.match((await ask({ from: web, to: service('db') })).reason ?? '', /traffic policy is Local/);
});

test('a pod of another node is named with its node, and neither end here is no answer', async (t) => {
  const { double, ask, web: webPort, host } = await ready(t);
  double.explain = (flow) =>
    flow.source === webPort.addresses[0]
      ? passes(webPort.port, host, '10.42.9.9')
      : passes(host, host, flow.destination);
  const away = await ask({ from: web, to: pod('far', 'there'), port: 'http' });
  assert.deepEqual([away.allowed, away.alsoAsk], [true, ['node-2']]);
  assert.deepEqual(
    away.flows[0]?.sides.map(({ verdict }) => verdict.reason),
    ['not-isolated', 'elsewhere'],
  );
  assert.match(away.notes.join(), /far\/there runs on node node-2, whose switch judges its ingress/);
  const foreign = await ask({
    from: pod('far', 'there'),
    to: { kind: 'address', address: '203.0.113.9' },
    port: 80,
  });
  assert.deepEqual([foreign.allowed, foreign.alsoAsk], [null, ['node-2']]);
  assert.match(foreign.reason ?? '', /Neither end is attached to this node/);
  assert.match(printLiveWhy(foreign), /^NO ANSWER/);
});

test('what the switch does not know yet is said: a revision on its way, a pod that no source has told of', async (t) => {
  const { f, double, running, ask, web: webPort, host } = await ready(t);
  double.explain = (flow) => passes(webPort.port, host, flow.destination);
  double.held = true;
  f.write('more.yaml', podManifest('shop', 'late'));
  await eventually(
    'the change is published',
    () => double.last!.revision > running.agent.progress.acknowledged,
  );
  const during = await ask({ from: web, to: { kind: 'address', address: '203.0.113.9' }, port: 80 });
  assert.match(
    during.unsettled.join(),
    /Revision \d+ is on its way to the switch, which has acknowledged \d+/,
  );
  double.release();
  await eventually(
    'it is acknowledged',
    () => running.agent.progress.revision === running.agent.progress.acknowledged,
  );
  f.remove('world.yaml');
  await eventually('the pod is gone from the source', () => !running.agent.state.knows('shop/web'));
  await assert.rejects(
    ask({ from: web, to: db, port: 1 }),
    (error: WeftError) => error.code === 'unknown-end',
  );
});

test('the latest events of the connection are shown, by the address asked for and the one behind it', async (t) => {
  const { double, client, ask, web: webPort, db: dbPort, host } = await ready(t);
  await eventually('the agent reads flows', () => double.subscriptions.includes('flows'));
  double.explain = () => passes(webPort.port, host, dbPort.addresses[0]!);
  const event = {
    time: 0,
    verdict: 'denied' as const,
    reason: 'policy-ingress' as const,
    protocol: 6,
    family: 4 as const,
    source: { address: webPort.addresses[0]!, port: 40_000 },
  };
  double.emitFlows([
    {
      ...event,
      destination: { address: '10.43.0.9', port: 3306 },
      translated: { address: dbPort.addresses[0]!, port: 3306 },
    },
    { ...event, destination: { address: dbPort.addresses[0]!, port: 3306 } },
    { ...event, destination: { address: dbPort.addresses[0]!, port: 22 } },
    { ...event, protocol: 17, destination: { address: dbPort.addresses[0]!, port: 3306 } },
  ]);
  await client.request('status');
  let answer = await ask({ from: web, to: db, port: 3306 });
  for (let i = 0; i < 50 && answer.recent.length < 2; i++)
    answer = await ask({ from: web, to: db, port: 3306 });
  assert.deepEqual(
    answer.recent.map(({ destination, protocol }) => [destination.name, destination.port, protocol]),
    [
      ['shop/db', 3306, 'TCP'],
      ['shop/db-0', 3306, 'TCP'],
    ],
  );
});

const refusals: readonly (readonly [string, Omit<WhyRequest, 'type' | 'id'>, string])[] = [
  ['a Service as the source', { from: service('db'), to: web, port: 80 }, 'usage'],
  ['no port where there are none', { from: web, to: db }, 'usage'],
  ['a pod that nobody knows', { from: pod('shop', 'nobody'), to: web, port: 80 }, 'unknown-end'],
  ['a Service that nobody knows', { from: web, to: service('none'), port: 80 }, 'unknown-end'],
  ['an address that is none', { from: web, to: { kind: 'address', address: '1.2.3' }, port: 80 }, 'usage'],
  ['no end at all', { from: web, to: {} as QuestionEnd, port: 80 }, 'request-invalid'],
  ['another protocol', { from: web, to: db, port: 80, protocol: 'GRE' as 'TCP' }, 'usage'],
];
for (const [what, request, code] of refusals) {
  test(`a question that cannot be asked is refused: ${what}`, async (t) => {
    const { ask } = await ready(t);
    await assert.rejects(ask(request), (error: WeftError) => {
      assert.equal(error.code, code, error.message);
      return true;
    });
  });
}

test('a workload stands for its pod; a headless Service, and ends of two families, have no answer', async (t) => {
  const { double, ask, web: webPort, host } = await ready(t);
  double.explain = (flow) => passes(webPort.port, host, flow.destination);
  const workload = await ask({ from: web, to: pod('shop', 'db'), port: 3306 });
  assert.deepEqual(workload.notes, ['There is no pod shop/db; shop/db-0 stands for it.']);
  const headless = await ask({ from: web, to: service('named') });
  assert.equal(headless.allowed, null);
  assert.match(headless.reason ?? '', /headless/);
  const families = await ask({ from: web, to: { kind: 'address', address: '2001:db8::1' }, port: 80 });
  assert.match(families.reason ?? '', /no address family in common|do not both/);
});

test("a Service's name stands for it where no pod has that name; who is somewhere else, and which ports there are, is said", async (t) => {
  const { f, double, running, ask, web: webPort, host } = await ready(t);
  double.explain = (flow) => passes(webPort.port, host, flow.destination);
  f.write(
    'api.yaml',
    `apiVersion: v1
kind: Service
metadata: { namespace: shop, name: api }
spec: { clusterIP: 10.43.0.10, clusterIPs: [10.43.0.10], ports: [{ name: http, port: 80 }, { port: 53, protocol: UDP }] }
`,
  );
  await eventually('the Service is in force', () => {
    const { world } = running.agent.state;
    return world.get('service', 'shop/api') !== undefined;
  });
  for (const [namespace, name] of [
    ['shop', 'api'],
    ['default', 'api.shop'],
  ] as const) {
    const answer = await ask({ from: web, to: pod(namespace, name), port: 'http' });
    assert.equal(answer.to, 'svc/shop/api:http/TCP');
    assert.deepEqual(answer.notes, [
      `There is no pod ${namespace}/${name}; the Service svc/shop/api stands for it.`,
    ]);
  }
  const refusal = async (request: Omit<WhyRequest, 'type' | 'id'>): Promise<string> => {
    try {
      await ask(request);
    } catch (error) {
      return (error as WeftError).message;
    }
    return assert.fail('it was answered');
  };
  assert.match(
    await refusal({ from: web, to: pod('shop', 'api') }),
    /needs a port: svc\/shop\/api:PORT\/TCP\. svc\/shop\/api has 80\/TCP \(http\), 53\/UDP\./,
  );
  assert.match(
    await refusal({ from: web, to: pod('default', 'there'), port: 80 }),
    / There is far\/there\.$/,
  );
  assert.match(
    await refusal({ from: pod('default', 'api'), to: web, port: 80 }),
    / There is svc\/shop\/api\.$/,
  );
  assert.match(
    await refusal({ from: pod('shop', 'api'), to: web, port: 80 }),
    /A Service starts no connections/,
  );
  assert.match(
    await refusal({ from: web, to: { kind: 'address', address: 'fd00::1' } }),
    /needs a port: \[fd00::1\]:PORT\/TCP\./,
  );
});

test('without a switch there is no live answer, and the remedy is named', async (t) => {
  const { double, running, ask } = await ready(t);
  await double.kill();
  await eventually('the agent notices', () => running.agent.link === null);
  await assert.rejects(ask({ from: web, to: db, port: 80 }), (error: WeftError) => {
    assert.equal(error.code, 'switch-away');
    return true;
  });
});
