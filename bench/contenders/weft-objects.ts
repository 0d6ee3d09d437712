/** The cluster of a contender as Kubernetes objects: what the agent reads. */
import { allowedPorts, policiesUnderTest } from './contender.js';
import { addresses } from './site.js';
import { weftNodeName } from './weft-node.js';

export interface ClusterSize {
  readonly policies: number;
  /** Pods of this node beside the two under test; they are in the image, nothing is attached. */
  readonly otherPods?: number;
}

/** Where workloads have their servers; the Service has all of them. */
export const servicePorts: readonly number[] = Array.from({ length: 16 }, (_, i) => allowedPorts.first + i);

const otherNamespaces = 50;
const usualOtherPods = 200;

export function clusterObjects({ policies, otherPods = usualOtherPods }: ClusterSize): object[] {
  return [
    namespaceObject('bench'),
    ...Array.from({ length: otherNamespaces }, (_, i) => namespaceObject(`other-${i}`)),
    podObject('bench', 'client', addresses.client),
    podObject('bench', 'server', addresses.server),
    ...Array.from({ length: otherPods }, (_, i) => otherPod(i)),
    serviceObject(),
    ...Array.from({ length: policies }, (_, i) =>
      i < policiesUnderTest ? policyUnderTest(i) : otherPolicy(i, otherPods),
    ),
  ];
}

export function namespaceObject(name: string): object {
  return { apiVersion: 'v1', kind: 'Namespace', metadata: { name } };
}

export function podObject(
  namespace: string,
  name: string,
  ipv4: string,
  labels: Readonly<Record<string, string>> = {},
): object {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { namespace, name, labels: { name, ...labels } },
    spec: { nodeName: weftNodeName, containers: [{ name: 'c', image: 'none' }] },
    status: {
      phase: 'Running',
      podIP: ipv4,
      podIPs: [{ ip: ipv4 }],
      conditions: [{ type: 'Ready', status: 'True' }],
    },
  };
}

function otherPod(i: number): object {
  const labels = { app: `app-${i % 20}` };
  return podObject(otherNamespace(i), `pod-${i}`, `10.44.${i >> 8}.${i & 255}`, labels);
}

const otherNamespace = (i: number): string => `other-${i % otherNamespaces}`;
const protocols = ['TCP', 'UDP'] as const;

/** Together they allow the range, a tenth each, and nothing else to or from the two pods. */
function policyUnderTest(i: number): object {
  const width = (allowedPorts.last + 1 - allowedPorts.first) / policiesUnderTest;
  const first = allowedPorts.first + i * width;
  const ports = protocols.map((protocol) => ({ protocol, port: first, endPort: first + width - 1 }));
  return policyObject('bench', `policy-${i}`, {
    podSelector: {},
    policyTypes: ['Ingress', 'Egress'],
    ingress: [{ from: [{ podSelector: { matchLabels: { name: 'client' } } }], ports }],
    egress: [{ to: [{ podSelector: { matchLabels: { name: 'server' } } }], ports }],
  });
}

function otherPolicy(i: number, otherPods: number): object {
  const selected = i % otherPods;
  const port = 1000 + (i % 5000);
  return policyObject(otherNamespace(selected), `policy-${i}`, {
    podSelector: { matchLabels: { name: `pod-${selected}` } },
    policyTypes: ['Ingress', 'Egress'],
    ingress: [
      {
        from: [
          { podSelector: { matchLabels: { app: `app-${i % 20}` } } },
          { ipBlock: { cidr: `10.${i % 200}.${i % 256}.0/24` } },
        ],
        ports: [{ protocol: 'TCP', port }],
      },
    ],
    egress: [
      {
        to: [
          { namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': otherNamespace(i + 1) } } },
        ],
        ports: [{ protocol: 'TCP', port }],
      },
    ],
  });
}

function policyObject(namespace: string, name: string, spec: object): object {
  return { apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicy', metadata: { namespace, name }, spec };
}

function serviceObject(): object {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { namespace: 'bench', name: 'server' },
    spec: {
      type: 'ClusterIP',
      clusterIP: addresses.clusterIP,
      clusterIPs: [addresses.clusterIP],
      selector: { name: 'server' },
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
