import assert from 'node:assert/strict';
import { test } from 'node:test';
import { allowedPorts, deniedPort, policiesUnderTest } from '../../../bench/contenders/contender.js';
import { benchWorld, networkPolicy, type WorldPod } from '../../../bench/contenders/world.js';

const matches = (pod: WorldPod, labels: Readonly<Record<string, string>>): boolean =>
  Object.entries(labels).every(([key, value]) => pod.labels[key] === value);

test('a world has the policies asked for, with names of their own, and the same pods whatever their number', () => {
  const pods = JSON.stringify(benchWorld(0).pods);
  for (const count of [0, 10, 11, 100, 1_000, 10_000]) {
    const world = benchWorld(count);
    assert.equal(world.policies.length, count);
    assert.equal(new Set(world.policies.map(({ namespace, name }) => `${namespace}/${name}`)).size, count);
    assert.equal(JSON.stringify(world.pods), pods);
  }
  assert.equal(new Set(benchWorld(0).pods.map(({ ipv4 }) => ipv4)).size, benchWorld(0).pods.length);
  assert.throws(() => benchWorld(policiesUnderTest - 1), /neither 0 nor at least 10/);
});

test('peers and targets are what the selectors select, so that contenders built from either agree', () => {
  const { pods, policies } = benchWorld(1_000);
  for (const { namespace, name, selects, targets, rule } of policies) {
    const inside = pods.filter((pod) => pod.namespace === namespace);
    assert.deepEqual(
      inside.filter((pod) => matches(pod, selects)),
      targets,
      name,
    );
    if (rule === null) continue;
    const peers = inside.filter((pod) => matches(pod, rule.peerLabels));
    assert.deepEqual(new Set(peers), new Set(rule.peers), name);
    assert.equal(peers.length, 20, name);
  }
});

test('the pods under test are isolated both ways, and one policy of each lets the bench through', () => {
  for (const count of [10, 1_000, 10_000]) {
    const { client, server, policies } = benchWorld(count);
    const of = (pod: WorldPod) => policies.filter(({ targets }) => targets.includes(pod));
    assert.equal(of(client).length + of(server).length, policiesUnderTest);
    for (const [pod, peer, direction] of [
      [server, client, 'ingress'],
      [client, server, 'egress'],
    ] as const) {
      assert.deepEqual(
        new Set(of(pod).flatMap(({ directions }) => directions)),
        new Set(['ingress', 'egress']),
      );
      const rules = of(pod).flatMap(({ rule }) => (rule?.peers.includes(peer) ? [rule] : []));
      const ports = (['TCP', 'UDP'] as const).map((protocol) => ({ protocol, ...allowedPorts }));
      assert.deepEqual(
        rules.map((rule) => [rule.direction, rule.ports]),
        [[direction, ports]],
      );
    }
  }
  assert.ok(deniedPort > allowedPorts.last);
});

test('a policy as the API has it', () => {
  const { policies } = benchWorld(10);
  const [denyAll, , allows] = policies.map(networkPolicy);
  assert.deepEqual(denyAll, {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { namespace: 'team-0', name: 'server-deny-all' },
    spec: { podSelector: { matchLabels: { app: 'server' } }, policyTypes: ['Ingress', 'Egress'] },
  });
  assert.deepEqual(allows, {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { namespace: 'team-0', name: 'server-ingress-2' },
    spec: {
      podSelector: { matchLabels: { app: 'server' } },
      policyTypes: ['Ingress'],
      ingress: [
        {
          from: [{ podSelector: { matchLabels: { group: 'clients' } } }],
          ports: [
            { protocol: 'TCP', port: 5000, endPort: 5999 },
            { protocol: 'UDP', port: 5000, endPort: 5999 },
          ],
        },
      ],
    },
  });
});
