/** Every verb of the plugin against a real agent and a real switch, from the runtime's side. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { CniOutput } from '../support/cni.js';
import { CniNode, v4Of } from '../support/cni-node.js';
import { until } from '../support/weft.js';

let cni: CniNode;

before(async () => {
  cni = await CniNode.start({
    config: { agent: { attachTimeout: '1s' }, network: { podCIDRs: ['10.99.0.0/24', 'fd99::/112'] } },
  });
  await cni.pods({ web: {}, api: {}, taken: {}, checked: {}, chained: {}, labelled: {}, ports: {} });
});
after(() => cni?.end());

const failed = ({ status, json }: { status: number | null; json: CniOutput }) => [
  status === 0 ? 0 : 1,
  json.code,
];

test('two pods are added, talk, and are deleted; DEL may be repeated, and come when everything is gone', async () => {
  const web = await cni.add('web');
  const api = await cni.add('api', { configuration: { cniVersion: '0.4.0' } });
  const { mac } = web.interfaces![0]!;
  assert.deepEqual(web, {
    cniVersion: '1.1.0',
    interfaces: [{ name: 'eth0', mac, mtu: 1500, sandbox: cni.netns('web') }],
    ips: [
      { interface: 0, address: '10.99.0.2/32', gateway: '169.254.1.1' },
      { interface: 0, address: 'fd99::2/128', gateway: 'fe80::1' },
    ],
    routes: [
      { dst: '0.0.0.0/0', gw: '169.254.1.1' },
      { dst: '::/0', gw: 'fe80::1' },
    ],
  });
  assert.deepEqual(api.ips?.[0], {
    version: '4',
    interface: 0,
    address: '10.99.0.3/32',
    gateway: '169.254.1.1',
  });
  assert.match(cni.inside('web', 'ip', '-o', 'link', 'show', 'eth0'), new RegExp(`mtu 1500 .*${mac}`));
  cni.serve('api', 80);
  assert.equal(await cni.probe('web', '10.99.0.3', 80), 'answered');
  assert.equal(await cni.probe('web', 'fd99::3', 80), 'answered');

  // Once more, for whatever reason: the same answer, and the pod goes on.
  assert.deepEqual(await cni.add('web'), web);
  assert.equal(await cni.probe('web', '10.99.0.3', 80), 'answered');

  for (let time = 0; time < 2; time++) {
    const { status, stdout } = await cni.call('DEL', 'web', { configuration: { prevResult: web } });
    assert.deepEqual([status, stdout], [0, '']);
  }
  assert.throws(() => cni.inside('web', 'ip', 'link', 'show', 'eth0'), /does not exist/);
  cni.removeNamespace('api');
  assert.equal((await cni.call('DEL', 'api', { environment: { CNI_NETNS: '' } })).status, 0);
  assert.deepEqual(await cni.attached(), []);
});

test('ADD refuses an interface that is there already, and a namespace that is none', async () => {
  cni.namespace('taken');
  cni.inside('taken', 'ip', 'tuntap', 'add', 'eth0', 'mode', 'tap');
  assert.deepEqual(failed(await cni.call('ADD', 'taken')), [1, 101]);
  cni.inside('taken', 'ip', 'link', 'show', 'eth0');
  const listed = { cniVersion: '1.1.0', interfaces: [{ name: 'net1', sandbox: cni.netns('taken') }] };
  const twice = await cni.call('ADD', 'taken', {
    environment: { CNI_IFNAME: 'net1' },
    configuration: { prevResult: listed },
  });
  assert.deepEqual(failed(twice), [1, 101]);
  for (const [path, words] of [
    ['/run/netns/no-such-namespace', /exists/],
    ['/etc/hostname', /exists/],
    ['/proc/self/ns/mnt', /network namespace/],
    ['/proc/self/ns/net', /own/],
  ] as const) {
    const outcome = await cni.call('ADD', 'taken', { environment: { CNI_NETNS: path } });
    assert.deepEqual(failed(outcome), [1, 4], path);
    assert.match(`${outcome.json.msg} ${outcome.json.details}`, /CNI_NETNS/);
    assert.match(outcome.json.details ?? '', words);
  }
  assert.deepEqual(await cni.attached(), []);
});

test('a pod that nobody knows is code 11, and leaves nothing', async () => {
  cni.namespace('stranger');
  const outcome = await cni.call('ADD', 'stranger');
  assert.deepEqual(failed(outcome), [1, 11]);
  assert.match(outcome.json.details ?? '', /test\/stranger.*\(pod-unknown\)/);
  assert.deepEqual(await cni.attached(), []);
  await until(
    'the interface is gone',
    10,
    () => !cni.inside('stranger', 'ip', '-o', 'link').includes('eth0'),
  );
});

const damages: readonly (readonly [string, readonly (readonly string[])[], RegExp])[] = [
  ['down', [['ip', 'link', 'set', 'eth0', 'down']], /is down/],
  [
    'without its address',
    [['ip', 'addr', 'flush', 'dev', 'eth0', 'scope', 'global']],
    /address 10\.99\.0\.\d+\/32 is not on eth0/,
  ],
  ['without its route', [['ip', 'route', 'del', 'default']], /route to 0\.0\.0\.0\/0 by 169\.254\.1\.1/],
  [
    'with another MAC',
    [['ip', 'link', 'set', 'eth0', 'address', '02:00:00:00:00:42']],
    /MAC 02:00:00:00:00:42/,
  ],
  [
    'renamed',
    [
      ['ip', 'link', 'set', 'eth0', 'down'],
      ['ip', 'link', 'set', 'eth0', 'name', 'else'],
    ],
    /eth0 is not in/,
  ],
  ['deleted', [['ip', 'link', 'del', 'eth0']], /eth0 is not in .*does not carry the port/],
];
for (const [what, commands, expected] of damages)
  test(`CHECK finds an interface that is ${what}`, async () => {
    const result = await cni.add('checked');
    const check = () => cni.call('CHECK', 'checked', { configuration: { prevResult: result } });
    assert.deepEqual(failed(await check()), [0, undefined], 'as ADD left it');
    for (const command of commands) cni.inside('checked', ...command);
    // What the switch notices it notices at its next look.
    await until(`CHECK says ${expected}`, 10, async () => {
      const outcome = await check();
      assert.deepEqual(failed(outcome), [1, 102]);
      return expected.test(outcome.json.details ?? '');
    });
    assert.equal((await cni.call('DEL', 'checked')).status, 0);
    cni.removeNamespace('checked');
  });

test('CHECK does not know a container that was never added, and wants the result of ADD', async () => {
  const { json } = await cni.call('CHECK', 'web', { configuration: { prevResult: { ips: [] } } });
  assert.equal(json.code, 3);
  assert.equal((await cni.call('CHECK', 'web')).json.code, 7);
});

test('behind another plugin in a chain the result has both, and CHECK takes it', async () => {
  const prevResult = {
    cniVersion: '1.0.0',
    interfaces: [{ name: 'lo', sandbox: cni.netns('chained') }],
    ips: [{ address: '127.0.0.1/8', interface: 0 }],
  };
  const version = { cniVersion: '1.0.0' };
  const both = await cni.add('chained', { configuration: { ...version, prevResult } });
  assert.deepEqual(
    both.interfaces?.map(({ name }) => name),
    ['lo', 'eth0'],
  );
  assert.deepEqual(
    both.ips?.map((one) => one.interface),
    [0, 1, 1],
  );
  const checked = await cni.call('CHECK', 'chained', { configuration: { ...version, prevResult: both } });
  assert.deepEqual(failed(checked), [0, undefined], checked.stdout);
  await cni.call('DEL', 'chained');
});

test('addresses, MAC, MTU, host ports and bandwidth that the runtime asks for reach the attachment', async () => {
  const runtimeConfig = {
    ips: ['10.99.0.77/24'],
    mac: '02:00:00:00:00:77',
    portMappings: [{ hostPort: 8080, containerPort: 80, protocol: 'tcp' }],
    bandwidth: { ingressRate: 100_000_000, ingressBurst: 10_000_000 },
  };
  const result = await cni.add('ports', { configuration: { runtimeConfig, mtu: 1400 } });
  assert.equal(v4Of(result), '10.99.0.77');
  assert.equal(result.interfaces?.[0]?.mac, '02:00:00:00:00:77');
  assert.match(cni.inside('ports', 'ip', '-o', 'link', 'show', 'eth0'), /mtu 1400 .*02:00:00:00:00:77/);
  // A second pod cannot have the address: later, perhaps.
  cni.namespace('labelled');
  const second = await cni.call('ADD', 'labelled', {
    configuration: { runtimeConfig: { ips: ['10.99.0.77'] } },
  });
  assert.deepEqual(failed(second), [1, 11]);
  assert.match(second.json.details ?? '', /belongs to test\/ports/);
  await cni.call('DEL', 'ports');
});

test('a container that is no pod is one in a namespace of its own, with the labels that its runtime gives it', async () => {
  await cni.policies([
    {
      apiVersion: 'networking.k8s.io/v1',
      kind: 'NetworkPolicy',
      metadata: { namespace: 'containers', name: 'closed' },
      spec: { podSelector: { matchLabels: { closed: 'yes' } }, policyTypes: ['Ingress'] },
    },
  ]);
  const plain = (id: string, labels: readonly object[] = []) =>
    cni.add(id, {
      environment: { CNI_CONTAINERID: id, CNI_ARGS: '' },
      configuration: { args: { cni: { labels } } },
    });
  await plain('Plain_1');
  const open = v4Of(await plain('plain-2'));
  const closed = v4Of(await plain('plain-3', [{ key: 'closed', value: 'yes' }]));
  const names = await cni.attached();
  assert.equal(names.length, 3);
  assert.match(names.join(' '), /^containers\/plain-1-[0-9a-f]{12} containers\/plain-2 containers\/plain-3$/);
  cni.serve('plain-2', 80);
  cni.serve('plain-3', 80);
  assert.equal(await cni.probe('Plain_1', open, 80), 'answered');
  assert.equal(await cni.probe('Plain_1', closed, 80), 'timeout');
  // They outlive the agent.
  await cni.node.killAgent();
  await cni.node.startAgent();
  await until('the agent is ready', 15, async () => (await cni.call('STATUS', '')).status === 0);
  assert.deepEqual(await cni.attached(), names);
  assert.equal(await cni.probe('Plain_1', open, 80), 'answered');
  assert.equal(await cni.probe('Plain_1', closed, 80), 'timeout');
  for (const id of ['Plain_1', 'plain-2', 'plain-3'])
    await cni.call('DEL', id, { environment: { CNI_CONTAINERID: id, CNI_ARGS: '' } });
  await cni.policies([]);
});

test('GC removes what the runtime does not know, of its own network only', async () => {
  await cni.add('web');
  await cni.add('api');
  cni.removeNamespace('chained');
  await cni.add('chained', { configuration: { name: 'other' } });
  const valid = [{ containerID: 'container-web', ifname: 'eth0' }];
  const outcome = await cni.call('GC', '', { configuration: { 'cni.dev/valid-attachments': valid } });
  assert.deepEqual([outcome.status, outcome.stdout], [0, '']);
  assert.deepEqual(await cni.attached(), ['test/chained', 'test/web']);
  assert.equal((await cni.call('GC', '')).json.code, 7);
  assert.equal((await cni.attached()).length, 2);
  for (const name of ['web', 'chained']) await cni.call('DEL', name);
});

test('STATUS tells a node that can serve from one whose switch is away', async () => {
  assert.deepEqual(failed(await cni.call('STATUS', '')), [0, undefined]);
  assert.equal((await cni.call('STATUS', '', { configuration: { ipam: { type: 'x' } } })).json.code, 2);
  await cni.node.killAgent();
  assert.deepEqual(failed(await cni.call('STATUS', '', { configuration: { connectTimeout: 0 } })), [1, 50]);
  await cni.node.startAgent();
  await until('STATUS is well again', 15, async () => (await cni.call('STATUS', '')).status === 0);
});
