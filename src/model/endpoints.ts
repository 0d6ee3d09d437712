/**
 * Where a Service's flows go, as the EndpointSlice controller would have it, or as explicit slices say. Slices win as soon as one names
 * the service, as in a cluster, where the controller's own slices are such.
 *
 * Left out: headless services (their name stands for the pods themselves), ExternalName, and what is another proxy's. A named target port is resolved pod by pod, so
 * that pods of one service may listen on different numbers; a pod without that name is no endpoint.
 *
 * Which of the endpoints get new flows follows kube-proxy (its CategorizeEndpoints, Kubernetes 1.33): the ready ones, and where none
 * is ready, those that still serve while they terminate; topology hints count only where every ready endpoint has one and one is for here.
 */
import { type Address, compareAddresses, type Family } from '../net/address.js';
import { isFinished, type Pod } from './pod.js';
import type { EndpointSlice, Service, ServicePort, SliceEndpoint } from './service.js';

export interface Endpoint {
  readonly address: Address;
  readonly port: number;
  /** '' where unknown. */
  readonly nodeName: string;
  readonly ready: boolean;
  readonly serving: boolean;
  readonly terminating: boolean;
  /** Zones and nodes that are to use it; absent: no hint. */
  readonly forZones?: readonly string[];
  readonly forNodes?: readonly string[];
}

/** One port of a service in one family. */
export interface ServiceEndpoints {
  readonly port: ServicePort;
  readonly family: Family;
  /** Whatever their condition; by address, then port. Several of one address and port are told of different nodes: `seenFrom`. */
  readonly endpoints: readonly Endpoint[];
}

/** Where a client is. Absent members: unknown. */
export interface Place {
  readonly node?: string | undefined;
  readonly zone?: string | undefined;
}

/** Whether the service has addresses that are translated at all. */
export function isTranslated(service: Service): boolean {
  if (service.headless === true || service.otherProxy === true) return false;
  return service.type !== 'ExternalName' && service.clusterIPs.length > 0;
}

/** Whether the service's selector means the pod. Services without a selector, or with an empty one, mean none. */
export function selects(service: Service, pod: Pod): boolean {
  if (service.namespace !== pod.namespace || service.selector === null || service.selector.size === 0)
    return false;
  for (const [key, value] of service.selector) if (pod.labels.get(key) !== value) return false;
  return true;
}

/** Families in which the service has a cluster address; in others it does not exist, whatever external addresses it has. */
function familiesOf(service: Service): Family[] {
  return ([4, 6] as const).filter((family) =>
    service.clusterIPs.some((address) => address.family === family),
  );
}

function targetPort(port: ServicePort, pod: Pod): number | undefined {
  if (typeof port.targetPort === 'number') return port.targetPort;
  return pod.ports.find(({ name, protocol }) => name === port.targetPort && protocol === port.protocol)?.port;
}

/** The better of two that are told of one address and port: ready before serving before the rest. */
const standing = ({ ready, serving, terminating }: Endpoint): number =>
  ready ? 0 : serving && terminating ? 1 : serving ? 2 : 3;

/** What else is told of an endpoint: of two equally good ones it decides, and not which of them was told first. */
const remarks = ({ nodeName, serving, terminating, forZones = [], forNodes = [] }: Endpoint): string =>
  JSON.stringify([nodeName, serving, terminating, forZones, forNodes]);

function compareRemarks(a: Endpoint, b: Endpoint): number {
  const [one, other] = [remarks(a), remarks(b)];
  return one < other ? -1 : one > other ? 1 : 0;
}

function inOrder(endpoints: Endpoint[]): Endpoint[] {
  endpoints.sort(
    (a, b) =>
      compareAddresses(a.address, b.address) ||
      a.port - b.port ||
      standing(a) - standing(b) ||
      compareRemarks(a, b),
  );
  let first = 0;
  return endpoints.filter((endpoint, i) => {
    if (!isSame(endpoints[first]!, endpoint)) first = i;
    for (let other = first; other < i; other++)
      if (endpoints[other]!.nodeName === endpoint.nodeName) return false;
    return true;
  });
}

const isSame = (a: Endpoint, b: Endpoint): boolean => a.port === b.port && a.address.text === b.address.text;

/**
 * One endpoint for each address and port. Where slices tell of different nodes, a node's kube-proxy believes what is said of itself, and so
 * whoever looks from a node; among strangers the better standing counts (there the order of slices decides, which is nobody's).
 */
export function seenFrom(endpoints: readonly Endpoint[], node: string | undefined): readonly Endpoint[] {
  let first = 0;
  let repeated = false;
  const seen: Endpoint[] = [];
  endpoints.forEach((endpoint, i) => {
    if (i === 0 || !isSame(endpoints[first]!, endpoint)) {
      first = i;
      seen.push(endpoint);
      return;
    }
    repeated = true;
    if (endpoint.nodeName === node && node !== '') seen[seen.length - 1] = endpoint;
  });
  return repeated ? seen : endpoints;
}

/** The hints that the EndpointSlice controller would give. */
function hintsFor(service: Service, nodeName: string, zone: string | undefined) {
  if (service.trafficDistribution === undefined || nodeName === '') return {};
  return {
    ...(zone === undefined ? {} : { forZones: [zone] }),
    ...(service.trafficDistribution === 'PreferSameNode' ? { forNodes: [nodeName] } : {}),
  };
}

