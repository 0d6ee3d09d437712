/**
 * Services as the switch translates them: for each port and family the endpoints, and where it answers: cluster, external and load-balancer
 * addresses at the service's port, every node address at its node port, and this node's addresses at the host ports of its pods. Kept
 * service by service; a pod's change costs the services of its namespace that select it.
 */
import type { Problem } from '../errors/problem.js';
import { isTranslated, type Place, resolveEndpoints, selects } from '../model/endpoints.js';
import { keyOf } from '../model/event.js';
import type { Pod } from '../model/pod.js';
import type { EndpointSlice, Service } from '../model/service.js';
import type { World } from '../model/world.js';
import { type Address, compareAddresses } from '../net/address.js';
import {
  type Answering,
  type Entry,
  hostPortEntry,
  ranks,
  type ServiceRecord,
  serviceEntry,
} from './service-record.js';

export interface Frontend {
  readonly address: Address;
  readonly port: number;
  /** IANA number. */
  readonly protocol: number;
  /** Index into the records. */
  readonly service: number;
}

export interface ServiceLayout {
  readonly records: readonly ServiceRecord[];
  readonly frontends: readonly Frontend[];
}

export interface NodeAddress {
  readonly address: Address;
  /** '' where its name is unknown. */
  readonly node: string;
}

/** An entry and the position of its first record in the layout; -1: it has none. */
interface Held {
  readonly entry: Entry;
  base: number;
}

export interface ServiceTableOptions {
  /** The clients' node; absent: none in particular, and the policy Local means any node. */
  readonly node?: string | undefined;
  /** Most records; services beyond are left out, the youngest first. */
  readonly most?: number | undefined;
}

export class ServiceTable {
  readonly #world: World;
  readonly #node: string | undefined;
  readonly #most: number;
  readonly #entries = new Map<string, Held>();
  readonly #services = new Map<string, Service>();
  readonly #byNamespace = new Map<string, Set<string>>();
  readonly #pods: (namespace: string) => Iterable<Pod>;
  readonly #slices = new Map<string, Map<string, EndpointSlice>>();
  readonly #sliceOwner = new Map<string, string>();
  readonly #hostPorts = new Map<string, Held>();
  readonly #dirty = new Set<string>();
  #hostPortsMoved = false;
  #place: Place;
  /** By address. */
  #nodes: readonly NodeAddress[] = [];
  #records = 0;
  #problems: readonly Problem[] = [];
  #layout: ServiceLayout = { records: [], frontends: [] };

  constructor(world: World, { node, most }: ServiceTableOptions, pods: (namespace: string) => Iterable<Pod>) {
    this.#world = world;
    this.#node = node;
    this.#most = most ?? Number.POSITIVE_INFINITY;
    this.#pods = pods;
    this.#place = { node };
  }

  get problems(): readonly Problem[] {
    return this.#problems;
  }

  /** Records of Services in the layout; host ports are not counted, they are as many as ports allow. */
  get count(): number {
    return this.#records;
  }

  knownServices(): Iterable<string> {
    return this.#services.keys();
  }

  knownSlices(): Iterable<string> {
    return this.#sliceOwner.keys();
  }

  /** Told of every service that was touched; gives back its cluster addresses of before and after. */
  serviceTouched(key: string): { readonly before: readonly Address[]; readonly after: readonly Address[] } {
    const before = this.#services.get(key);
    const after = this.#world.get('service', key);
    if (after === undefined) this.#services.delete(key);
    else this.#services.set(key, after);
    const namespace = (after ?? before)?.namespace;
    if (namespace !== undefined) {
      let keys = this.#byNamespace.get(namespace);
      if (keys === undefined) {
        keys = new Set();
        this.#byNamespace.set(namespace, keys);
      }
      if (after === undefined) keys.delete(key);
      else keys.add(key);
      if (keys.size === 0) this.#byNamespace.delete(namespace);
    }
    this.#dirty.add(key);
    return { before: clusterAddresses(before), after: clusterAddresses(after) };
  }

  sliceTouched(key: string): void {
    const owner = this.#sliceOwner.get(key);
    if (owner !== undefined) {
      const held = this.#slices.get(owner)!;
      held.delete(key);
      if (held.size === 0) this.#slices.delete(owner);
      this.#sliceOwner.delete(key);
      this.#dirty.add(owner);
    }
    const slice = this.#world.get('slice', key);
    if (slice === undefined) return;
    const next = keyOf(slice.namespace, slice.service);
    let held = this.#slices.get(next);
    if (held === undefined) {
      held = new Map();
      this.#slices.set(next, held);
    }
    held.set(key, slice);
    this.#sliceOwner.set(key, next);
    this.#dirty.add(next);
  }

