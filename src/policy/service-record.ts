/**
 * One Service, or one pod's host ports, as the records and frontends that the switch has of it.
 *
 * A record is a set of endpoints that some of a service port's addresses lead to. Most ports need one. Facts about kube-proxy (1.33), whose
 * semantics these are for a pod as client:
 * - The cluster address follows internalTrafficPolicy. External and load-balancer addresses and node ports follow neither policy for
 *   a pod: its traffic is short-circuited to the endpoints of the policy Cluster, as if it had gone out and come back in.
 * - A node port at another node's address is that node's to decide. Here it is translated by the client's node, so that policy sees
 *   the client and not a masqueraded address; under externalTrafficPolicy Local it leads to that node's endpoints and no others, so each
 *   such node has a record of its own.
 * - loadBalancerSourceRanges bind the load balancer's addresses only, pods as well.
 * - Without an endpoint here but with one elsewhere (policy Local) packets are dropped; without any the client is refused.
 * - Affinity is a service port's, whichever of its addresses a client uses: all records of a port have its key.
 */
import { type Hash, hashText } from '../identity/hash.js';
import {
  clusterEndpoints,
  type Endpoint,
  hasUsable,
  keptEndpoints,
  localEndpoints,
  type Place,
  type ServiceEndpoints,
  seenFrom,
} from '../model/endpoints.js';
import { keyOf } from '../model/event.js';
import { type HostPort, isFinished, type Pod } from '../model/pod.js';
import { protocolNumber } from '../model/protocol.js';
import type { Service } from '../model/service.js';
import { type Address, type Family, parseAddress } from '../net/address.js';
import type { Cidr } from '../net/cidr.js';

/** Where a flow can be sent. */
export interface Backend {
  readonly address: Address;
  readonly port: number;
}

export interface ServiceRecord {
  /** `namespace/name:port/protocol/family`, where port is its name or number. */
  readonly name: string;
  /** Of the service port: the same for all its records, in every image. */
  readonly key: Hash;
  readonly affinitySeconds: number;
  /** New flows go to one of these; by address, then port. */
  readonly backends: readonly Backend[];
  /** Flows begun earlier may also stay with one of these; in the same order. */
  readonly kept: readonly Backend[];
  /** Without backends: false: the client is refused, true: its packets are dropped (there are endpoints, but not for it). */
  readonly drops: boolean;
  /** Clients that are let through; empty: all. */
  readonly sources: readonly Cidr[];
}

/** What a frontend's address is. Where two claim one place the earlier kind has it, as in kube-proxy's and portmap's chains. */
export const ranks = { service: 0, nodePort: 1, hostAddress: 2, hostPort: 3 } as const;

/** Where a record answers; what depends on nodes is joined with their addresses when laid out. */
export interface Answering {
  readonly rank: (typeof ranks)[keyof typeof ranks];
  /** `nodes`: every node's; `own`: this node's. */
  readonly address: Address | 'nodes' | 'own';
  readonly port: number;
  /** IANA number. */
  readonly protocol: number;
  readonly family: Family;
  /** Index into the entry's records. */
  readonly record: number;
  /** For `nodes`: records of nodes other than this one, where they differ; '' those of all nodes that are not named. */
  readonly byNode?: ReadonlyMap<string, number>;
}

export interface Entry {
  readonly records: readonly ServiceRecord[];
  readonly answering: readonly Answering[];
  /** Equal where two entries differ in endpoints, affinity and source ranges at most. */
  readonly shape: string;
}

export function serviceEntry(service: Service, ports: readonly ServiceEndpoints[], from: Place): Entry {
  const records: ServiceRecord[] = [];
  const answering: Answering[] = [];
  for (const port of ports) readPort(service, port, from, records, answering);
  return { records, answering, shape: shapeOf(records, answering) };
}

/** What a node sees of the endpoints. */
interface View {
  readonly keep: readonly Endpoint[];
  readonly usable: boolean;
}

