/** The cluster of all contenders (world.ts) as Kubernetes objects: what weft's agent reads. */
import { addresses } from './site.js';
import { type BenchWorld, networkPolicy, servicePorts, type WorldPod } from './world.js';

/** Name of the node under test in pods' `spec.nodeName`. */
export const weftNodeName = 'bench';

const protocols = ['TCP', 'UDP'] as const;

export function worldObjects(world: BenchWorld): object[] {
  const namespaces = new Set(world.pods.map(({ namespace }) => namespace));
  return [
    ...[...namespaces].map((name) => ({ apiVersion: 'v1', kind: 'Namespace', metadata: { name } })),
    ...world.pods.map(podObject),
    serviceObject(world.server),
    ...world.policies.map(networkPolicy),
  ];
}

export function podObject({ namespace, name, labels, ipv4, local }: WorldPod): object {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { namespace, name, labels },
    spec: { nodeName: local ? weftNodeName : 'elsewhere', containers: [{ name: 'c', image: 'none' }] },
    status: {
      phase: 'Running',
      podIP: ipv4,
      podIPs: [{ ip: ipv4 }],
      conditions: [{ type: 'Ready', status: 'True' }],
    },
  };
}

function serviceObject({ namespace, name, labels }: WorldPod): object {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { namespace, name },
    spec: {
      type: 'ClusterIP',
      clusterIP: addresses.clusterIP,
      clusterIPs: [addresses.clusterIP],
      selector: labels,
      ports: servicePorts.flatMap((port) =>
        protocols.map((protocol) => ({
          name: `${protocol.toLowerCase()}-${port}`,
          protocol,
          port,
          targetPort: port,
        })),
      ),
    },
  };
}
