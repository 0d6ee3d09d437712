/**
 * Query → packets. A question about names becomes the flows that a connection would consist of, as (address, address, protocol,
 * port); both engines answer the same flows and share nothing else.
 *
 *   - A pod is its addresses; a finished pod, and one without an address, has none, so the answer is null with the reason. A
 *     hostNetwork pod is its node's address.
 *   - A node is its addresses. Where no address of it is known, all that can be said is that a pod on it may talk with it.
 *   - The family is the one asked for, else the first of the source's families that the destination has; null without any.
 *   - A Service is every endpoint that the client's new connections may get, at the endpoint's own port: policy is judged after
 *     translation. A ClusterIP, external or load balancer address, or a node's address at a nodePort, is the Service behind it. Which backend a
 *     connection gets is chance, so "allowed" means allowed at every one of them; the answer lists them one by one.
 *   - A headless Service is only a name for pods: the port stays the one asked for.
 */
import {
  clusterEndpoints,
  endpointsOf,
  hasUsable,
  isTranslated,
  localEndpoints,
  seenFrom,
  selects,
} from '../../model/endpoints.js';
import { isFinished, type Pod } from '../../model/pod.js';
import type { Service, ServicePort } from '../../model/service.js';
import type { Address } from '../../net/address.js';
import { contains } from '../../net/cidr.js';
import type { Directory } from '../../policy/directory.js';
import { addressesOf, commonFamily, type End, formatEnd, podAddresses, podOf } from '../../policy/end.js';
import type { Flow, FlowProtocol } from '../../policy/flow.js';
import type { Query } from './query.js';

export type Resolved =
  | { readonly kind: 'flow'; readonly flow: Flow }
  | { readonly kind: 'service'; readonly service: Service; readonly flows: readonly Flow[] }
  /** A pod and its own node, whose address nobody told: exempt by name. `direction` is the pod's. */
  | { readonly kind: 'own-node'; readonly direction: 'egress' | 'ingress' }
  /** Nothing can be sent: `allowed` is false where a Service refuses, null where the ends have no question in common. */
  | { readonly kind: 'none'; readonly allowed: false | null; readonly reason: string };

const none = (reason: string, allowed: false | null = null): Resolved => ({ kind: 'none', allowed, reason });

export function resolveQuery(directory: Directory, query: Query, ownNodeEgress: 'allow' | 'judge'): Resolved {
  const exempt = ownNodeByName(directory, query, ownNodeEgress);
  if (exempt !== undefined) return exempt;
  const source = addressesOf(directory, query.from);
  if (typeof source === 'string') return none(source);
  if (query.to.kind === 'service') {
    const service = directory.service(query.to.namespace, query.to.name);
    if (service === undefined) return none(`There is no Service ${query.to.namespace}/${query.to.name}.`);
    return resolveService(directory, query, source, service);
  }
  const destination = addressesOf(directory, query.to);
  if (typeof destination === 'string') return none(destination);
  const pair = commonFamily(source, destination, query.family);
  if (pair === undefined) return none(noFamily(query));
  if (typeof query.port === 'number') {
    const behind = serviceAt(directory, pair.destination, query.protocol, query.port);
    if (behind !== undefined) {
      return resolveBackends(directory, query, pair.source, behind.service, behind.port, pair.destination);
    }
  }
  if (typeof query.port !== 'string') {
    const owner = clusterServiceAt(directory, pair.destination);
    if (owner !== undefined) return none(noSuchPort(owner, query), false);
  }
  const port = portAt(query, directory.podAt(pair.destination) ?? podOf(directory, query.to));
  if (typeof port === 'string') return none(port);
  return { kind: 'flow', flow: { ...pair, protocol: query.protocol, port } };
}

/** A pod and its node, where the node's addresses are unknown. A node port leads elsewhere, and nobody knows how it was asked for. */
function ownNodeByName(
  directory: Directory,
  { from, to, port, protocol }: Query,
  ownNodeEgress: 'allow' | 'judge',
): Resolved | undefined {
  const isOn = (pod: End, node: string | undefined) => {
    if (node === undefined || pod.kind !== 'pod') return false;
    const found = directory.pod(pod.namespace, pod.name);
    return found !== undefined && !found.hostNetwork && !isFinished(found) && found.nodeName === node;
  };
  if (isOn(to, unplacedNode(directory, from))) return { kind: 'own-node', direction: 'ingress' };
  const isNodePort = [4, 6].some((family) => directory.frontends().has(`${protocol} node/${family} ${port}`));
  if (ownNodeEgress === 'allow' && !isNodePort && isOn(from, unplacedNode(directory, to))) {
    return { kind: 'own-node', direction: 'egress' };
  }
  return undefined;
}

