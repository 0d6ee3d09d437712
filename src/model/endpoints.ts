/**
 * Where a Service's flows go, as the EndpointSlice controller would have it, or as explicit slices say. Slices win as soon as one names
 * the service, as in a cluster, where the controller's own slices are such.
 *
 * Left out: headless services (their name stands for the pods themselves) and ExternalName. A named target port is resolved pod by pod, so
 * that pods of one service may listen on different numbers; a pod without that name is no backend.
 */
import { type Address, compareAddresses, type Family } from '../net/address.js';
import { isFinished, type Pod } from './pod.js';
import type { EndpointSlice, Service, ServicePort } from './service.js';

export interface Backend {
  readonly address: Address;
  readonly port: number;
  /** '' where unknown. */
  readonly nodeName: string;
}

/** One port of a service in one family. No backends: connections are refused at once. */
export interface ServiceEndpoints {
  readonly port: ServicePort;
  readonly family: Family;
  /** By address, then port; without repeats. */
  readonly backends: readonly Backend[];
}

/** Whether the service has addresses that are translated at all. */
export function isTranslated(service: Service): boolean {
  return service.type !== 'ExternalName' && service.headless !== true && service.clusterIPs.length > 0;
}

/** Whether the service's selector means the pod. Services without a selector, or with an empty one, mean none. */
export function selects(service: Service, pod: Pod): boolean {
  if (service.namespace !== pod.namespace || service.selector === null || service.selector.size === 0)
    return false;
  for (const [key, value] of service.selector) if (pod.labels.get(key) !== value) return false;
  return true;
}

/** Whether new flows may be sent to the pod. */
function serves(service: Service, pod: Pod): boolean {
  if (isFinished(pod)) return false;
  return service.publishNotReadyAddresses || (pod.ready && !pod.terminating);
}

function targetPort(port: ServicePort, pod: Pod): number | undefined {
  if (typeof port.targetPort === 'number') return port.targetPort;
  return pod.ports.find(({ name, protocol }) => name === port.targetPort && protocol === port.protocol)?.port;
}

function inOrder(backends: readonly Backend[]): Backend[] {
  const sorted = [...backends].sort((a, b) => compareAddresses(a.address, b.address) || a.port - b.port);
  return sorted.filter((backend, i) => {
    const previous = sorted[i - 1];
    return (
      previous === undefined ||
      previous.address.text !== backend.address.text ||
      previous.port !== backend.port
    );
  });
}

function fromPods(port: ServicePort, family: Family, pods: readonly Pod[]): Backend[] {
  const backends: Backend[] = [];
  for (const pod of pods) {
    const number = targetPort(port, pod);
    if (number === undefined) continue;
    // The first address of the family, as the EndpointSlice controller takes it.
    const address = pod.addresses.find((candidate) => candidate.family === family);
    if (address !== undefined) backends.push({ address, port: number, nodeName: pod.nodeName });
  }
  return backends;
}

function fromSlices(port: ServicePort, family: Family, slices: readonly EndpointSlice[]): Backend[] {
  const backends: Backend[] = [];
  for (const slice of slices) {
    if (slice.family !== family) continue;
    const own = slice.ports.filter(({ name, protocol }) => name === port.name && protocol === port.protocol);
    for (const { port: number } of own) {
      for (const { addresses, ready, nodeName } of slice.endpoints) {
        const address = addresses[0];
        if (ready && address !== undefined) backends.push({ address, port: number, nodeName });
      }
    }
  }
  return backends;
}

function familiesOf(service: Service): Family[] {
  const all = [...service.clusterIPs, ...service.externalIPs, ...service.loadBalancerIPs];
  return ([4, 6] as const).filter((family) => all.some((address) => address.family === family));
}

/**
 * Endpoints of every port and family of a translated service; [] of any other. `pods` are candidates (others than those selected do no
 * harm), `slices` those that name the service; `node` the node that internalTrafficPolicy: Local refers to, or undefined: any.
 */
export function resolveEndpoints(
  service: Service,
  pods: Iterable<Pod>,
  slices: readonly EndpointSlice[],
  node?: string,
): ServiceEndpoints[] {
  if (!isTranslated(service)) return [];
  const serving: Pod[] = [];
  if (slices.length === 0)
    for (const pod of pods) if (selects(service, pod) && serves(service, pod)) serving.push(pod);
  const near = (backend: Backend) =>
    service.internalTrafficPolicy === 'Cluster' || node === undefined || backend.nodeName === node;
  return service.ports.flatMap((port) =>
    familiesOf(service).map((family) => {
      const found = slices.length > 0 ? fromSlices(port, family, slices) : fromPods(port, family, serving);
      return { port, family, backends: inOrder(found.filter(near)) };
    }),
  );
}