function fromPods(
  service: Service,
  port: ServicePort,
  family: Family,
  pods: readonly Pod[],
  zoneOf: (node: string) => string | undefined,
): Endpoint[] {
  const endpoints: Endpoint[] = [];
  for (const pod of pods) {
    const number = targetPort(port, pod);
    // The first address of the family, as the EndpointSlice controller takes it.
    const address = pod.addresses.find((candidate) => candidate.family === family);
    if (number === undefined || address === undefined) continue;
    const { nodeName, ready: serving, terminating } = pod;
    const ready = service.publishNotReadyAddresses || (serving && !terminating);
    const hints = hintsFor(service, nodeName, zoneOf(nodeName));
    endpoints.push({ address, port: number, nodeName, ready, serving, terminating, ...hints });
  }
  return endpoints;
}

function fromSlices(port: ServicePort, family: Family, slices: readonly EndpointSlice[]): Endpoint[] {
  const endpoints: Endpoint[] = [];
  for (const slice of slices) {
    if (slice.family !== family) continue;
    for (const { name, protocol, port: number } of slice.ports) {
      if (name !== port.name || protocol !== port.protocol) continue;
      for (const told of slice.endpoints) {
        const address = told.addresses[0];
        if (address !== undefined) endpoints.push(endpointOf(told, address, number));
      }
    }
  }
  return endpoints;
}

function endpointOf(told: SliceEndpoint, address: Address, port: number): Endpoint {
  const { nodeName, ready, serving = true, terminating = false, forZones, forNodes } = told;
  return {
    address,
    port,
    nodeName,
    ready,
    serving,
    terminating,
    ...(forZones === undefined ? {} : { forZones }),
    ...(forNodes === undefined ? {} : { forNodes }),
  };
}

/** Endpoints of one port in one family, whether the service has an address yet or not. Arguments as of resolveEndpoints. */
export function endpointsOf(
  service: Service,
  port: ServicePort,
  family: Family,
  pods: Iterable<Pod>,
  slices: readonly EndpointSlice[],
  zoneOf: (node: string) => string | undefined,
): Endpoint[] {
  if (slices.length > 0) return inOrder(fromSlices(port, family, slices));
  const selected = [...pods].filter((pod) => selects(service, pod) && !isFinished(pod));
  return inOrder(fromPods(service, port, family, selected, zoneOf));
}

/**
 * Endpoints of every port and family of a translated service; [] of any other. `pods` are candidates (others than those selected do no
 * harm), `slices` those that name the service, `zoneOf` a node's zone.
 */
export function resolveEndpoints(
  service: Service,
  pods: Iterable<Pod>,
  slices: readonly EndpointSlice[],
  zoneOf: (node: string) => string | undefined = () => undefined,
): ServiceEndpoints[] {
  if (!isTranslated(service)) return [];
  const selected: Pod[] = [];
  if (slices.length === 0)
    for (const pod of pods) if (selects(service, pod) && !isFinished(pod)) selected.push(pod);
  const families = familiesOf(service);
  return service.ports.flatMap((port) =>
    families.map((family) => {
      const found =
        slices.length > 0
          ? fromSlices(port, family, slices)
          : fromPods(service, port, family, selected, zoneOf);
      return { port, family, endpoints: inOrder(found) };
    }),
  );
}

const leaving = ({ serving, terminating }: Endpoint): boolean => serving && terminating;

/** Whether a new flow could go to any of them (as seen from somewhere): where none can, a client is refused and not just dropped. */
export function hasUsable(endpoints: readonly Endpoint[]): boolean {
  return endpoints.some((endpoint) => endpoint.ready || leaving(endpoint));
}

/** The endpoints that new flows from a place go to under the traffic policy Cluster. */
export function clusterEndpoints(endpoints: readonly Endpoint[], from: Place): readonly Endpoint[] {
  const seen = seenFrom(endpoints, from.node);
  const ready = seen.filter((endpoint) => endpoint.ready);
  return ready.length > 0 ? near(ready, from) : seen.filter(leaving);
}

/** The endpoints of one node: those of the traffic policy Local. */
export function localEndpoints(endpoints: readonly Endpoint[], node: string): readonly Endpoint[] {
  // One for each address and port, as all of them are of this node.
  const local = endpoints.filter(({ nodeName }) => nodeName === node && node !== '');
  const ready = local.filter((endpoint) => endpoint.ready);
  return ready.length > 0 ? ready : local.filter(leaving);
}

/** Hints count only as a whole: a single endpoint without one, or none for here, and all of them are used. */
function near(ready: readonly Endpoint[], { node, zone }: Place): readonly Endpoint[] {
  if (node !== undefined && ready.every(({ forNodes }) => forNodes !== undefined)) {
    const here = ready.filter(({ forNodes }) => forNodes!.includes(node));
    if (here.length > 0) return here;
  }
  if (zone !== undefined && ready.every(({ forZones }) => forZones !== undefined)) {
    const here = ready.filter(({ forZones }) => forZones!.includes(zone));
    if (here.length > 0) return here;
  }
  return ready;
}

/**
 * The endpoints, as seen from somewhere, that flows begun earlier may stay with. Datagrams move on from an endpoint that no longer serves, once another one
 * does; a connection is only ended by an endpoint that is gone.
 */
export function keptEndpoints(
  endpoints: readonly Endpoint[],
  protocol: ServicePort['protocol'],
): readonly Endpoint[] {
  if (protocol !== 'UDP') return endpoints;
  const serving = endpoints.filter((endpoint) => endpoint.serving || endpoint.ready);
  return serving.length > 0 ? serving : endpoints;
}