/** The node that an end is, if none of its addresses is known. */
function unplacedNode(directory: Directory, end: End): string | undefined {
  const pod = podOf(directory, end);
  // A hostNetwork pod that has finished is its node no longer.
  const isNode = pod?.hostNetwork === true && !isFinished(pod);
  const name = end.kind === 'node' ? end.name : isNode ? pod.nodeName : '';
  if (name === '' || directory.nodeAddresses(name)?.length !== 0) return undefined;
  return pod === undefined || typeof podAddresses(directory, pod) === 'string' ? name : undefined;
}

/** What a cluster address refuses; a Service has no port for ICMP, which ends there too. */
function noSuchPort(service: string, { port, protocol }: Query): string {
  return port === undefined
    ? `Service ${service} does not answer ${protocol}.`
    : `Service ${service} has no port ${port}/${protocol}.`;
}

function noFamily(query: Query): string {
  const ends = `${formatEnd(query.from)} and ${formatEnd(query.to)}`;
  return query.family === undefined
    ? `${ends} have no address family in common.`
    : `${ends} do not both have an IPv${query.family} address.`;
}

/** The number asked for; a name is looked up at the destination. */
function portAt(query: Query, pod: Pod | undefined): number | string {
  if (query.port === undefined) return 0;
  if (typeof query.port === 'number') return query.port;
  const named = pod?.ports.find((port) => port.name === query.port && port.protocol === query.protocol);
  return named?.port ?? `${formatEnd(query.to)} has no ${query.protocol} port named "${query.port}".`;
}

function resolveService(
  directory: Directory,
  query: Query,
  source: readonly Address[],
  service: Service,
): Resolved {
  const name = `${service.namespace}/${service.name}`;
  if (service.type === 'ExternalName') {
    return none(
      `Service ${name} is a name for a host outside the cluster (ExternalName); ask about that host's address.`,
    );
  }
  if (service.otherProxy === true)
    return none(`A label leaves Service ${name} to another service proxy; ask about its endpoints.`);
  const families = serviceFamilies(directory, service);
  const from = source.find(
    (address) =>
      (query.family === undefined || address.family === query.family) && families.includes(address.family),
  );
  if (from === undefined) return none(noFamily(query));
  if (service.headless === true) return resolveHeadless(directory, query, from, service);
  const port = service.ports.find(
    (entry) =>
      entry.protocol === query.protocol &&
      (typeof query.port === 'number' ? entry.port === query.port : entry.name === query.port),
  );
  if (port === undefined) return none(noSuchPort(name, query), false);
  return resolveBackends(directory, query, from, service, port);
}

/** The families a client can reach the Service by: its own, else those of its backends. */
function serviceFamilies(directory: Directory, service: Service): readonly (4 | 6)[] {
  const own = service.clusterIPs.map((address) => address.family);
  if (own.length > 0) return own;
  if (service.ipFamilies !== undefined && service.ipFamilies.length > 0) return service.ipFamilies;
  const slices = directory.slicesOf(service);
  const found = new Set<4 | 6>(slices.map((slice) => slice.family));
  if (slices.length === 0) {
    for (const pod of selectedPods(directory, service)) {
      for (const address of pod.addresses) found.add(address.family);
    }
  }
  // Without any backend the answer is "no endpoint", not "no family".
  return found.size === 0 ? [4, 6] : [...found].sort();
}

function resolveHeadless(directory: Directory, query: Query, from: Address, service: Service): Resolved {
  const flows: Flow[] = [];
  for (const { address, pod } of namedAddresses(directory, service, from.family)) {
    const port = portAt(query, pod);
    if (typeof port === 'number')
      flows.push({ source: from, destination: address, protocol: query.protocol, port });
  }
  return flows.length === 0
    ? none(`Service ${service.namespace}/${service.name} has no ready endpoint.`, false)
    : { kind: 'service', service, flows };
}

