/** Pod. Needs no more than a name: a world that is only asked about may leave out containers, node and status. */
import type { ContainerPort, Pod, PodPhase } from '../model/pod.js';
import type { KubernetesObject, ManifestObject } from './object.js';
import {
  addressesFrom,
  isPortNumber,
  labelsFrom,
  nameOf,
  objectOf,
  objectsOf,
  type PlainObject,
  protocolFrom,
  sourceAt,
  textOf,
} from './plain.js';

const phases: ReadonlySet<unknown> = new Set(['Pending', 'Running', 'Succeeded', 'Failed', 'Unknown']);

export function decodePod(value: KubernetesObject, origin?: ManifestObject): Pod | undefined {
  const named = nameOf(value);
  const metadata = objectOf(value.metadata);
  const labels = labelsFrom(metadata.labels);
  if (named === undefined || labels === undefined) return undefined;
  const spec = objectOf(value.spec);
  const status = objectOf(value.status);
  // Field by field: an object that is spread into another has a hidden class of its own, which weighs as much as the pod.
  return {
    namespace: named.namespace,
    name: named.name,
    uid: named.uid,
    labels,
    addresses: addressesFrom(status.podIPs, status.podIP),
    hostAddresses: addressesFrom(status.hostIPs, status.hostIP),
    hostNetwork: spec.hostNetwork === true,
    nodeName: textOf(spec.nodeName),
    phase: (phases.has(status.phase) ? status.phase : 'Running') as PodPhase,
    terminating: typeof metadata.deletionTimestamp === 'string',
    ready: isReady(status),
    created: textOf(metadata.creationTimestamp),
    ports: containerPorts(spec),
    ...configHash(metadata),
    ...sourceAt(origin, ['metadata', 'name']),
  };
}

/** A manifest's pod has no conditions: it counts as ready unless it says that it has not started. */
function isReady(status: PlainObject): boolean {
  const condition = objectsOf(status.conditions).find((entry) => entry.type === 'Ready');
  if (condition !== undefined) return condition.status === 'True';
  return status.phase === undefined || status.phase === 'Running';
}

/** Only a mirror has it by the kubelet's word; on any other pod the annotation is whatever somebody wrote. */
function configHash(metadata: PlainObject): Pick<Pod, 'configHash'> {
  const annotations = objectOf(metadata.annotations);
  const hash = textOf(annotations['kubernetes.io/config.hash']);
  return hash !== '' && textOf(annotations['kubernetes.io/config.mirror']) !== '' ? { configHash: hash } : {};
}

/** Ports of containers and of restartable init containers; an init container that ends serves nobody. */
function containerPorts(spec: PlainObject): ContainerPort[] {
  const sidecars = objectsOf(spec.initContainers).filter((container) => container.restartPolicy === 'Always');
  const ports: ContainerPort[] = [];
  for (const container of [...objectsOf(spec.containers), ...sidecars]) {
    for (const entry of objectsOf(container.ports)) {
      const protocol = protocolFrom(entry.protocol);
      if (protocol === undefined || !isPortNumber(entry.containerPort)) continue;
      const name = textOf(entry.name);
      ports.push({ ...(name === '' ? {} : { name }), port: entry.containerPort, protocol });
    }
  }
  return ports;
}
