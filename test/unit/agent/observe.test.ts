import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { startAgent } from '../../../src/agent/process.js';
import type { FlowRecord } from '../../../src/agent/protocol/events.js';
import type { AgentEvent } from '../../../src/agent/protocol.js';
import { formatFlow } from '../../../src/cli/flow-lines.js';
import { loadConfig } from '../../../src/config/load.js';
import { loadAddon } from '../../../src/dataplane/addon.js';
import type { FlowEvent } from '../../../src/dataplane/protocol/events.js';
import type { WeftError } from '../../../src/errors/problem.js';
import { openLog } from '../../../src/telemetry/log.js';
import {
  eventually,
  fixture,
  podManifest,
  policyManifest,
  readableCompile,
} from '../../support/agent-fixture.js';

const service = `apiVersion: v1
kind: Service
metadata: { namespace: shop, name: db }
spec: { clusterIP: 10.43.0.9, clusterIPs: [10.43.0.9], ports: [{ port: 3306 }] }
---
`;
const web = { namespace: 'shop', name: 'web', uid: '', netns: '/run/netns/web', ifname: 'eth0' };

const flow = (change: Partial<FlowEvent> = {}): FlowEvent => ({
  time: Date.UTC(2026, 0, 2, 3, 4, 5, 678),
  verdict: 'allowed',
  protocol: 6,
  family: 4,
  source: { address: '10.42.0.2', port: 40_000 },
  destination: { address: '10.43.0.9', port: 3306 },
  ...change,
});
const denied = flow({
  verdict: 'denied',
  reason: 'policy-egress',
  destination: { address: '203.0.113.9', port: 443 },
  isolatedBy: ['shop/deny'],
});

async function ready(t: Parameters<typeof fixture>[0]) {
  const f = fixture(t);
  f.write(
    'all.yaml',
    podManifest('shop', 'web') + podManifest('shop', 'db-0') + policyManifest('shop', 'deny') + service,
  );
  const double = await f.startSwitch();
  const running = await f.startAgent();
  const client = await f.client();
  await client.request('attach', web);
  await eventually('the agent reads flows', () => double.subscriptions.includes('flows'));
  return { f, double, running, client };
}

test('what the host masquerades is named as that, and not as the node', async (t) => {
  const { double, client } = await ready(t);
  const own = { address: '10.42.0.1', port: 40_000 };
  double.emitFlows([flow({ source: own })]);
  const seen: FlowRecord[] = [];
  for (let attempt = 0; attempt < 50 && seen.length < 1; attempt++) {
    await client.subscribe({ type: 'flows', follow: false }, (event) => {
      if (event.event === 'flow') seen.push(event.flow);
    });
  }
  assert.deepEqual(seen[0]?.source, { ...own, kind: 'forwarded', name: 'here' });
  assert.match(formatFlow(seen[0]!), / forwarded\/here:40000 -> svc\/shop\/db:3306 /);
});

test('flow events carry the names of pods, services and nodes, and the rules that decided', async (t) => {
  const { double, client } = await ready(t);
  double.emitFlows([
    flow({
      translated: { address: '192.0.2.1', port: 3306 },
      egress: { policy: 'shop/deny', direction: 'egress', index: 1 },
    }),
    denied,
  ]);
  const seen: FlowRecord[] = [];
  for (let attempt = 0; attempt < 50 && seen.length < 2; attempt++) {
    seen.length = 0;
    await client.subscribe({ type: 'flows', follow: false }, (event) => {
      if (event.event === 'flow') seen.push(event.flow);
    });
  }
  assert.deepEqual(seen, [
    {
      time: '2026-01-02T03:04:05.678Z',
      verdict: 'allowed',
      family: 4,
      protocol: 'TCP',
      source: { address: '10.42.0.2', port: 40_000, kind: 'pod', name: 'shop/web' },
      destination: { address: '10.43.0.9', port: 3306, kind: 'service', name: 'shop/db' },
      translated: { address: '192.0.2.1', port: 3306, kind: 'node', name: 'here' },
      rules: [{ policy: 'shop/deny', direction: 'egress', rule: 1 }],
      isolatedBy: [],
    },
    {
      time: '2026-01-02T03:04:05.678Z',
      verdict: 'denied',
      reason: 'policy-egress',
      family: 4,
      protocol: 'TCP',
      source: { address: '10.42.0.2', port: 40_000, kind: 'pod', name: 'shop/web' },
      destination: { address: '203.0.113.9', port: 443, kind: 'external', name: '' },
      rules: [],
      isolatedBy: ['shop/deny'],
    },
  ]);
});

