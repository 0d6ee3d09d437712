/** CNI calls in the agent, beside a switch that the test plays: what an answer waits for, which pod is meant, what an error is told as. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { AgentClient } from '../../../src/agent/client.js';
import { cniFailure } from '../../../src/agent/cni-failure.js';
import type { CniAnswer } from '../../../src/agent/protocol/answers.js';
import { errorCodes } from '../../../src/errors/catalogue.js';
import { WeftError } from '../../../src/errors/problem.js';
import {
  eventually,
  type Fixture,
  fixture,
  podManifest,
  policyManifest,
} from '../../support/agent-fixture.js';
import { podArguments } from '../../support/cni.js';
import { apiServer, kubeconfigOf } from '../../support/kube.js';

const netns = '/run/netns/web';

interface Changes {
  readonly command?: string;
  readonly environment?: Readonly<Record<string, string>>;
  readonly configuration?: object;
  readonly namespace?: object;
}

function call(
  client: AgentClient,
  { command = 'ADD', environment, configuration, namespace }: Changes = {},
): Promise<CniAnswer> {
  return client.request('cni', {
    environment: {
      CNI_COMMAND: command,
      CNI_CONTAINERID: 'c0ffee',
      CNI_NETNS: netns,
      CNI_IFNAME: 'eth0',
      CNI_ARGS: podArguments('shop', 'web'),
      ...environment,
    },
    stdin: JSON.stringify({ cniVersion: '1.1.0', name: 'weft', type: 'weft-cni', ...configuration }),
    ...(namespace === undefined ? {} : { namespace }),
  });
}
const outcome = ({ exitStatus, stdout }: CniAnswer) =>
  exitStatus === 0 ? 'done' : String((JSON.parse(stdout) as { code: number }).code);

async function started(t: TestContext, f: Fixture = fixture(t), overrides = {}) {
  const double = await f.startSwitch();
  const running = await f.startAgent(overrides);
  const client = await f.client();
  return { f, double, running, client };
}

test('an ADD answers at a state that has every policy which was seen while its port was made', async (t) => {
  const f = fixture(t);
  f.write('pods.yaml', podManifest('shop', 'web'));
  const { double, client } = await started(t, f);
  await client.request('sync');
  double.held = true;
  let answered = false;
  const add = call(client).then((answer) => {
    answered = true;
    return answer;
  });
  await eventually(
    'the port is published',
    () => double.last?.ports.some(({ name }) => name === 'web') === true,
  );
  const before = double.publications.length;
  // The policy comes while the switch makes the port; the agent has seen it when the acknowledgement arrives.
  f.write('policy.yaml', policyManifest('shop', 'deny'));
  const other = await f.client();
  const status = async () => (await other.request('status')).counts.policies;
  for (let tries = 0; (await status()) === 0; tries++) assert.ok(tries < 2000, 'the policy was seen');
  double.release();
  double.held = true;
  await eventually('the policy is published', () => double.publications.length > before);
  assert.match(double.last?.imageText ?? '', /policy shop\/deny/);
  await other.request('status');
  assert.equal(answered, false, 'the port is live, the policy is not in force');
  double.release();
  assert.equal(outcome(await add), 'done');
});

test('other pods that come and go do not hold an ADD up', async (t) => {
  const f = fixture(t);
  f.write('pods.yaml', podManifest('shop', 'web'));
  const { double, client } = await started(t, f);
  await client.request('sync');
  double.held = true;
  const add = call(client);
  await eventually(
    'the port is published',
    () => double.last?.ports.some(({ name }) => name === 'web') === true,
  );
  f.write('more.yaml', podManifest('shop', 'another'));
  const other = await f.client();
  for (let tries = 0; (await other.request('status')).counts.pods < 2; tries++) assert.ok(tries < 2000);
  const before = double.publications.length;
  double.release();
  double.held = true;
  assert.equal(outcome(await add), 'done');
  assert.ok(double.publications.length <= before + 1);
  double.release();
});

const uids: readonly (readonly [string, string, string])[] = [
  ['the pod of that uid', 'uid: new', 'new'],
  [
    'a static pod by the hash of its manifest',
    'uid: mirror, annotations: { kubernetes.io/config.hash: new, kubernetes.io/config.mirror: new }',
    'new',
  ],
  ['a pod whose uid the runtime does not know', 'uid: whatever', ''],
];
for (const [what, metadata, uid] of uids)
  test(`an ADD is for ${what}`, async (t) => {
    const f = fixture(t);
    f.write(
      'web.yaml',
      `apiVersion: v1\nkind: Pod\nmetadata: { namespace: shop, name: web, ${metadata} }\nspec: { containers: [{ name: c, image: i }] }\n`,
    );
    const { client } = await started(t, f);
    assert.equal(
      outcome(await call(client, { environment: { CNI_ARGS: podArguments('shop', 'web', uid) } })),
      'done',
    );
  });

const strangers: readonly (readonly [string, string])[] = [
  ['a pod that was recreated under its name and is not seen yet', 'uid: old'],
  ['a pod that only claims to be static', 'uid: old, annotations: { kubernetes.io/config.hash: new }'],
];
for (const [what, metadata] of strangers)
  test(`an ADD waits for ${what}, and is code 11 when it does not come`, async (t) => {
    const f = fixture(t);
    f.write(
      'web.yaml',
      `apiVersion: v1\nkind: Pod\nmetadata: { namespace: shop, name: web, ${metadata} }\nspec: { containers: [{ name: c, image: i }] }\n`,
    );
    const { client, running } = await started(t, f, {
      agent: { attachTimeout: 1_000_000, tick: 1000, reconnect: 20_000 },
    });
    const environment = { CNI_ARGS: podArguments('shop', 'web', 'new') };
    assert.equal(outcome(await call(client, { environment })), '11');
    assert.equal(running.agent.attachments.list().length, 0);
  });

test('two interfaces of one pod are both the pod', async (t) => {
  const f = fixture(t);
  f.write('web.yaml', podManifest('shop', 'web'));
  const { client, double } = await started(t, f);
  assert.equal(outcome(await call(client)), 'done');
  assert.equal(outcome(await call(client, { environment: { CNI_IFNAME: 'net1' } })), 'done');
  assert.equal(double.last?.imageText, 'local shop/web 10.42.0.2 10.42.0.3');
  assert.equal(outcome(await call(client, { command: 'DEL' })), 'done');
  await client.request('sync');
  assert.equal(double.last?.imageText, 'local shop/web 10.42.0.3');
});

test('a second ADD of one attachment keeps it when the first one is given up', async (t) => {
  const f = fixture(t);
  const { double, running } = await started(t, f);
  const [one, other] = [await f.client(), await f.client()];
  const first = call(one).catch(() => 'closed');
  await eventually(
    'the port is published',
    () => double.last?.ports.some(({ name }) => name === 'web') === true,
  );
  const second = call(other);
  await other.request('status');
  one.close();
  assert.equal(await first, 'closed');
  f.write('web.yaml', podManifest('shop', 'web'));
  assert.equal(outcome(await second), 'done');
  assert.equal(running.agent.attachments.list().length, 1);
});

test('an ADD whose connection closes is undone, before and after its answer', async (t) => {
  const f = fixture(t);
  f.write('web.yaml', podManifest('shop', 'web'));
  const { running } = await started(t, f);
  const attachments = () => running.agent.attachments.list().length;
  const waiting = await f.client();
  const unknown = call(waiting, { environment: { CNI_ARGS: podArguments('shop', 'nobody') } }).catch(
    () => {},
  );
  await eventually('it waits', () => attachments() === 1);
  waiting.close();
  await unknown;
  await eventually('it is undone', () => attachments() === 0);
  const answered = await f.client();
  assert.equal(outcome(await call(answered)), 'done');
  assert.equal(attachments(), 1);
  answered.close();
  await eventually('it is undone', () => attachments() === 0);
});

test('STATUS is 50 while pods cannot be added and 51 while those that run are cut off', async (t) => {
  const f = fixture(t);
  f.write('pods.yaml', podManifest('shop', 'web') + podManifest('shop', 'api'));
  const running = await f.startAgent({
    network: { podCIDRs: ['10.42.0.0/30'] },
    node: { name: 'here', addresses: ['192.0.2.1'] },
  });
  const client = await f.client();
  const status = async () => {
    const answer = await call(client, { command: 'STATUS', configuration: { answerTimeout: 700 } });
    return `${outcome(answer)} ${answer.stdout}`;
  };
  assert.match(await status(), /^51 .*switch of this node is away/);
  const double = await f.startSwitch();
  await eventually('the agent is ready', () => running.agent.ready);
  assert.match(await status(), /^done/);
  // A /30 has one address for pods.
  assert.equal(outcome(await call(client)), 'done');
  assert.match(await status(), /^50 .*All 1 addresses of 10\.42\.0\.0\/30 are in use/);
  const full = await call(client, {
    environment: { CNI_CONTAINERID: 'b', CNI_ARGS: podArguments('shop', 'api') },
  });
  assert.match(`${outcome(full)} ${full.stdout}`, /^11 .*10\.42\.0\.0\/30.*\(addresses-exhausted\)/);
  await call(client, { command: 'DEL' });
  double.refuseImage = 'no such image';
  f.write('policy.yaml', policyManifest('shop', 'deny'));
  await eventually('the image is refused', () => running.agent.imageError !== null);
  assert.match(await status(), /^50 .*no such image/);
});

test('STATUS waits for an agent that begins, and does not count a full node as away under Kubernetes', {
  timeout: 60_000,
}, async (t) => {
  const server = await apiServer(t);
  server.put('nodes', { metadata: { name: 'here' }, spec: { podCIDRs: ['10.42.0.0/30'] } });
  for (const name of ['web', 'api'])
    server.put('pods', {
      metadata: { namespace: 'shop', name },
      spec: { nodeName: 'here', containers: [{ name: 'c' }] },
    });
  const f = fixture(t);
  const kubernetes = { mode: 'on' as const, kubeconfig: kubeconfigOf(t, server) };
  const running = await f.startAgent({ kubernetes });
  const client = await f.client();
  const early = call(client, { command: 'STATUS' });
  await client.request('status');
  await f.startSwitch();
  assert.equal(outcome(await early), 'done');
  assert.equal(outcome(await call(client)), 'done');
  const full = await call(client, {
    environment: { CNI_CONTAINERID: 'b', CNI_ARGS: podArguments('shop', 'api') },
  });
  assert.match(`${outcome(full)} ${full.stdout}`, /^11 .*\(addresses-exhausted\)/);
  assert.equal(outcome(await call(client, { command: 'STATUS' })), 'done');
  const told = () => running.agent.problems.some(({ code }) => code === 'addresses-exhausted');
  assert.equal(told(), true);
  assert.equal(outcome(await call(client, { command: 'DEL' })), 'done');
  assert.equal(told(), false);
});

test('the agent answers an ADD before its plugin gives up, however long it may wait by itself', {
  timeout: 60_000,
}, async (t) => {
  const f = fixture(t);
  f.write('web.yaml', podManifest('shop', 'web'));
  const { double, client, running } = await started(t, f, {
    agent: { attachTimeout: 600_000_000, tick: 1000, reconnect: 20_000 },
  });
  await client.request('sync');
  double.held = true;
  const answer = await call(client, { configuration: { answerTimeout: 800 } });
  assert.match(`${outcome(answer)} ${answer.stdout}`, /^11 .*did not come up in time.*\(port-pending\)/);
  assert.deepEqual(running.agent.attachments.list(), []);
});

test('an interface that is there is only taken for our own by its MAC', async (t) => {
  const f = fixture(t);
  f.write('web.yaml', podManifest('shop', 'web'));
  const { client } = await started(t, f);
  const seen = (mac: string, kind = 'tun') => ({
    state: 'ok',
    interface: { name: 'eth0', kind, mac, mtu: 1500, up: true },
  });
  assert.equal(outcome(await call(client, { namespace: seen('02:00:00:00:00:01') })), '101');
  const added = await call(client, { namespace: { state: 'ok', interface: null } });
  const { interfaces } = JSON.parse(added.stdout) as { interfaces: { mac: string }[] };
  const mac = interfaces[0]!.mac;
  assert.equal(outcome(await call(client, { namespace: seen(mac) })), 'done');
  assert.equal(outcome(await call(client, { namespace: seen(mac, 'veth') })), '101');
  assert.equal(outcome(await call(client, { namespace: { state: 'closed', error: 'setns: no' } })), '4');
});

test('hostile calls are answered, and the agent goes on', async (t) => {
  const { client } = await started(t);
  const hostile = [
    {},
    { environment: null, stdin: null },
    { environment: { CNI_COMMAND: 5 }, stdin: 7 },
    {
      environment: { CNI_COMMAND: 'ADD', CNI_CONTAINERID: 'a', CNI_NETNS: '/x', CNI_IFNAME: 'e' },
      stdin: '[[[[',
    },
    {
      environment: { CNI_COMMAND: 'STATUS' },
      stdin: '{"cniVersion":"1.1.0","name":"a","__proto__":{"ipam":1}}',
    },
    {
      environment: {
        CNI_COMMAND: 'ADD',
        CNI_CONTAINERID: 'a',
        CNI_NETNS: '/x',
        CNI_IFNAME: 'e',
        CNI_ARGS: podArguments('../x', 'y'),
      },
      stdin: '{"cniVersion":"1.1.0","name":"a"}',
    },
    {
      environment: { CNI_COMMAND: 'CHECK', CNI_CONTAINERID: 'a', CNI_NETNS: '/x', CNI_IFNAME: 'e' },
      stdin: '{"cniVersion":"1.1.0","name":"a","prevResult":{}}',
      namespace: { state: 'ok', interface: 5 },
    },
  ];
  for (const request of hostile) {
    const answer = await client.request('cni', request as never);
    assert.equal(answer.exitStatus, 1, JSON.stringify(request));
    const { code, msg } = JSON.parse(answer.stdout) as { code: number; msg: string };
    assert.ok([2, 3, 4, 6, 7].includes(code), `${code} ${msg}`);
  }
  assert.equal((await client.request('status')).ready, true);
});

test('what passes by itself is code 11, a namespace that is none 4, and what nobody expected 100', () => {
  for (const [code, expected] of [
    ['pod-unknown', 11],
    ['switch-away', 11],
    ['addresses-exhausted', 11],
    ['agent-stopping', 11],
    ['tap-taken', 101],
    ['namespace-gone', 4],
    ['port-failed', 100],
  ] as const) {
    if (code in errorCodes) assert.ok(errorCodes[code as keyof typeof errorCodes]);
    const failure = cniFailure(new WeftError(code, 'words'));
    assert.deepEqual([failure.code, failure.details], [expected, `words (${code})`]);
  }
  assert.equal(cniFailure(new Error('bug')).code, 100);
  const invalid = (field: string) =>
    cniFailure(new WeftError('attach-invalid', `The attach request is not valid: ${field} has to be x.`))
      .code;
  assert.deepEqual(
    ['namespace', 'name', 'uid', 'ifname', 'mac', 'hostPorts[0].hostPort'].map(invalid),
    [4, 4, 4, 7, 7, 7],
  );
});
