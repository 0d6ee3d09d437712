/**
 * Which endpoints get new connections, by what Kubernetes since 1.21 says of them: those that end and still serve, those that are near, one's
 * own node's, the one that a client had before; and ports of sidecars. From pods (the switch) and from outside (kube-proxy) alike.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { Family } from '../../src/net/address.js';
import { podProgram } from '../support/container-image.js';
import { nodeAddressOf, outsideAddressOf } from '../support/machine.js';
import { until } from '../support/weft.js';
import {
  addressOf,
  type Cluster,
  denyAll,
  type KubeObject,
  namespaceObject,
  podObject,
  type RunningPod,
  serviceObject,
} from './cluster.js';
import { lacksNode, nodeName } from './own-cluster.js';

const namespace = 'endpoints';
const zone = 'topology.kubernetes.io/zone';

/** Its containers are asked to end, and do not, for `seconds`. */
function lingering(name: string, app: string, seconds: number): KubeObject {
  return podObject({
    namespace,
    name,
    labels: { app },
    serve: ['tcp/80', 'udp/80'],
    container: { lifecycle: { preStop: { exec: { command: [podProgram, 'pause'] } } } },
    spec: { terminationGracePeriodSeconds: seconds },
  });
}

export function endpoints(cluster: () => Cluster, reason: string): void {
  const skip = reason !== '' ? reason : lacksNode;

  describe('endpoints of Services', () => {
    let family: Family = 4;
    let client: RunningPod;
    let minor = 0;
    const machine = () => cluster().own!.machine;

    before(async () => {
      if (skip !== false) return;
      family = await cluster().serviceFamily();
      minor = Number.parseInt(
        (JSON.parse(await cluster().kubectl(['get', '--raw', '/version'])) as { minor: string }).minor,
        10,
      );
      await cluster().apply([namespaceObject(namespace), podObject({ namespace, name: 'client' })]);
      client = (await cluster().ready([namespace], 1)).get(`${namespace}/client`)!;
    });
    after(async () => {
      if (skip !== false) return;
      await cluster().delete('namespace', namespace);
      await cluster().gone([namespace]);
    });

    const clusterIp = async (name: string) =>
      (await cluster().get<{ spec: { clusterIP: string } }>('service', name, '-n', namespace)).spec.clusterIP;

    /**
     * Who answers at the target, asked often; or once and with patience, where it is to refuse: kernels limit how often they say so, and may
     * hear it only at their second packet, a second later, where the answer comes within the system call that sent the first.
     */
    async function answering(target: string, from: 'pod' | 'outside', times = 16): Promise<string[]> {
      const targets = Array<string>(times).fill(target);
      const patience = times === 1 ? '2500' : '700';
      const said =
        from === 'pod'
          ? await cluster().probe(client, targets)
          : (
              await machine().ran([
                ...['ip', 'netns', 'exec', 'outside', '/run/machine/pod', 'probe', patience, ...targets],
              ])
            ).stdout
              .trim()
              .split('\n');
      return [
        ...new Set(said.map((one) => (one.startsWith('ok ') ? (one.split(' ')[1] ?? '') : one))),
      ].sort();
    }

    async function answers(wanted: readonly string[], target: string, from: 'pod' | 'outside', seconds = 20) {
      let last: string[] = [];
      await until('the endpoints answer', seconds, async () => {
        last = await answering(target, from, wanted[0] === 'refused' ? 1 : 16);
        return last.join() === wanted.join();
      }).catch(() => assert.deepEqual(last, wanted, `${target} from ${from}`));
    }

    test('an endpoint that ends gets no new connections while another is ready, and the last ones all of them', {
      skip,
    }, async (context) => {
      if (minor < 26) return context.skip('since Kubernetes 1.26');
      await cluster().apply([
        lingering('first', 'ending', 40),
        lingering('second', 'ending', 40),
        serviceObject(namespace, 'ending', {
          type: 'NodePort',
          selector: { app: 'ending' },
          ports: [{ port: 80, nodePort: 30101 }],
        }),
        serviceObject(namespace, 'ending-local', {
          type: 'NodePort',
          externalTrafficPolicy: 'Local',
          selector: { app: 'ending' },
          ports: [{ port: 80, nodePort: 30102 }],
        }),
      ]);
      await cluster().ready([namespace], 3);
      const ip = await clusterIp('ending');
      const node = nodeAddressOf(family);
      const ways = [
        [`tcp/${ip}/80`, 'pod'],
        [`tcp/${node}/30101`, 'pod'],
        [`tcp/${node}/30102`, 'pod'],
        [`tcp/${node}/30101`, 'outside'],
        [`tcp/${node}/30102`, 'outside'],
      ] as const;
      for (const [target, from] of ways) await answers(['first', 'second'], target, from);
      await cluster().delete('pod', 'first', '-n', namespace);
      for (const [target, from] of ways) await answers(['second'], target, from);
      await cluster().delete('pod', 'second', '-n', namespace);
      for (const [target, from] of ways) await answers(['first', 'second'], target, from);
      await cluster().delete('pod', 'first', 'second', '-n', namespace, '--grace-period=0', '--force');
      for (const [target, from] of ways) await answers(['refused'], target, from, 60);
      await cluster().delete('service', 'ending', 'ending-local', '-n', namespace);
    });

    test('traffic stays near where the Service asks for it', { skip }, async (context) => {
      if (minor < 31) return context.skip('since Kubernetes 1.31');
      // A node and a pod of another zone, which is the machine's outside: nothing runs there that would say so.
      const far = 'far-away';
      await cluster().kubectl(['label', '--overwrite', 'node', nodeName, `${zone}=here`]);
      await cluster().apply([
        { apiVersion: 'v1', kind: 'Node', metadata: { name: far, labels: { [zone]: 'there' } } },
        podObject({ namespace, name: 'near', labels: { app: 'spread' }, serve: ['tcp/80'] }),
        podObject({
          namespace,
          name: 'away',
          labels: { app: 'spread' },
          spec: { nodeName: far, tolerations: [{ operator: 'Exists' }] },
        }),
        serviceObject(namespace, 'spread', {
          type: 'NodePort',
          selector: { app: 'spread' },
          ports: [{ port: 80, nodePort: 30103 }],
        }),
      ]);
      try {
        await cluster().kubectl([
          'wait',
          '--for=condition=Ready',
          'pod/near',
          '-n',
          namespace,
          '--timeout=60s',
        ]);
        const path = `/api/v1/namespaces/${namespace}/pods/away/status`;
        const ip = outsideAddressOf(family);
        await until('the pod far away has its status', 20, async () => {
          const pod = JSON.parse(await cluster().kubectl(['get', '--raw', path])) as { status: object };
          pod.status = {
            phase: 'Running',
            podIP: ip,
            podIPs: [{ ip }],
            conditions: ['Ready', 'ContainersReady', 'Initialized', 'PodScheduled'].map((type) => ({
              type,
              status: 'True',
            })),
          };
          await cluster().kubectl(['replace', '--raw', path, '-f', '-'], { input: JSON.stringify(pod) });
          return true;
        });
        const targets = [`tcp/${await clusterIp('spread')}/80`, `tcp/${nodeAddressOf(family)}/30103`];
        for (const target of targets) await answers(['near', 'outside'], target, 'pod');
        await cluster().kubectl([
          ...['patch', 'service', 'spread', '-n', namespace, '--type=merge'],
          ...['-p', JSON.stringify({ spec: { trafficDistribution: 'PreferClose' } })],
        ]);
        for (const target of targets) await answers(['near'], target, 'pod');
        // The one that is near is gone: what is left is far.
        await cluster().kubectl(['label', '--overwrite', 'pod', 'near', '-n', namespace, 'app=gone']);
        for (const target of targets) await answers(['outside'], target, 'pod');
      } finally {
        await cluster().delete('pod', 'away', '-n', namespace, '--grace-period=0', '--force');
        await cluster().delete('pod', 'near', '-n', namespace);
        await cluster().delete('service', 'spread', '-n', namespace);
        await cluster().delete('node', far);
      }
    });

    test('a client stays with its endpoint, and internal traffic on its node', { skip }, async () => {
      const web = (name: string) => podObject({ namespace, name, labels: { app: 'web' }, serve: ['tcp/80'] });
      await cluster().apply([
        ...['one', 'two', 'three'].map(web),
        serviceObject(namespace, 'sticky', {
          type: 'NodePort',
          sessionAffinity: 'ClientIP',
          selector: { app: 'web' },
          ports: [{ port: 80, nodePort: 30104 }],
        }),
        serviceObject(namespace, 'internal', {
          internalTrafficPolicy: 'Local',
          selector: { app: 'web' },
          ports: [{ port: 80 }],
        }),
      ]);
      try {
        await until('three pods are ready', 60, async () => {
          const all = await answering(`tcp/${await clusterIp('internal')}/80`, 'pod');
          return all.join() === 'one,three,two';
        });
        const sticky = [`tcp/${await clusterIp('sticky')}/80`, `tcp/${nodeAddressOf(family)}/30104`];
        for (const [target, from] of [
          [sticky[0]!, 'pod'],
          [sticky[1]!, 'pod'],
          [sticky[1]!, 'outside'],
        ] as const) {
          let last: string[] = [];
          await until('one endpoint answers', 20, async () => {
            last = await answering(target, from);
            return last.length === 1 && last[0] !== 'refused';
          }).catch(() => assert.fail(`${target} from ${from}: ${last.join()}`));
        }
      } finally {
        await cluster().delete('pod', 'one', 'two', 'three', '-n', namespace);
        await cluster().delete('service', 'sticky', 'internal', '-n', namespace);
      }
    });

    test('a Service that is labelled for another proxy is not served, as long as it is', {
      skip,
    }, async () => {
      await cluster().apply([
        podObject({ namespace, name: 'foreign', labels: { app: 'foreign' }, serve: ['tcp/80'] }),
        serviceObject(namespace, 'foreign', { selector: { app: 'foreign' }, ports: [{ port: 80 }] }),
      ]);
      try {
        const target = `tcp/${await clusterIp('foreign')}/80`;
        const label = (text: string) =>
          cluster().kubectl(['label', 'service', 'foreign', '-n', namespace, text]);
        await answers(['foreign'], target, 'pod', 60);
        for (const name of ['service.kubernetes.io/service-proxy-name', 'service.kubernetes.io/headless']) {
          await label(`${name}=other`);
          await cluster().probesUntil(
            `${name}: nobody answers`,
            client,
            target,
            (text) => !text.startsWith('ok'),
          );
          await label(`${name}-`);
          await answers(['foreign'], target, 'pod');
        }
      } finally {
        await cluster().delete('pod', 'foreign', '-n', namespace);
        await cluster().delete('service', 'foreign', '-n', namespace);
      }
    });

    test('a sidecar’s named port is one of the pod’s to policy', { skip }, async (context) => {
      if (minor < 29) return context.skip('since Kubernetes 1.29');
      await cluster().apply([
        denyAll(namespace),
        {
          apiVersion: 'networking.k8s.io/v1',
          kind: 'NetworkPolicy',
          metadata: { namespace, name: 'side' },
          spec: {
            podSelector: { matchLabels: { app: 'main' } },
            ingress: [{ ports: [{ port: 'side' }] }],
          },
        },
      ]);
      try {
        const own = podObject({
          namespace,
          name: 'main',
          labels: { app: 'main' },
          serve: ['tcp/80'],
          ports: [{ name: 'http', containerPort: 80 }],
        });
        const spec = own.spec as { containers: [object] };
        const sidecar = {
          ...spec.containers[0],
          name: 'side',
          restartPolicy: 'Always',
          command: [podProgram, 'serve', 'side', 'tcp/8080'],
          ports: [{ name: 'side', containerPort: 8080 }],
          startupProbe: { tcpSocket: { port: 8080 }, periodSeconds: 1 },
        };
        await cluster().apply([{ ...own, spec: { ...spec, initContainers: [sidecar] } }]);
        const pods = await cluster().ready([namespace], 2);
        const ip = addressOf(pods.get(`${namespace}/main`), family);
        await cluster().probesUntil('the sidecar is open', client, `tcp/${ip}/8080`, (text) =>
          text.startsWith('ok side'),
        );
        assert.deepEqual(await cluster().probe(client, [`tcp/${ip}/80`]), ['timeout']);
      } finally {
        await cluster().delete('networkpolicies', '--all', '-n', namespace);
        await cluster().delete('pod', 'main', '-n', namespace);
      }
    });
  });
}
