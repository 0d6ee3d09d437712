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
import { Claims } from './claims.js';
import { type FrontendColumns, Frontends, type Holder, type NodeAddress } from './frontends.js';
import { type Entry, hostPortEntry, ranks, type ServiceRecord, serviceEntry } from './service-record.js';
import { SortedList } from './sorted-list.js';

export interface ServiceLayout {
  readonly records: readonly ServiceRecord[];
  /** As of now. */
  frontends(): FrontendColumns;
  /** Grows when records came or went: places and numbers are others then. */
  readonly moves: number;
}

/** Services first, each kind by name. */
interface Held extends Holder {
  readonly kind: 'service' | 'pod';
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
  /** Keys of the Services whose selector has this pair first; a pod is asked about its own labels and not about all Services. */
  readonly #selecting = new Claims<string>();
  readonly #pods: (namespace: string) => Iterable<Pod>;
  readonly #slices = new Map<string, Map<string, EndpointSlice>>();
  readonly #sliceOwner = new Map<string, string>();
  readonly #hostPorts = new Map<string, Held>();
  readonly #order = new SortedList<Held>(compareHeld);
  readonly #frontends: Frontends;
  readonly #dirty = new Set<string>();
  /** Those in the layout that have other endpoints since. */
  readonly #refilled = new Set<Held>();
  /** Something came or went since. */
  #moved = false;
  #place: Place;
  /** By address. */
  #nodes: readonly NodeAddress[] = [];
  /** Of all Services, and of those in the layout. */
  #wanted = 0;
  #records = 0;
  #problems: readonly Problem[] = [];
  #layout: ServiceLayout;

