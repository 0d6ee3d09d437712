/** Workloads become the pods that their controllers would make. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { readManifests } from '../../../src/manifests/read.js';

function podsOf(text: string) {
  const manifests = readManifests(['-'], () => text);
  assert.deepEqual(manifests.problems, []);
  return manifests.model.pods;
}

const workload = (kind: string, spec: string, api = 'apps/v1') => `
apiVersion: ${api}
kind: ${kind}
metadata: {name: web, namespace: shop}
spec:
  ${spec}
  template:
    metadata: {labels: {app: web}}
    spec:
      initContainers:
        - {name: proxy, restartPolicy: Always, ports: [{name: admin, containerPort: 9901}]}
        - {name: wait, ports: [{containerPort: 1}]}
      containers: [{name: c, ports: [{name: http, containerPort: 80}]}]
`;

describe('expansion', () => {
  const cases: [kind: string, spec: string, api: string, count: number, names: RegExp][] = [
    ['Deployment', 'replicas: 3', 'apps/v1', 3, /^web-[bcdfghjklmnpqrstvwxz2456789]{5}$/],
    ['Deployment', 'replicas: 0', 'apps/v1', 0, /./],
    ['ReplicaSet', 'paused: false', 'apps/v1', 1, /^web-[a-z0-9]{5}$/],
    ['StatefulSet', 'replicas: 2', 'apps/v1', 2, /^web-[01]$/],
    ['StatefulSet', 'ordinals: {start: 5}', 'apps/v1', 1, /^web-5$/],
    ['Job', 'parallelism: 4', 'batch/v1', 4, /^web-[a-z0-9]{5}$/],
    ['Job', '{completions: 1, parallelism: 4}'.slice(1, -1).replace(', ', '\n  '), 'batch/v1', 1, /^web-/],
    ['DaemonSet', 'minReadySeconds: 0', 'apps/v1', 1, /^web-[a-z0-9]{5}$/],
  ];
  for (const [kind, spec, api, count, names] of cases) {
    test(`a ${kind} with ${spec.replace('\n  ', ', ')} is ${count} pods with stable names`, () => {
      const pods = podsOf(workload(kind, spec, api));
      assert.equal(pods.length, count);
      assert.equal(new Set(pods.map((pod) => pod.name)).size, count);
      for (const pod of pods) {
        assert.match(pod.name, names);
        assert.equal(pod.namespace, 'shop');
        assert.equal(pod.labels.get('app'), 'web');
        assert.deepEqual(
          pod.ports.map((port) => port.port),
          [80, 9901],
        );
      }
      assert.deepEqual(
        podsOf(workload(kind, spec, api)).map((pod) => pod.name),
        pods.map((pod) => pod.name),
      );
    });
  }

  test('a DaemonSet has one pod on each given node', () => {
    const nodes = ['n1', 'n2'].map((name) => `apiVersion: v1\nkind: Node\nmetadata: {name: ${name}}\n`);
    const pods = podsOf([...nodes, workload('DaemonSet', 'minReadySeconds: 0')].join('---\n'));
    assert.deepEqual(
      pods.map((pod) => pod.nodeName),
      ['n1', 'n2'],
    );
  });

  test('a Deployment and a StatefulSet of one name do not collide', () => {
    const pods = podsOf(
      `${workload('Deployment', 'replicas: 2')}---${workload('StatefulSet', 'replicas: 2')}`,
    );
    assert.equal(new Set(pods.map((pod) => pod.name)).size, 4);
  });

  test('a pod’s fields point into the workload’s template', () => {
    const [pod] = podsOf(workload('Deployment', 'replicas: 1'));
    assert.equal(pod?.source?.line, 4);
    const manifests = readManifests(['-'], () => workload('Deployment', 'replicas: 1'));
    assert.equal(
      manifests.objects[0]?.locate(['spec', 'containers', 0, 'ports', 0, 'containerPort']).line,
      13,
    );
  });

  test('more pods than anybody means are cut off with a word', () => {
    const manifests = readManifests(['-'], () => workload('Deployment', 'replicas: 999999999'));
    assert.equal(manifests.model.pods.length, 10_000);
    assert.equal(manifests.problems[0]?.code, 'too-many-replicas');
  });
});
