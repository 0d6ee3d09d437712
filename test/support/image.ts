/** Policy images for tests, from plain Kubernetes objects by the product's own compiler. */
import { compile } from '../../src/image/compile.js';
import { decodeInto, noObjects } from '../../src/manifests/decode.js';
import type { KubernetesObject } from '../../src/manifests/object.js';
import { World } from '../../src/model/world.js';

export interface TestPod {
  readonly namespace: string;
  readonly name: string;
  readonly addresses: readonly string[];
  readonly labels?: Readonly<Record<string, string>>;
}

/** Every pod is local; `objects` are NetworkPolicies, Services and whatever else the compiler reads. */
export function imageOf(pods: readonly TestPod[], objects: readonly object[] = []): Uint8Array {
  const model = noObjects();
  const namespaces = new Set(pods.map(({ namespace }) => namespace));
  const all = [
    ...[...namespaces].map((name) => ({ apiVersion: 'v1', kind: 'Namespace', metadata: { name } })),
    ...pods.map((pod) => ({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { namespace: pod.namespace, name: pod.name, labels: pod.labels ?? {} },
      spec: { nodeName: 'node', containers: [{ name: 'main' }] },
      status: { podIP: pod.addresses[0], podIPs: pod.addresses.map((ip) => ({ ip })) },
    })),
    ...objects,
  ];
  for (const object of all)
    if (!decodeInto(model, object as unknown as KubernetesObject))
      throw new Error(`not decoded: ${JSON.stringify(object)}`);
  const world = new World();
  for (const object of model.namespaces) world.apply({ type: 'upsert', kind: 'namespace', object });
  for (const object of model.pods) world.apply({ type: 'upsert', kind: 'pod', object });
  for (const object of model.policies) world.apply({ type: 'upsert', kind: 'policy', object });
  for (const object of model.services) world.apply({ type: 'upsert', kind: 'service', object });
  for (const object of model.slices) world.apply({ type: 'upsert', kind: 'slice', object });
  return compile(world, { allLocal: true }).image;
}

/** A NetworkPolicy that lets nothing in to the pods that the labels select. */
export function denyIngress(namespace: string, matchLabels: Readonly<Record<string, string>> = {}): object {
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { namespace, name: 'deny-ingress' },
    spec: { podSelector: { matchLabels }, policyTypes: ['Ingress'] },
  };
}