  constructor(world: World, { node, most }: ServiceTableOptions, pods: (namespace: string) => Iterable<Pod>) {
    this.#world = world;
    this.#node = node;
    this.#most = most ?? Number.POSITIVE_INFINITY;
    this.#pods = pods;
    this.#place = { node };
    this.#frontends = new Frontends(node);
    this.#layout = { records: [], frontends: () => this.#frontends.columns(), moves: 0 };
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
    const [was, is] = [firstPair(before), firstPair(after)];
    if (was !== undefined) this.#selecting.remove(was, key);
    if (is !== undefined) this.#selecting.add(is, key);
    this.#dirty.add(key);
    // Beyond the limit age decides who has room, and a Service made anew is young, whatever it shares with the one before.
    if (this.#wanted > this.#most && before?.created !== after?.created) this.#moved = true;
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
    for (const pod of [before, after]) if (pod !== undefined) this.#selectedBy(pod);
    const key = keyOf((after ?? before)!.namespace, (after ?? before)!.name);
    const has = after?.hostPorts !== undefined && after.nodeName === this.#node;
    if (has) this.#put(this.#hostPorts, 'pod', key, hostPortEntry(after));
    else this.#letGo(this.#hostPorts, key);
  }

  /** Services that have slices ask no pods. */
  #selectedBy(pod: Pod): void {
    for (const [name, value] of pod.labels)
      for (const key of this.#selecting.all(pairOf(pod.namespace, name, value)))
        if (!this.#slices.has(key) && selects(this.#services.get(key)!, pod)) this.#dirty.add(key);
  }

  /**
   * The layout now; the same object as before where nothing changed. `nodesChanged` says that nodes may have other addresses or zones
   * (every pod tells of its node's, so mostly they have not); only then `nodeAddresses` is asked.
   */
  settle(nodeAddresses: () => Iterable<NodeAddress>, nodesChanged: boolean): ServiceLayout {
    if (nodesChanged && this.#nodesChanged(nodeAddresses())) this.#releaseAtNodes();
    const zoneOf = (node: string) => this.#world.get('node', node)?.zone;
    for (const key of this.#dirty) {
      const service = this.#services.get(key);
      if (service === undefined || !isTranslated(service)) {
        this.#letGo(this.#entries, key);
        continue;
      }
      const slices = [...(this.#slices.get(key)?.values() ?? [])];
      const endpoints = resolveEndpoints(service, this.#pods(service.namespace), slices, zoneOf);
      this.#put(this.#entries, 'service', key, serviceEntry(service, endpoints, this.#place));
    }
    this.#dirty.clear();
    if (this.#moved) this.#lay();
    else if (this.#refilled.size > 0) this.#refill();
    this.#refilled.clear();
    return this.#layout;
  }

  /** What is there under this name from now on; unless it answers where it did, it claims its places with the next layout. */
  #put(among: Map<string, Held>, kind: Held['kind'], key: string, entry: Entry): void {
    let held = among.get(key);
    if (held?.entry.shape === entry.shape) {
      held.entry = entry;
      if (held.base >= 0) this.#refilled.add(held);
      return;
    }
    this.#moved = true;
    if (held === undefined) {
      held = { kind, key, entry, base: -1, claims: null, index: -1 };
      among.set(key, held);
      this.#order.add(held);
    } else {
      this.#frontends.release(held);
      if (kind === 'service') this.#wanted -= held.entry.records.length;
      held.entry = entry;
    }
    if (kind === 'service') this.#wanted += entry.records.length;
  }

  #letGo(among: Map<string, Held>, key: string): void {
    const held = among.get(key);
    if (held === undefined) return;
    this.#moved = true;
    among.delete(key);
    this.#refilled.delete(held);
    this.#order.delete(held);
    this.#frontends.release(held);
    if (held.kind === 'service') this.#wanted -= held.entry.records.length;
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
  #refill(): void {
    const records = [...this.#layout.records];
    for (const { base, entry } of this.#refilled) {
      for (let i = 0; i < entry.records.length; i++) records[base + i] = entry.records[i]!;
    }
    this.#layout = { ...this.#layout, records };
  }

  /** Whoever answers at nodes' addresses claims them anew: they are others. */
  #releaseAtNodes(): void {
    for (const among of [this.#entries, this.#hostPorts]) {
      for (const held of among.values()) {
        const depends = held.entry.answering.some(
          ({ address, rank }) => typeof address === 'string' || rank === ranks.hostAddress,
        );
        if (!depends) continue;
        this.#frontends.release(held);
        this.#moved = true;
      }
    }
  }

  #lay(): void {
    this.#moved = false;
    this.#order.settle();
    const records: ServiceRecord[] = [];
    const left = this.#left();
    this.#records = 0;
    for (const held of this.#order.items) {
      if (left?.has(held)) {
        held.base = -1;
        this.#frontends.release(held);
        continue;
      }
      held.base = records.length;
      for (const record of held.entry.records) records.push(record);
      if (held.kind === 'service') this.#records = records.length;
      if (held.claims === null) this.#frontends.claim(held, this.#nodes);
    }
    this.#problems = this.#frontends.problems;
    if (left !== null)
      this.#problems = [
        ...this.#problems,
        noRoom(
          [...left].map(({ key }) => key),
          this.#wanted,
          this.#most,
        ),
      ];
    this.#layout = { ...this.#layout, records, moves: this.#layout.moves + 1 };
  }

  /** The services that have no room, the oldest first; null: all have. What was there before goes on. */
  #left(): ReadonlySet<Held> | null {
    if (this.#wanted <= this.#most) return null;
    const age = ({ key }: Held) => this.#services.get(key)?.created ?? '';
    const byAge = [...this.#entries.values()].sort((a, b) =>
      age(a) < age(b) ? -1 : age(a) > age(b) ? 1 : a.key < b.key ? -1 : 1,
    );
    const left = new Set<Held>();
    let used = 0;
    for (const held of byAge) {
      if (used + held.entry.records.length > this.#most) left.add(held);
      else used += held.entry.records.length;
    }
    return left;
  }
}

/** Neither namespaces nor labels have a line end. */
function pairOf(namespace: string, name: string, value: string): string {
  return `${namespace}\n${name}\n${value}`;
}

function firstPair(service: Service | undefined): string | undefined {
  const [first] = service?.selector ?? [];
  return first === undefined ? undefined : pairOf(service!.namespace, ...first);
}

function compareHeld(a: Held, b: Held): number {
  if (a.kind !== b.kind) return a.kind === 'service' ? -1 : 1;
  return a.key < b.key ? -1 : a.key > b.key ? 1 : 0;
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