const noise = flow({
  verdict: 'dropped',
  reason: 'multicast',
  destination: { address: '224.0.0.1' },
  protocol: 17,
});
const foreign = flow({
  source: { address: '192.0.2.77' },
  destination: { address: '198.51.100.1', port: 80 },
});
const filters: readonly (readonly [string, object, readonly string[]])[] = [
  ['nothing asked', {}, ['allowed', 'denied', 'dropped', 'allowed']],
  ['--denied', { denied: true }, ['denied']],
  ['drops', { drops: true }, ['denied', 'dropped']],
  ['a pod', { namespace: 'shop', name: 'web' }, ['allowed', 'denied', 'dropped']],
  ['a namespace', { namespace: 'shop' }, ['allowed', 'denied', 'dropped']],
  ['another pod', { namespace: 'shop', name: 'db-0' }, []],
];
for (const [what, filter, expected] of filters) {
  test(`a follower gets what it asked for and no more: ${what}`, async (t) => {
    const { f, double, client } = await ready(t);
    const follower = await f.client();
    const verdicts: string[] = [];
    const end = follower
      .subscribe({ type: 'flows', follow: true, ...filter }, (event) => {
        if (event.event === 'flow') verdicts.push(event.flow.verdict);
      })
      .catch(() => {});
    // The subscription stands when a second request on the same connection is answered.
    await follower.request('status');
    double.emitFlows([flow(), denied, noise, foreign]);
    await client.request('status');
    if (expected.length > 0) await eventually('the events arrive', () => verdicts.length === expected.length);
    else await follower.request('status');
    assert.deepEqual(verdicts, expected);
    follower.close();
    await end;
  });
}

test('events that the switch lost are told', async (t) => {
  const { f, double } = await ready(t);
  const follower = await f.client();
  const events: AgentEvent[] = [];
  void follower.subscribe({ type: 'flows', follow: true }, (event) => events.push(event)).catch(() => {});
  await follower.request('status');
  double.emitFlows([flow()], 17);
  await eventually('the event arrives', () => events.length === 2);
  assert.deepEqual(
    events.map((event) => (event.event === 'lost' ? event.count : event.event)),
    [17, 'flow'],
  );
});

test('a capture names rules, ends at its count, and the switch is told to stop', async (t) => {
  const { double, client } = await ready(t);
  const packets: AgentEvent[] = [];
  const capture = client.subscribe(
    { type: 'capture', namespace: 'shop', name: 'web', drops: false, count: 2 },
    (event) => packets.push(event),
  );
  await eventually('the switch captures', () => double.subscriptions.includes('capture'));
  const packet = { time: '1', port: 'x', direction: 'egress' as const, length: 60, data: 'AAAA' };
  await client.request('status');
  double.emitCapture([
    { ...packet, reason: 'policy-ingress' },
    { ...packet, ingress: { policy: 'shop/a', direction: 'ingress', index: 3 } },
    packet,
  ]);
  await capture;
  assert.deepEqual(
    packets.map((event) => event.event === 'packet' && [event.packet.verdict, event.packet.rules.length]),
    [
      ['denied', 0],
      ['allowed', 1],
    ],
  );
  await eventually('the capture has ended in the switch', () => !double.subscriptions.includes('capture'));
});

