/**
 * Names: pods ask the server that their resolv.conf names, which is a Service, also where policy opens nothing else. The server is a stand-in
 * that knows one address, or with WEFT_TEST_COREDNS a real CoreDNS, configured as K3s does it, but that names outside of the
 * cluster are asked for at the machine's "outside".
 */
import assert from 'node:assert/strict';
import { resolve } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { Family } from '../../src/net/address.js';
import { podProgram } from '../support/container-image.js';
import { outsideAddressOf } from '../support/machine.js';
import { until } from '../support/weft.js';
import {
  addressOf,
  type Cluster,
  type KubeObject,
  namespaceObject,
  podObject,
  type RunningPod,
  serviceObject,
} from './cluster.js';
import { clusterDns, lacksNode } from './own-cluster.js';

const namespace = 'names';
const coreDns = process.env.WEFT_TEST_COREDNS ?? '';
const coreDnsImage = 'weft.test/coredns:1';
const standInAnswer = '203.0.113.53';
const worldAnswer = '203.0.113.99';
const labels = { 'k8s-app': 'kube-dns' };
const transports = coreDns === '' ? ['udp'] : ['udp', 'tcp'];

const ports = [
  { name: 'dns', containerPort: 53, protocol: 'UDP' },
  { name: 'dns-tcp', containerPort: 53, protocol: 'TCP' },
];

function standIn(): KubeObject[] {
  const serve = [`dns/53/${standInAnswer}`];
  return [podObject({ namespace: 'kube-system', name: 'dns', labels, serve, ports })];
}

/** The balancer's world is asked at port 5353: 53 is a conformance case's. */
function corefile(world: string): string {
  return `.:53 {
  errors
  health
  ready
  kubernetes cluster.local in-addr.arpa ip6.arpa {
    pods insecure
    fallthrough in-addr.arpa ip6.arpa
  }
  hosts /etc/coredns/NodeHosts {
    ttl 60
    reload 15s
    fallthrough
  }
  prometheus :9153
  forward . ${world}
  cache 30
  loop
  reload
  loadbalance
}
`;
}