  podTouched(before: Pod | undefined, after: Pod | undefined): void {
    const namespace = (after ?? before)?.namespace;
    for (const key of (namespace !== undefined && this.#byNamespace.get(namespace)) || []) {
      const service = this.#services.get(key)!;
      if ((before && selects(service, before)) || (after && selects(service, after))) this.#dirty.add(key);
    }
    const key = keyOf((after ?? before)!.namespace, (after ?? before)!.name);
    const has = after?.hostPorts !== undefined && after.nodeName === this.#node;
    if (!has && !this.#hostPorts.has(key)) return;
    this.#hostPortsMoved = true;
    if (has) this.#hostPorts.set(key, { entry: hostPortEntry(after), base: -1 });
    else this.#hostPorts.delete(key);
  }

  /**
   * The layout now; the same object as before where nothing changed. `nodesChanged` says that nodes may have other addresses or zones
   * (every pod tells of its node's, so mostly they have not); only then `nodeAddresses` is asked.
   */
  settle(nodeAddresses: () => Iterable<NodeAddress>, nodesChanged: boolean): ServiceLayout {
    let moved = this.#hostPortsMoved;
    if (nodesChanged && this.#nodesChanged(nodeAddresses())) moved ||= this.#dependsOnNodes();
    this.#hostPortsMoved = false;
    const refilled: Held[] = [];
    const zoneOf = (node: string) => this.#world.get('node', node)?.zone;
    for (const key of this.#dirty) {
      const service = this.#services.get(key);
      const before = this.#entries.get(key);
      if (service === undefined || !isTranslated(service)) {
        if (this.#entries.delete(key)) moved = true;
        continue;
      }
      const slices = [...(this.#slices.get(key)?.values() ?? [])];
      const endpoints = resolveEndpoints(service, this.#pods(service.namespace), slices, zoneOf);
      const entry = serviceEntry(service, endpoints, this.#place);
      const held: Held = { entry, base: before?.base ?? -1 };
      if (before?.entry.shape !== entry.shape) moved = true;
      else if (held.base >= 0) refilled.push(held);
      this.#entries.set(key, held);
    }
    this.#dirty.clear();
    if (moved) this.#lay();
    else if (refilled.length > 0) this.#refill(refilled);
    return this.#layout;
  }

  /**
   * Whether nodes have other addresses now. Another zone of this node changes which endpoints are near; other nodes' zones count where there
   * are no slices to tell hints.
   */
  #nodesChanged(addresses: Iterable<NodeAddress>): boolean {
    const zone = this.#node === undefined ? undefined : this.#world.get('node', this.#node)?.zone;
    const everybody = zone !== this.#place.zone;
    this.#place = { node: this.#node, zone };
    for (const [key, service] of this.#services) {
      if (everybody || service.trafficDistribution !== undefined) this.#dirty.add(key);
    }
    const before = this.#nodes;
    this.#nodes = [...addresses].sort((a, b) => compareAddresses(a.address, b.address));
    return (
      before.length !== this.#nodes.length ||
      this.#nodes.some(
        ({ address, node }, i) => address.text !== before[i]!.address.text || node !== before[i]!.node,
      )
    );
  }

  /** Other endpoints in the same places: frontends stay. */
  #refill(all: readonly Held[]): void {
    const records = [...this.#layout.records];
    for (const { base, entry } of all) {
      for (let i = 0; i < entry.records.length; i++) records[base + i] = entry.records[i]!;
    }
    this.#layout = { records, frontends: this.#layout.frontends };
  }

  #dependsOnNodes(): boolean {
    const depends = ({ entry }: Held) =>
      entry.answering.some(({ address, rank }) => typeof address === 'string' || rank === ranks.hostAddress);
    for (const held of this.#entries.values()) if (depends(held)) return true;
    for (const held of this.#hostPorts.values()) if (depends(held)) return true;
    return false;
  }

  #lay(): void {
    const records: ServiceRecord[] = [];
    const problems: Problem[] = [];
    const frontends = new Frontends(records, problems, this.#nodes, this.#node);
    const included = this.#included(problems);
    this.#records = 0;
    for (const held of included) this.#records += this.#put(held, records);
    for (const key of [...this.#hostPorts.keys()].sort()) {
      const held = this.#hostPorts.get(key)!;
      this.#put(held, records);
      included.push(held);
    }
    for (const { entry, base } of included) frontends.take(entry, base);
    frontends.takeLater();
    this.#problems = problems;
    this.#layout = { records, frontends: frontends.list };
  }

  #put(held: Held, records: ServiceRecord[]): number {
    held.base = records.length;
    for (const record of held.entry.records) records.push(record);
    return held.entry.records.length;
  }

  /** The services that have room, by name. Over the limit the oldest stay: what was there before goes on. */
  #included(problems: Problem[]): Held[] {
    const keys = [...this.#entries.keys()].sort();
    let records = 0;
    for (const { entry } of this.#entries.values()) records += entry.records.length;
    if (records <= this.#most) return keys.map((key) => this.#entries.get(key)!);

    const age = (key: string) => this.#services.get(key)?.created ?? '';
    const byAge = [...keys].sort((a, b) => (age(a) < age(b) ? -1 : age(a) > age(b) ? 1 : a < b ? -1 : 1));
    const left: string[] = [];
    const fits = new Set<string>();
    let used = 0;
    for (const key of byAge) {
      const held = this.#entries.get(key)!;
      held.base = -1;
      if (used + held.entry.records.length > this.#most) left.push(key);
      else {
        used += held.entry.records.length;
        fits.add(key);
      }
    }
    problems.push(noRoom(left, records, this.#most));
    return keys.filter((key) => fits.has(key)).map((key) => this.#entries.get(key)!);
  }
}

/** Where records answer: each place once. Places of services first, then in the order of ranks. */
class Frontends {
  readonly list: Frontend[] = [];
  readonly #records: readonly ServiceRecord[];
  readonly #problems: Problem[];
  readonly #nodes: readonly NodeAddress[];
  readonly #node: string | undefined;
  /** Place → record. */
  readonly #taken = new Map<string, number>();
  readonly #later: { readonly answering: Answering; readonly base: number }[] = [];

  constructor(
    records: readonly ServiceRecord[],
    problems: Problem[],
    nodes: readonly NodeAddress[],
    node: string | undefined,
  ) {
    this.#records = records;
    this.#problems = problems;
    this.#nodes = nodes;
    this.#node = node;
  }

  take({ answering }: Entry, base: number): void {
    for (const one of answering) {
      if (one.rank === 0) this.#take(one, base);
      else this.#later.push({ answering: one, base });
    }
  }

  takeLater(): void {
    this.#later.sort((a, b) => a.answering.rank - b.answering.rank);
    for (const { answering, base } of this.#later) this.#take(answering, base);
  }

  #take(answering: Answering, base: number): void {
    const { address, family, byNode, record, rank } = answering;
    if (typeof address !== 'string') {
      // A pod may ask for any hostIP. At addresses that are not this node's it would take the traffic of others to there.
      if (rank === ranks.hostAddress && !this.#isOwn(address)) return;
      this.#put(answering, address, base + record);
      return;
    }
    for (const { address: at, node } of this.#nodes) {
      if (at.family !== family) continue;
      const own = this.#node === undefined || node === this.#node;
      if (address === 'own' ? !own : byNode !== undefined && node === '') continue;
      const other = own ? undefined : byNode && (byNode.get(node) ?? byNode.get(''));
      this.#put(answering, at, base + (other ?? record));
    }
  }

  #isOwn({ text }: Address): boolean {
    return this.#nodes.some(
      ({ address, node }) => address.text === text && (this.#node === undefined || node === this.#node),
    );
  }

  #put({ port, protocol, rank }: Answering, address: Address, service: number): void {
    const place = `${protocol}|${port}|${address.text}`;
    const holder = this.#taken.get(place);
    if (holder === undefined) {
      this.#taken.set(place, service);
      this.list.push({ address, port, protocol, service });
      return;
    }
    // A load balancer made of host ports (K3s' own) has both at one place, and means it.
    const [name, has] = [this.#records[service]!.name, this.#records[holder]!.name];
    if (name !== has && (rank < 2 || has.includes(':hostPort-')))
      this.#problems.push(collision(name, has, address, port));
  }
}

function collision(name: string, holder: string, address: Address, port: number): Problem {
  return {
    code: 'service-address-conflict',
    severity: 'warning',
    message: `The service port ${name} answers on ${address.text} port ${port}, which ${holder} has already.`,
    fix: 'Give one of the services another address or port.',
  };
}

function noRoom(left: readonly string[], needed: number, most: number): Problem {
  const names = left.slice(0, 5).join(', ') + (left.length > 5 ? ` and ${left.length - 5} more` : '');
  return {
    code: 'service-limit',
    severity: 'error',
    message: `Services need ${needed} records, limits.services is ${most}: ${names} got none, and connections to them are refused.`,
    fix: 'Raise limits.services, or remove Services that are not needed.',
  };
}

/** A ClusterIP is a Service's and nobody else's. External and load-balancer addresses may be a host's, which has other ports. */
function clusterAddresses(service: Service | undefined): readonly Address[] {
  return service !== undefined && isTranslated(service) ? service.clusterIPs : [];
}