test('a capture of a client that goes away ends in the switch too', async (t) => {
  const { f, double } = await ready(t);
  const other = await f.client();
  void other
    .subscribe({ type: 'capture', namespace: 'shop', name: 'web', drops: true }, () => {})
    .catch(() => {});
  await eventually('the switch captures', () => double.subscriptions.includes('capture'));
  other.close();
  await eventually('the capture has ended', () => !double.subscriptions.includes('capture'));
});

for (const [what, name, code] of [
  ['that nobody has', 'nobody', 'unknown-end'],
  ['of a pod that is not attached here', 'db-0', 'port-unknown'],
] as const) {
  test(`a name ${what} is told so, whatever is asked of it`, async (t) => {
    const { client } = await ready(t);
    const refused = (error: WeftError) => error.code === code && error.message.includes(`shop/${name}`);
    const pod = { namespace: 'shop', name };
    await assert.rejects(
      client.subscribe({ type: 'capture', ...pod, drops: false }, () => {}),
      refused,
    );
    await assert.rejects(client.request('connections', pod), refused);
    await assert.rejects(client.request('ports', pod), refused);
    // Flows pass the switch also of pods that are attached elsewhere.
    const flows = client.subscribe({ type: 'flows', follow: false, ...pod }, () => {});
    if (code === 'unknown-end') await assert.rejects(flows, refused);
    else await flows;
  });
}

test("a workload's name stands for its pods, and a pod that is gone is known by its flows", async (t) => {
  const { f, double, client } = await ready(t);
  double.emitFlows([flow(), denied]);
  const count = async (name: string) => {
    let seen = 0;
    await client.subscribe({ type: 'flows', follow: false, namespace: 'shop', name }, (event) => {
      if (event.event === 'flow') seen++;
    });
    return seen;
  };
  for (let i = 0; i < 200 && (await count('web')) < 2; i++) await new Promise((r) => setTimeout(r, 5));
  f.write('all.yaml', podManifest('shop', 'db-0') + service);
  await client.request('sync', {});
  assert.equal(await count('web'), 2);
  assert.equal(await count('db'), 0);
  const { ports } = await client.request('ports', { namespace: 'shop', name: 'web' });
  assert.equal(ports.length, 1);
});

test('the number of observers is bounded, and one that leaves makes room', async (t) => {
  const f = fixture(t);
  await f.startSwitch();
  await f.startAgent({ agent: { observers: 2, tick: 1000 } });
  const [one, two, three] = [await f.client(), await f.client(), await f.client()];
  for (const client of [one, two]) {
    void client.subscribe({ type: 'flows', follow: true }, () => {}).catch(() => {});
    await client.request('status');
  }
  await assert.rejects(
    three.subscribe({ type: 'flows', follow: true }, () => {}),
    (error: WeftError) => error.code === 'observers-exhausted',
  );
  one.close();
  let ended = false;
  for (let attempt = 0; attempt < 100 && !ended; attempt++)
    ended = await three
      .subscribe({ type: 'flows', follow: false }, () => {})
      .then(
        () => true,
        () => false,
      );
  assert.ok(ended);
});

test('ports show state and counters, connections show names, metrics show both', async (t) => {
  const { client } = await ready(t);
  const { ports } = await client.request('ports');
  assert.deepEqual(
    ports.map(({ name, status, received }) => [name, status, received?.packets]),
    [
      ['here', 'live', 1],
      ['web', 'live', 2],
    ],
  );
  const { connections } = await client.request('connections', {});
  assert.equal(connections[0]?.source.name, 'shop/web');
  const { text } = await client.request('metrics');
  assert.match(text, /^weft_port_received_packets_total\{namespace="shop",pod="web"\} 2$/m);
  assert.match(text, /^weft_agent_ready 1$/m);
  assert.match(text, /^weft_limit_used\{limit="connections"\} 1$/m);
});

test('a request that is none is answered, and the connection goes on', async (t) => {
  const { client } = await ready(t);
  await assert.rejects(
    client.request('nonsense' as 'status'),
    (error: WeftError) => error.code === 'request-invalid' && error.message.includes('nonsense'),
  );
  assert.equal((await client.request('status')).node, 'here');
});

