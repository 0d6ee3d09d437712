import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Cluster, usualCluster } from '../../../src/lab/cluster.js';
import type { KubernetesObject } from '../../../src/manifests/object.js';
import { parseManifests } from '../../../src/manifests/parse.js';
import { cidr } from '../../../src/net/cidr.js';

const objects = (text: string) => parseManifests(text, 'test.yaml').objects;
const bare = () => new Cluster({ ...usualCluster, dns: false });
const find = (cluster: Cluster, kind: string, name: string): KubernetesObject | undefined =>
  cluster.objects.find(
    (object) => object.kind === kind && (object.metadata as { name: string }).name === name,
  );
const addresses = (cluster: Cluster) =>
  Object.fromEntries(cluster.pods.map((pod) => [pod.key, pod.addresses.map(({ text }) => text).join(' ')]));

const pod = (name: string, extra = '') =>
  `apiVersion: v1\nkind: Pod\nmetadata: {name: ${name}, namespace: shop}\n${extra}`;
const deployment = (replicas: number) => `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  replicas: ${replicas}
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, ports: [{containerPort: 80}, {containerPort: 53, protocol: UDP}]}]}
`;

describe('the cluster that manifests describe', () => {
  it('gives every pod an address of each family and the node', () => {
    const cluster = bare();
    cluster.apply(objects(`${pod('a')}\n---\n${pod('b')}`));
    assert.deepEqual(addresses(cluster), {
      'shop/a': '10.42.0.2 fd42::2',
      'shop/b': '10.42.0.3 fd42::3',
    });
    const { spec, status } = find(cluster, 'Pod', 'a') as { spec: { nodeName: string }; status: unknown };
    assert.equal(spec.nodeName, 'lab');
    assert.deepEqual(status, {
      phase: 'Running',
      podIP: '10.42.0.2',
      podIPs: [{ ip: '10.42.0.2' }, { ip: 'fd42::2' }],
      hostIP: '172.31.255.1',
      hostIPs: [{ ip: '172.31.255.1' }, { ip: 'fd41::1' }],
    });
  });

  it('keeps the addresses that a manifest brings and never gives them out', () => {
    const cluster = bare();
    cluster.apply(objects(pod('free')));
    cluster.apply(objects(`${pod('fixed', 'status: {podIP: 10.42.0.3}')}\n---\n${pod('later')}`));
    assert.deepEqual(addresses(cluster), {
      'shop/fixed': '10.42.0.3',
      'shop/free': '10.42.0.2 fd42::2',
      'shop/later': '10.42.0.4 fd42::3',
    });
  });

  it('gives an address back when its pod is deleted, and a pod that comes again another uid', () => {
    const cluster = new Cluster({ ...usualCluster, dns: false, podCidrs: [cidr('10.42.0.0/30')] });
    cluster.apply(objects(pod('a')));
    const { uid } = cluster.pods[0]!;
    assert.deepEqual(
      cluster.apply(objects(pod('b'))).problems.map(({ code }) => code),
      ['lab-addresses-exhausted'],
    );
    cluster.delete(objects(`${pod('a')}\n---\n${pod('b')}`));
    cluster.apply(objects(pod('a')));
    assert.deepEqual(addresses(cluster), { 'shop/a': '10.42.0.2' });
    assert.notEqual(cluster.pods[0]!.uid, uid);
  });

  it('makes pods of workloads, and fewer when it is scaled down', () => {
    const cluster = bare();
    cluster.apply(objects(deployment(3)));
    assert.equal(cluster.pods.length, 3);
    assert.deepEqual(cluster.pods[0]!.ports, [
      { protocol: 'TCP', port: 80 },
      { protocol: 'UDP', port: 53 },
    ]);
    const first = cluster.pods.map(({ key, uid }) => `${key} ${uid}`);
    assert.deepEqual(
      cluster.apply(objects(deployment(2))).changes.map(({ what }) => what),
      ['configured'],
    );
    assert.equal(cluster.pods.length, 2);
    for (const { key, uid } of cluster.pods) assert.ok(first.includes(`${key} ${uid}`), 'the others live on');
  });

  it('keeps a pod alive when only its labels change, and begins a new life when its address does', () => {
    const cluster = bare();
    cluster.apply(objects(pod('a')));
    const { uid } = cluster.pods[0]!;
    cluster.apply(objects(pod('a').replace('shop}', 'shop, labels: {app: a}}')));
    assert.equal(cluster.pods[0]!.uid, uid);
    cluster.apply(objects(pod('a', 'status: {podIP: 10.42.0.9}')));
    assert.notEqual(cluster.pods[0]!.uid, uid);
  });

  it('runs no pod that has ended, and gives hostNetwork pods the node', () => {
    const cluster = bare();
    cluster.apply(
      objects(
        `${pod('done', 'status: {phase: Succeeded}')}\n---\n${pod('host', 'spec: {hostNetwork: true}')}`,
      ),
    );
    assert.deepEqual(addresses(cluster), { 'shop/host': '172.31.255.1 fd41::1' });
  });

  it('declares the namespaces that are used, and takes what is in them along when they go', () => {
    const cluster = bare();
    cluster.apply(
      objects(
        `${pod('a')}\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {team: red}}`,
      ),
    );
    assert.equal(cluster.objects.filter(({ kind }) => kind === 'Namespace').length, 3);
    const { changes } = cluster.delete(objects('apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}'));
    assert.deepEqual(changes[0]?.what, 'deleted');
    assert.deepEqual(cluster.pods, []);
  });

  it('replaces everything at once; what stays the same lives on', () => {
    const cluster = new Cluster();
    cluster.apply(objects(`${pod('a')}\n---\n${pod('b')}`));
    const before = new Map(cluster.pods.map(({ key, uid }) => [key, uid]));
    const { changes } = cluster.replace(objects(`${pod('c')}\n---\n${pod('b')}`));
    assert.deepEqual(
      changes.map(({ name, what }) => `${name} ${what}`),
      ['c created', 'b unchanged', 'a deleted'],
    );
    assert.deepEqual(
      cluster.pods.map(({ key, uid }) => [key, uid === before.get(key)]),
      [
        ['kube-system/coredns', true],
        ['shop/b', true],
        ['shop/c', false],
      ],
    );
  });

  it('names and skips what a lab has no use for', () => {
    const cluster = bare();
    const { changes } = cluster.apply(
      objects(
        'kind: ConfigMap\napiVersion: v1\nmetadata: {name: c}\n---\nkind: Node\napiVersion: v1\nmetadata: {name: n}',
      ),
    );
    assert.deepEqual(
      changes.map(({ kind, what }) => `${kind} ${what}`),
      ['ConfigMap skipped', 'Node skipped'],
    );
  });

  const service = (name: string, spec: string) =>
    `apiVersion: v1\nkind: Service\nmetadata: {name: ${name}, namespace: shop}\nspec: {selector: {app: web}, ports: [{port: 80}]${spec}}`;
  for (const [what, spec, expected] of [
    ['an address of each family', '', ['10.43.0.16', 'fd43::10']],
    ['one family where it asks for one', ', ipFamilyPolicy: SingleStack', ['10.43.0.16']],
    ['the families it names', ', ipFamilies: [IPv6]', ['fd43::10']],
    ['the address it brings', ', clusterIP: 10.43.7.7', ['10.43.7.7']],
    ['none where it is headless', ', clusterIP: None', undefined],
  ] as const) {
    it(`gives a Service ${what}`, () => {
      const cluster = bare();
      cluster.apply(objects(service('web', spec)));
      const found = find(cluster, 'Service', 'web')?.spec as { clusterIPs?: string[] };
      assert.deepEqual(found.clusterIPs, expected);
    });
  }

  for (const [how, spec] of [
    ['brings another along', ', clusterIP: 10.43.7.7'],
    ['becomes headless', ', clusterIP: None'],
  ] as const) {
    it(`gives the next one the address of a Service that ${how}`, () => {
      const cluster = bare();
      const address = (name: string) =>
        (find(cluster, 'Service', name)!.spec as { clusterIP?: string }).clusterIP;
      cluster.apply(objects(service('web', ', clusterIP: 10.43.0.16')));
      cluster.apply(objects(`${service('web', spec)}\n---\n${service('api', '')}`));
      assert.equal(address('api'), '10.43.0.16');
    });
  }

  it('brings a DNS pod behind kube-dns at its usual address', () => {
    const cluster = new Cluster();
    assert.deepEqual(addresses(cluster), { 'kube-system/coredns': '10.42.0.2 fd42::2' });
    assert.equal(
      (find(cluster, 'Service', 'kube-dns')!.spec as { clusterIP: string }).clusterIP,
      '10.43.0.10',
    );
    cluster.apply(objects(pod('a')));
    cluster.replace([]);
    assert.deepEqual(Object.keys(addresses(cluster)), ['kube-system/coredns']);
  });

  it('comes out the same in whatever order objects were applied at once', () => {
    const all = objects(`${pod('a')}\n---\n${deployment(2)}\n---\n${service('web', '')}\n---\n${pod('b')}`);
    const forwards = bare();
    forwards.apply(all);
    const backwards = bare();
    backwards.apply([...all].reverse());
    assert.deepEqual(backwards.objects, forwards.objects);
  });
});
