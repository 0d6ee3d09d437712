/** Host ports of real pods: from outside, from the node, from pods, from the pod itself; closed by policy like everything else. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Machine, nodeAddressOf, outsideAddressOf } from '../support/machine.js';
import { until } from '../support/weft.js';
import { addressOf, type Cluster, denyAll, namespaceObject, podObject, type RunningPod } from './cluster.js';
import { lacksNode } from './own-cluster.js';

const namespace = 'hostports';

export function hostPorts(cluster: () => Cluster, reason: string): void {
  const skip = reason !== '' ? reason : lacksNode;

  test('A pod’s host port is reached from outside, the node, other pods and itself, and obeys policy', {
    skip,
  }, async () => {
    const machine = cluster().own?.machine as Machine;
    const [family = 4] = cluster().families;
    const [node, outsider] = [nodeAddressOf(family), outsideAddressOf(family)];
    const target = `tcp/${node}/8088`;
    const datagrams = `udp/${node}/8088`;
    const hosted = podObject({
      namespace,
      name: 'hosted',
      serve: ['tcp/80', 'udp/80'],
      ports: [
        { containerPort: 80, hostPort: 8088, protocol: 'TCP' },
        { containerPort: 80, hostPort: 8088, protocol: 'UDP' },
        ...(family === 4
          ? [{ containerPort: 80, hostPort: 8089, hostIP: '127.0.0.1', protocol: 'TCP' }]
          : []),
      ],
    });
    await cluster().apply([namespaceObject(namespace), hosted, podObject({ namespace, name: 'client' })]);
    try {
      const pods = await cluster().ready([namespace], 2);
      const pod = pods.get(`${namespace}/hosted`) as RunningPod;
      const client = pods.get(`${namespace}/client`) as RunningPod;
      const outside = ['ip', 'netns', 'exec', 'outside'];
      const probe = async (into: readonly string[], to: string) =>
        (await machine.ran([...into, '/run/machine/pod', 'probe', '700', to])).stdout.trim();

      assert.equal(await probe(outside, target), `ok hosted ${outsider}`);
      assert.equal(await probe(outside, datagrams), `ok hosted ${outsider}`);
      assert.match(await probe([], target), /^ok hosted /, 'from the node by its address');
      if (family === 4)
        assert.match(await probe([], 'tcp/127.0.0.1/8089'), /^ok hosted /, 'from the node by 127.0.0.1');
      assert.doesNotMatch(
        await probe(outside, `tcp/${node}/8089`),
        /^ok/,
        'hostIP 127.0.0.1 is for the node',
      );
      assert.equal((await cluster().probe(client, [target]))[0], `ok hosted ${addressOf(client, family)}`);
      assert.match((await cluster().probe(pod, [target]))[0] ?? '', /^ok hosted /, 'the pod itself');

      await cluster().apply([denyAll(namespace)]);
      await until('outside is denied', 15, async () => (await probe(outside, target)) === 'timeout');
      await cluster().probesUntil('a pod is denied', client, target, (answer) => answer === 'timeout');
      assert.match(await probe([], target), /^ok hosted /, 'the node is not');
      await cluster().delete('networkpolicies', '--all', '-n', namespace);
      await until('outside is allowed again', 15, async () =>
        (await probe(outside, target)).startsWith('ok'),
      );

      await cluster().delete('pod', 'hosted', '-n', namespace, '--grace-period=0');
      await until('the host port is gone with its pod', 30, async () => {
        const answers = await Promise.all([probe(outside, target), probe([], target)]);
        return answers.every((answer) => !answer.startsWith('ok'));
      });
    } finally {
      await cluster().delete('namespace', namespace);
      await cluster().gone([namespace]);
    }
  });
}
