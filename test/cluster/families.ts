/**
 * IPv6 beside IPv4: dual-stack Services from pods, from outside and from the node, host ports, policy over both families, and a node that has
 * no IPv6 address while its pods do.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { type Machine, nodeAddress, nodeAddress6, outsideAddress6 } from '../support/machine.js';
import type { NodeWeft } from '../support/node-weft.js';
import { until } from '../support/weft.js';
import {
  addressOf,
  admit,
  type Cluster,
  denyAll,
  namespaceObject,
  podObject,
  podsOf,
  type RunningPod,
  serviceObject,
} from './cluster.js';
import { familiesOf, lacksNode, wantedFamilies } from './own-cluster.js';

const namespace = 'families';
const outside = ['ip', 'netns', 'exec', 'outside'];

export function families(
  cluster: () => Cluster,
  weft: () => NodeWeft,
  reason: string,
  configure: (addresses: readonly string[]) => void,
): void {
  const single = familiesOf(wantedFamilies()).length === 1 ? 'WEFT_TEST_FAMILIES has one family' : false;
  const skip = reason !== '' ? reason : lacksNode || single;

  describe('both families', () => {
    let web: RunningPod;
    let client: RunningPod;
    let friend: RunningPod;
    let clusterIps: readonly string[] = [];
    const machine = (): Machine => cluster().own!.machine;
    const probeFrom = async (into: readonly string[], target: string) =>
      (await machine().ran([...into, '/run/machine/pod', 'probe', '700', target])).stdout.trim();
    const becomes = async (what: string, into: readonly string[], target: string, wanted: string) => {
      let answer = '';
      await until(what, 15, async () => {
        answer = await probeFrom(into, target);
        return answer === wanted;
      }).catch(() => assert.equal(answer, wanted, what));
    };

    before(async () => {
      if (skip !== false) return;
      await cluster().apply([
        namespaceObject(namespace),
        podObject({
          namespace,
          name: 'web',
          labels: { app: 'web' },
          serve: ['tcp/80', 'udp/80'],
          ports: [
            { containerPort: 80, hostPort: 8090, protocol: 'TCP' },
            { containerPort: 80, hostPort: 8090, protocol: 'UDP' },
          ],
          container: {
            readinessProbe: { httpGet: { path: '/', port: 80 }, periodSeconds: 1 },
          },
        }),
        podObject({ namespace, name: 'client' }),
        podObject({ namespace, name: 'friend', labels: { app: 'friend' } }),
        serviceObject(namespace, 'web', {
          type: 'NodePort',
          ipFamilyPolicy: 'RequireDualStack',
          selector: { app: 'web' },
          ports: [
            { name: 'tcp', port: 80, nodePort: 30090 },
            { name: 'udp', port: 80, protocol: 'UDP', nodePort: 30091 },
          ],
        }),
      ]);
      const pods = await cluster().ready([namespace], 3);
      [web, client, friend] = ['web', 'client', 'friend'].map(
        (name) => pods.get(`${namespace}/${name}`)!,
      ) as [RunningPod, RunningPod, RunningPod];
      const { spec } = await cluster().get<{ spec: { clusterIPs: string[] } }>(
        'service',
        'web',
        '-n',
        namespace,
      );
      clusterIps = spec.clusterIPs;
    });
    after(async () => {
      if (skip !== false) return;
      await cluster().delete('namespace', namespace);
      await cluster().gone([namespace]);
    });

    test('a pod has an address of each, the primary one first, and a Service too', { skip }, () => {
      const kinds = (texts: readonly string[]) => texts.map((text) => (text.includes(':') ? 6 : 4));
      assert.deepEqual(kinds(web.ips), cluster().families);
      assert.deepEqual(kinds(clusterIps).sort(), [4, 6]);
    });

    test('a cluster address, a node port and a host port of each are reached, and the client keeps its address', {
      skip,
    }, async () => {
      for (const ip of clusterIps) {
        const own = addressOf(client, ip.includes(':') ? 6 : 4);
        for (const protocol of ['tcp', 'udp'])
          await cluster().probesUntil(
            'it answers',
            client,
            `${protocol}/${ip}/80`,
            (text) => text === `ok web ${own}`,
          );
      }
      for (const target of [
        `tcp/${nodeAddress6}/30090`,
        `udp/${nodeAddress6}/30091`,
        `tcp/${nodeAddress6}/8090`,
        `udp/${nodeAddress6}/8090`,
      ]) {
        await becomes(`${target} from outside`, outside, target, `ok web ${outsideAddress6}`);
        await cluster().probesUntil(
          'from a pod',
          client,
          target,
          (text) => text === `ok web ${addressOf(client, 6)}`,
        );
        assert.match(await probeFrom([], target), /^ok web /, `${target} from the node`);
      }
      assert.equal(
        (await cluster().probe(client, [`tcp/${outsideAddress6}/80`]))[0],
        `ok outside ${nodeAddress6}`,
      );
    });

    test('deny-all closes both, but not for the node; a rule opens them to whom it names', {
      skip,
    }, async () => {
      const targets = [
        ...clusterIps.map((ip) => `tcp/${ip}/80`),
        ...web.ips.map((ip) => `tcp/${ip}/80`),
        ...[nodeAddress, nodeAddress6].flatMap((node) => [`tcp/${node}/30090`, `tcp/${node}/8090`]),
      ];
      await cluster().apply([denyAll(namespace), admit(namespace, 'friend', 'web', podsOf('friend'))]);
      try {
        for (const target of targets) {
          await cluster().probesUntil('a pod is denied', client, target, (text) => text === 'timeout');
          await cluster().probesUntil('the friend is not', friend, target, (text) =>
            text.startsWith('ok web'),
          );
        }
        for (const target of targets.filter((text) => text.includes(nodeAddress6)))
          await becomes(`${target} from outside`, outside, target, 'timeout');
        for (const ip of web.ips)
          assert.match(await probeFrom([], `tcp/${ip}/80`), /^ok web /, 'from the node');
        await cluster().apply([
          admit(namespace, 'outside', 'web', { ipBlock: { cidr: `${outsideAddress6}/128` } }),
        ]);
        await becomes(
          'outside is allowed',
          outside,
          `tcp/${nodeAddress6}/30090`,
          `ok web ${outsideAddress6}`,
        );
        await becomes('not over IPv4', outside, `tcp/${nodeAddress}/30090`, 'timeout');
      } finally {
        await cluster().delete('networkpolicies', '--all', '-n', namespace);
      }
    });

    test('a node without an IPv6 address reaches its pods over IPv6 under deny-all', { skip }, async () => {
      await cluster().apply([denyAll(namespace)]);
      try {
        configure([nodeAddress]);
        await weft().killAgent();
        await weft().startAgent();
        await weft().agentSynced();
        const target = `tcp/${addressOf(web, 6)}/80`;
        const [cidr = ''] = (await weft().status()).addresses
          .map((one) => one.cidr)
          .filter((one) => one.includes(':'));
        await becomes('by the address that stands for it', [], target, `ok web ${cidr.split('/')[0]}`);
        await cluster().probesUntil('others are denied', client, target, (text) => text === 'timeout');
      } finally {
        configure([nodeAddress, nodeAddress6]);
        await weft().killAgent();
        await weft().startAgent();
        await weft().agentSynced();
        await cluster().delete('networkpolicies', '--all', '-n', namespace);
      }
      await becomes('and by its own again', [], `tcp/${addressOf(web, 6)}/80`, `ok web ${nodeAddress6}`);
    });
  });
}