function readPort(
  service: Service,
  { port, family, endpoints }: ServiceEndpoints,
  from: Place,
  records: ServiceRecord[],
  answering: Answering[],
): void {
  const label = port.name === '' ? port.port : port.name;
  const name = `${keyOf(service.namespace, service.name)}:${label}/${port.protocol}/${family}`;
  const view = (node: string | undefined): View => {
    const seen = seenFrom(endpoints, node);
    return { keep: keptEndpoints(seen, port.protocol), usable: hasUsable(seen) };
  };
  const own = view(from.node);
  const common = { name, key: hashText(name), affinitySeconds: service.affinitySeconds };
  const protocol = protocolNumber[port.protocol];
  const add = (
    backends: readonly Endpoint[],
    sources: readonly Cidr[] = [],
    { keep, usable }: View = own,
  ): number => {
    const kept = without(keep, backends);
    return records.push({ ...common, backends, kept, drops: usable && backends.length === 0, sources }) - 1;
  };
  let shared: readonly Endpoint[] | undefined;
  const cluster = (): readonly Endpoint[] => {
    shared ??= clusterEndpoints(endpoints, from);
    return shared;
  };
  let plain = -1;
  /** The record of the policy Cluster without source ranges; made when first asked for. */
  const open = (): number => {
    if (plain < 0) plain = add(cluster());
    return plain;
  };
  const at = (addresses: readonly Address[], record: () => number): void => {
    for (const address of addresses) {
      if (address.family !== family) continue;
      answering.push({ rank: ranks.service, address, port: port.port, protocol, family, record: record() });
    }
  };

  const { node } = from;
  if (service.internalTrafficPolicy === 'Local' && node !== undefined) {
    const local = add(localEndpoints(endpoints, node));
    at(service.clusterIPs, () => local);
  } else at(service.clusterIPs, open);
  const ranges = (service.loadBalancerSourceRanges ?? []).filter((range) => range.family === family);
  let ranged = -1;
  // Before the external ones: an address that is both is bound by the ranges.
  at(service.loadBalancerIPs, () => {
    if (ranges.length === 0) return open();
    if (ranged < 0) ranged = add(cluster(), ranges);
    return ranged;
  });
  at(service.externalIPs, open);

  if (port.nodePort === undefined || service.type === 'ClusterIP') return;
  const place = { rank: ranks.nodePort, address: 'nodes', port: port.nodePort, protocol, family } as const;
  if (service.externalTrafficPolicy !== 'Local' || node === undefined) {
    answering.push({ ...place, record: open() });
    return;
  }
  const byNode = new Map<string, number>();
  const others = new Map<string, Endpoint[]>();
  for (const endpoint of endpoints) {
    const there = others.get(endpoint.nodeName);
    if (there === undefined) others.set(endpoint.nodeName, [endpoint]);
    else there.push(endpoint);
  }
  const elsewhere = view(undefined);
  // Where nobody tells of an endpoint twice every node sees the same, and the keeping of all is worked out once.
  const unlike = endpoints.length !== seenFrom(endpoints, undefined).length;
  for (const [other, there] of [...others].sort(([a], [b]) => (a < b ? -1 : 1))) {
    if (other === node || other === '') continue;
    const local = localEndpoints(there, other);
    if (local.length > 0) byNode.set(other, add(local, [], unlike ? view(other) : elsewhere));
  }
  byNode.set('', add([], [], elsewhere));
  answering.push({ ...place, record: open(), byNode });
}

/** `all` without `some`, whose members are its own. */
function without(all: readonly Endpoint[], some: readonly Endpoint[]): readonly Endpoint[] {
  if (all.length === some.length) return none;
  const left = new Set(some);
  return all.filter((endpoint) => !left.has(endpoint));
}

const none: readonly Endpoint[] = Object.freeze([]);

function shapeOf(records: readonly ServiceRecord[], answering: readonly Answering[]): string {
  return JSON.stringify([
    records.map(({ name }) => name),
    answering.map(({ address, port, protocol, record, rank, byNode }) => [
      typeof address === 'string' ? address : address.text,
      port,
      protocol,
      record,
      rank,
      byNode === undefined ? 0 : [...byNode],
    ]),
  ]);
}

/**
 * The host ports of a pod of this node, for other pods of this node (and itself): at every address of the node, or at the one that it names.
 * Loopback addresses are no pod's to reach. Services have a place before host ports: kube-proxy's rules stand before portmap's.
 */
export function hostPortEntry(pod: Pod): Entry {
  const records: ServiceRecord[] = [];
  const answering: Answering[] = [];
  for (const port of isFinished(pod) ? [] : (pod.hostPorts ?? [])) {
    for (const family of [4, 6] as const) {
      // Of several interfaces the first one's, as of a Service's endpoints.
      const address = pod.addresses.find((own) => own.family === family);
      const place = placeOf(port, family);
      if (address === undefined || place === undefined) continue;
      const name = `${keyOf(pod.namespace, pod.name)}:hostPort-${port.hostPort}/${port.protocol}/${family}`;
      answering.push({
        rank: place === 'own' ? ranks.hostPort : ranks.hostAddress,
        address: place,
        port: port.hostPort,
        protocol: protocolNumber[port.protocol],
        family,
        record: records.length,
      });
      records.push({
        name,
        key: hashText(name),
        affinitySeconds: 0,
        backends: [{ address, port: port.containerPort }],
        kept: none,
        drops: false,
        sources: [],
      });
    }
  }
  return { records, answering, shape: shapeOf(records, answering) };
}

/** undefined: nothing that a pod could reach in this family. */
function placeOf({ hostIP }: HostPort, family: Family): Address | 'own' | undefined {
  if (hostIP === '') return 'own';
  const address = parseAddress(hostIP);
  if (address === undefined || address.family !== family) return undefined;
  if (address.text === '0.0.0.0' || address.text === '::') return 'own';
  const loopback = family === 4 ? address.text.startsWith('127.') : address.text === '::1';
  return loopback ? undefined : address;
}