function realServer(world: string): KubeObject[] {
  const metadata = { namespace: 'kube-system', name: 'coredns' };
  const rbac = 'rbac.authorization.k8s.io';
  const rules = [
    { apiGroups: [''], resources: ['endpoints', 'services', 'pods', 'namespaces'], verbs: ['list', 'watch'] },
    { apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'], verbs: ['list', 'watch'] },
  ];
  return [
    { apiVersion: 'v1', kind: 'ServiceAccount', metadata },
    { apiVersion: `${rbac}/v1`, kind: 'ClusterRole', metadata: { name: 'coredns' }, rules },
    {
      apiVersion: `${rbac}/v1`,
      kind: 'ClusterRoleBinding',
      metadata: { name: 'coredns' },
      roleRef: { apiGroup: rbac, kind: 'ClusterRole', name: 'coredns' },
      subjects: [{ kind: 'ServiceAccount', ...metadata }],
    },
    {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata,
      data: { Corefile: corefile(world), NodeHosts: '192.0.2.2 node\n' },
    },
    podObject({
      namespace: 'kube-system',
      name: 'dns',
      labels,
      ports,
      container: {
        image: coreDnsImage,
        command: ['/coredns', '-conf', '/etc/coredns/Corefile'],
        readinessProbe: { httpGet: { path: '/ready', port: 8181 }, periodSeconds: 2 },
        livenessProbe: { httpGet: { path: '/health', port: 8080 }, initialDelaySeconds: 60 },
        volumeMounts: [{ name: 'config', mountPath: '/etc/coredns' }],
      },
      spec: {
        serviceAccountName: 'coredns',
        automountServiceAccountToken: true,
        dnsPolicy: 'Default',
        volumes: [{ name: 'config', configMap: { name: 'coredns' } }],
      },
    }),
  ];
}

export function dns(cluster: () => Cluster, reason: string): void {
  const skip = reason !== '' ? reason : lacksNode;

  describe('names', () => {
    let client: RunningPod;
    let web: RunningPod;
    let family: Family = 4;
    let families: readonly Family[] = [];

    before(async () => {
      if (skip !== false) return;
      const { machine, containerd } = cluster().own!;
      family = await cluster().serviceFamily();
      families = [family, ...cluster().families.filter((one) => one !== family)];
      if (coreDns !== '') {
        containerd.importImage({
          tag: coreDnsImage,
          command: ['/coredns'],
          files: { '/coredns': resolve(coreDns) },
        });
        const serve = ['serve', 'world', `dns/5353/${worldAnswer}`];
        machine.spawn('world-dns', ['ip', 'netns', 'exec', 'outside', '/run/machine/pod', ...serve]);
      }
      const world = outsideAddressOf(family);
      await cluster().apply([
        ...(coreDns === '' ? standIn() : realServer(`${family === 4 ? world : `[${world}]`}:5353`)),
        serviceObject('kube-system', 'kube-dns', {
          clusterIP: clusterDns[family],
          ...(families.length === 1
            ? {}
            : { ipFamilyPolicy: 'RequireDualStack', clusterIPs: families.map((one) => clusterDns[one]) }),
          selector: labels,
          ports: ports.map(({ name, protocol }) => ({ name, port: 53, protocol, targetPort: name })),
        }),
        namespaceObject(namespace),
        podObject({ namespace, name: 'web', labels: { app: 'web' }, serve: ['tcp/80'] }),
        podObject({ namespace, name: 'client' }),
        serviceObject(namespace, 'web', { selector: { app: 'web' }, ports: [{ port: 80 }] }),
        serviceObject(namespace, 'headless', {
          clusterIP: 'None',
          selector: { app: 'web' },
          ports: [{ port: 80 }],
        }),
      ]);
      const pods = await cluster().ready([namespace], 2);
      [client, web] = [pods.get(`${namespace}/client`)!, pods.get(`${namespace}/web`)!];
      await cluster().kubectl(
        ['wait', '--for=condition=Ready', 'pod/dns', '-n', 'kube-system', '--timeout=60s'],
        { seconds: 70 },
      );
    });
    after(async () => {
      if (skip !== false) return;
      await cluster().delete('namespace', namespace);
      await cluster().delete('pod/dns', 'service/kube-dns', '-n', 'kube-system');
      await cluster().own?.machine.kill('world-dns');
      await cluster().gone([namespace]);
    });

    const ask = async (name: string, transport = 'udp', server = '-', record = family === 4 ? 'A' : 'AAAA') =>
      (
        await cluster()
          .exec(client, [podProgram, 'resolve', transport, record, server, name])
          .catch(() => 'timeout')
      ).trim();

    async function becomes(wanted: string, ...question: Parameters<typeof ask>): Promise<void> {
      let answer = '';
      await until('the answer fits', 30, async () => {
        answer = await ask(...question);
        return answer === wanted;
      }).catch(() => assert.equal(answer, wanted, question.join(' ')));
    }

    const clusterIp = async (name: string, where: string) =>
      (await cluster().get<{ spec: { clusterIP: string } }>('service', name, '-n', where)).spec.clusterIP;

    test('a pod asks the server that its resolv.conf names, and by every address of its Service', {
      skip,
    }, async () => {
      const name = 'kubernetes.default.svc.cluster.local';
      const wanted = coreDns === '' ? standInAnswer : await clusterIp('kubernetes', 'default');
      for (const server of ['-', ...families.map((one) => clusterDns[one])])
        for (const transport of transports)
          await becomes(wanted, name, transport, server, coreDns === '' ? 'A' : undefined);
    });

    test('Services, headless ones, nodes and the world have their names', {
      skip: skip !== false ? skip : coreDns === '' ? 'WEFT_TEST_COREDNS is needed' : false,
    }, async () => {
      for (const transport of transports) {
        await becomes(await clusterIp('web', namespace), `web.${namespace}.svc.cluster.local`, transport);
        await becomes(addressOf(web, family), `headless.${namespace}.svc.cluster.local`, transport);
        await becomes('none', `nobody.${namespace}.svc.cluster.local`, transport);
      }
      await becomes('192.0.2.2', 'node', 'tcp', '-', 'A');
      await becomes(worldAnswer, 'world.example', 'udp', '-', 'A');
    });

    test('where policy opens nothing but names, names are all that is there', { skip }, async () => {
      const [name, wanted, record] =
        coreDns === ''
          ? ['any.example', standInAnswer, 'A']
          : [`headless.${namespace}.svc.cluster.local`, addressOf(web, family), undefined];
      const policy = (own: string, spec: object): KubeObject => ({
        apiVersion: 'networking.k8s.io/v1',
        kind: 'NetworkPolicy',
        metadata: { namespace, name: own },
        spec: { podSelector: {}, ...spec },
      });
      await cluster().apply([policy('nothing', { policyTypes: ['Ingress', 'Egress'] })]);
      try {
        for (const transport of transports) await becomes('timeout', name!, transport, '-', record);
        const kubeSystem = { matchLabels: { 'kubernetes.io/metadata.name': 'kube-system' } };
        await cluster().apply([
          policy('names', {
            policyTypes: ['Egress'],
            egress: [
              {
                to: [{ namespaceSelector: kubeSystem, podSelector: { matchLabels: labels } }],
                ports: ports.map(({ name: port, protocol }) => ({ port, protocol })),
              },
            ],
          }),
        ]);
        for (const transport of transports)
          for (const server of ['-', ...families.map((one) => clusterDns[one])])
            await becomes(wanted!, name!, transport, server, record);
        const others = [`tcp/${addressOf(web, family)}/80`, `tcp/${outsideAddressOf(family)}/80`];
        assert.deepEqual(await cluster().probe(client, others), ['timeout', 'timeout']);
      } finally {
        await cluster().delete('networkpolicies', '--all', '-n', namespace);
      }
    });
  });
}