/** `at`: the address that was asked for; absent where the Service was named, which means its cluster address. */
function resolveBackends(
  directory: Directory,
  query: Query,
  from: Address,
  service: Service,
  port: ServicePort,
  at?: Address,
): Resolved {
  const name = `${service.namespace}/${service.name}`;
  const { family } = from;
  const ranges = (service.loadBalancerSourceRanges ?? []).filter((range) => range.family === family);
  const isAt = (list: readonly Address[]) => list.some(({ text }) => text === at?.text);
  if (isAt(service.loadBalancerIPs) && ranges.length > 0 && !ranges.some((range) => contains(range, from)))
    return none(`Service ${name} takes nothing of ${from.text} there: loadBalancerSourceRanges.`, false);

  const zoneOf = (node: string) => directory.world.get('node', node)?.zone;
  const pods = directory.podsIn(service.namespace);
  const endpoints = endpointsOf(service, port, family, pods, directory.slicesOf(service), zoneOf);
  const node = directory.podAt(from)?.nodeName || undefined;
  let local: string | undefined;
  if (at === undefined || isAt(service.clusterIPs))
    local = service.internalTrafficPolicy === 'Local' ? node : undefined;
  else if (!isAt(service.externalIPs) && !isAt(service.loadBalancerIPs)) {
    const there = directory.nodeAt(at) || undefined;
    local = service.externalTrafficPolicy === 'Local' && there !== node ? there : undefined;
  }
  const chosen =
    local === undefined
      ? clusterEndpoints(endpoints, { node, zone: node === undefined ? undefined : zoneOf(node) })
      : localEndpoints(endpoints, local);
  if (chosen.length === 0)
    return none(
      hasUsable(seenFrom(endpoints, local ?? node))
        ? `Service ${name} has no ready endpoint on node ${local}, and its traffic policy is Local.`
        : `Service ${name} has no ready endpoint.`,
      false,
    );
  const flows = chosen.map((to) => ({
    source: from,
    destination: to.address,
    protocol: query.protocol,
    port: to.port,
  }));
  return { kind: 'service', service, flows };
}

interface Named {
  readonly address: Address;
  readonly pod?: Pod;
}

/**
 * What the name of a headless Service stands for, sorted by address: its ready endpoints, whatever their ports. Slices count as soon
 * as one names the Service, else the pods that its selector picks.
 */
function namedAddresses(directory: Directory, service: Service, family: 4 | 6): readonly Named[] {
  const found = new Map<string, Named>();
  const slices = directory.slicesOf(service);
  for (const slice of slices) {
    if (slice.family !== family) continue;
    for (const { ready, addresses } of slice.endpoints) {
      // Only the first address of an endpoint is ever used, as the API says.
      const [address] = addresses;
      if (ready && address !== undefined) found.set(address.text, { address });
    }
  }
  if (slices.length === 0) {
    for (const pod of selectedPods(directory, service)) {
      const address = pod.addresses.find((own) => own.family === family);
      if (address === undefined || !(pod.ready || service.publishNotReadyAddresses)) continue;
      found.set(address.text, { address, pod });
    }
  }
  return [...found].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, named]) => named);
}

function selectedPods(directory: Directory, service: Service): readonly Pod[] {
  return directory.podsIn(service.namespace).filter((pod) => !pod.terminating && selects(service, pod));
}

/** Whose cluster address it is: at other ports than the Service's own nobody answers there. */
function clusterServiceAt(directory: Directory, { text }: Address): string | undefined {
  for (const [key, service] of directory.world.all('service'))
    if (isTranslated(service) && service.clusterIPs.some((own) => own.text === text)) return key;
  return undefined;
}

/** The Service that answers at an address and port, if one does. */
function serviceAt(
  directory: Directory,
  address: Address,
  protocol: FlowProtocol,
  port: number,
): { service: Service; port: ServicePort } | undefined {
  const at = (place: string) => directory.frontends().get(`${protocol} ${place} ${port}`);
  const found = at(address.text);
  if (found !== undefined) return found;
  const onNodes = at(`node/${address.family}`);
  return onNodes !== undefined && directory.nodeAt(address) !== undefined ? onNodes : undefined;
}
