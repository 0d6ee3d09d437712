/**
 * Addresses that are the Service's own outside of the cluster: externalIPs, and what a load balancer of the user's has been given
 * (status.loadBalancer, as MetalLB leaves it). From outside, from pods and from the node; open and under policy.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { Family } from '../../src/net/address.js';
import { nodeAddressOf, outsideAddressOf } from '../support/machine.js';
import { until } from '../support/weft.js';
import {
  addressOf,
  type Cluster,
  denyAll,
  namespaceObject,
  podObject,
  type RunningPod,
  serviceObject,
} from './cluster.js';
import { lacksNode } from './own-cluster.js';

const namespace = 'external';
const external = { 4: '198.51.100.10', 6: '2001:db8:a::10' } as const;
const given = {
  balanced: { 4: '198.51.100.11', 6: '2001:db8:a::11' },
  local: { 4: '198.51.100.12', 6: '2001:db8:a::12' },
  ranged: { 4: '198.51.100.13', 6: '2001:db8:a::13' },
} as const;
const outside = ['ip', 'netns', 'exec', 'outside'];

export function externals(cluster: () => Cluster, reason: string): void {
  const skip = reason !== '' ? reason : lacksNode;
  const noBalancers =
    skip !== false
      ? skip
      : (process.env.KUBERNETES_BIN ?? '') === ''
        ? 'K3s has a load balancer that gives addresses itself: KUBERNETES_BIN is needed'
        : false;

  describe('external addresses of Services', () => {
    let family: Family = 4;
    let client: RunningPod;
    let friend: RunningPod;
    const machine = () => cluster().own!.machine;
    const probeFrom = async (into: readonly string[], target: string) =>
      (await machine().ran([...into, '/run/machine/pod', 'probe', '700', target])).stdout.trim();
    const becomes = async (what: string, into: readonly string[], target: string, wanted: string) => {
      let answer = '';
      await until(what, 15, async () => {
        answer = await probeFrom(into, target);
        return answer === wanted;
      }).catch(() => assert.equal(answer, wanted, `${target}: ${what}`));
    };
    const podGets = (what: string, from: RunningPod, target: string, wanted: string) =>
      cluster().probesUntil(what, from, target, (answer) => answer === wanted);

    before(async () => {
      if (skip !== false) return;
      family = await cluster().serviceFamily();
      const balancer = (name: string, spec: object = {}) =>
        serviceObject(namespace, name, {
          type: 'LoadBalancer',
          selector: { app: 'web' },
          ports: [{ port: 80 }],
          ...spec,
        });
      await cluster().apply([
        namespaceObject(namespace),
        podObject({ namespace, name: 'web', labels: { app: 'web' }, serve: ['tcp/80', 'udp/80'] }),
        podObject({ namespace, name: 'client' }),
        podObject({ namespace, name: 'friend', labels: { app: 'friend' } }),
        serviceObject(namespace, 'external', {
          selector: { app: 'web' },
          externalIPs: [external[family]],
          ports: [
            { name: 'tcp', port: 80 },
            { name: 'udp', port: 80, protocol: 'UDP' },
          ],
        }),
        ...(noBalancers === false
          ? [
              balancer('balanced'),
              balancer('local', { externalTrafficPolicy: 'Local' }),
              balancer('ranged', {
                loadBalancerSourceRanges: [family === 4 ? '203.0.113.0/24' : '2001:db8:b::/64'],
              }),
            ]
          : []),
      ]);
      const pods = await cluster().ready([namespace], 3);
      [client, friend] = [pods.get(`${namespace}/client`)!, pods.get(`${namespace}/friend`)!];
      const addresses: string[] = [external[family]];
      if (noBalancers === false)
        for (const [name, by] of Object.entries(given)) {
          addresses.push(by[family]);
          const path = `/api/v1/namespaces/${namespace}/services/${name}/status`;
          const object = JSON.parse(await cluster().kubectl(['get', '--raw', path])) as { status: object };
          object.status = { loadBalancer: { ingress: [{ ip: by[family] }] } };
          await cluster().kubectl(['replace', '--raw', path, '-f', '-'], { input: JSON.stringify(object) });
        }
      for (const address of addresses)
        machine().run('ip', '-n', 'outside', 'route', 'replace', address, 'via', nodeAddressOf(family));
    });
    after(async () => {
      if (skip !== false) return;
      await cluster().delete('namespace', namespace);
      await cluster().gone([namespace]);
    });

    /** What is reached with and without policy; `name` is the Service's. */
    async function obeysPolicy(address: string, protocols: readonly string[]): Promise<void> {
      const targets = protocols.map((protocol) => `${protocol}/${address}/80`);
      const outsider = outsideAddressOf(family);
      const own = (pod: RunningPod) => addressOf(pod, family);
      for (const target of targets) {
        await becomes('from outside', outside, target, `ok web ${outsider}`);
        await podGets('from a pod', client, target, `ok web ${own(client)}`);
        await becomes('from the node', [], target, `ok web ${nodeAddressOf(family)}`);
      }
      const policy = (name: string, from: object) => ({
        apiVersion: 'networking.k8s.io/v1',
        kind: 'NetworkPolicy',
        metadata: { namespace, name },
        spec: { podSelector: { matchLabels: { app: 'web' } }, ingress: [{ from: [from] }] },
      });
      await cluster().apply([
        denyAll(namespace),
        policy('friend', { podSelector: { matchLabels: { app: 'friend' } } }),
      ]);
      try {
        for (const target of targets) {
          await becomes('outside is denied', outside, target, 'timeout');
          await podGets('a pod is denied', client, target, 'timeout');
          await podGets('the friend is not', friend, target, `ok web ${own(friend)}`);
          await becomes('the node is not', [], target, `ok web ${nodeAddressOf(family)}`);
        }
        await cluster().apply([
          policy('outsider', { ipBlock: { cidr: `${outsider}/${family === 4 ? 32 : 128}` } }),
        ]);
        for (const target of targets) {
          await becomes('outside is allowed', outside, target, `ok web ${outsider}`);
          await podGets('a pod is denied', client, target, 'timeout');
        }
      } finally {
        await cluster().delete('networkpolicies', '--all', '-n', namespace);
      }
    }

    test('externalIPs lead to the pods, who see the client, and obey policy', { skip }, async () => {
      await obeysPolicy(external[family], ['tcp', 'udp']);
    });

    test('so do the addresses of load balancers', { skip: noBalancers }, async () => {
      await obeysPolicy(given.balanced[family], ['tcp']);
      await obeysPolicy(given.local[family], ['tcp']);
    });

    test('loadBalancerSourceRanges keep others out, pods among them', { skip: noBalancers }, async () => {
      const target = `tcp/${given.ranged[family]}/80`;
      await becomes('outside is not in the ranges', outside, target, 'timeout');
      await podGets('nor is a pod', client, target, 'timeout');
      const ranges = [outsideAddressOf(family), addressOf(client, family)];
      const spec = { loadBalancerSourceRanges: ranges.map((ip) => `${ip}/${family === 4 ? 32 : 128}`) };
      await cluster().kubectl([
        ...['patch', 'service', 'ranged', '-n', namespace, '--type=merge', '-p', JSON.stringify({ spec })],
      ]);
      await becomes('now it is', outside, target, `ok web ${outsideAddressOf(family)}`);
      await podGets('so is the pod', client, target, `ok web ${addressOf(client, family)}`);
      await podGets('another is not', friend, target, 'timeout');
    });
  });
}