test('a reload takes live options over, names the others, and a broken file changes nothing', async (t) => {
  const f = fixture(t);
  const double = await f.startSwitch();
  const file = join(f.run, 'weft.yaml');
  const write = (policy: string, port: number) =>
    writeFileSync(
      file,
      `policy: { ownNodeEgress: ${policy} }\ntelemetry: { enabled: false, port: ${port} }\nagent: { tick: 1ms }\n`,
    );
  write('allow', 9464);
  const overrides = { paths: { run: f.run }, node: { name: 'here', addresses: ['192.0.2.1'] } };
  const seen: string[] = [];
  const running = await startAgent({
    configPath: file,
    overrides,
    config: await loadConfig(file, overrides),
    compile: (request) => {
      seen.push(request.policy.ownNodeEgress);
      return readableCompile(request);
    },
    takeLock: loadAddon().lockFile,
    identifyPeer: () => ({ pid: 0, uid: 0 }),
    log: openLog('agent', { level: 'silent', format: 'json' }),
    version: 'test',
  });
  t.after(() => running.stop());
  const client = await f.client();
  await client.request('sync', {});
  write('judge', 9999);
  const reloaded = await client.request('reload');
  assert.deepEqual(reloaded.applied, ['policy.ownNodeEgress']);
  assert.deepEqual(reloaded.needRestart, ['telemetry.port']);
  await client.request('sync', {});
  assert.deepEqual([...new Set(seen)], ['allow', 'judge'], 'the changed option is compiled in');
  const published = double.publications.length;
  write('nonsense', 9999);
  await assert.rejects(client.request('reload'), (error: WeftError) => error.code === 'config-invalid');
  await client.request('sync', {});
  assert.equal(double.publications.length, published);
  assert.equal(running.agent.config.policy.ownNodeEgress, 'judge');
});

test("a peer that is neither root nor the agent's user is refused", async (t) => {
  const f = fixture(t);
  const overrides = { paths: { run: f.run }, telemetry: { enabled: false } };
  const running = await startAgent({
    configPath: undefined,
    overrides,
    config: await loadConfig(undefined, overrides),
    compile: readableCompile,
    takeLock: loadAddon().lockFile,
    identifyPeer: () => ({ pid: 1, uid: 12_345 }),
    log: openLog('agent', { level: 'silent', format: 'json' }),
    version: 'test',
  });
  t.after(() => running.stop());
  const client = await f.client();
  await assert.rejects(client.request('status'), (error: WeftError) => error.code === 'peer-refused');
});

test('a switch that hangs does not hang who asks for the status', { timeout: 20_000 }, async (t) => {
  const { double, client } = await ready(t);
  double.silent = true;
  const status = await client.request('status');
  assert.equal(status.switchConnected, true);
  assert.equal(status.switch, undefined);
  await assert.rejects(client.request('connections', {}), (error: WeftError) => error.code === 'switch-slow');
});

test('every CNI call is counted by its verb and the code that it ended with', async (t) => {
  const { client } = await ready(t);
  const call = (
    environment: Record<string, string>,
    stdin = '{"cniVersion":"1.1.0","name":"n","type":"weft-cni"}',
  ) => client.request('cni', { environment, stdin });
  assert.equal((await call({ CNI_COMMAND: 'STATUS' })).exitStatus, 0);
  assert.equal((await call({ CNI_COMMAND: 'STATUS' })).exitStatus, 0);
  assert.equal((await call({ CNI_COMMAND: 'STATUS' }, 'garbage')).exitStatus, 1);
  assert.equal((await call({ CNI_COMMAND: 'DANCE' })).exitStatus, 1);
  const { text } = await client.request('metrics');
  const lines = text.split('\n').filter((line) => line.startsWith('weft_cni_requests_total{'));
  assert.deepEqual(lines.sort(), [
    'weft_cni_requests_total{verb="STATUS",code="0"} 2',
    'weft_cni_requests_total{verb="STATUS",code="6"} 1',
    'weft_cni_requests_total{verb="unknown",code="4"} 1',
  ]);
});
