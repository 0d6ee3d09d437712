/**
 * Services as the switch translates them: for each port and family the backends, and where it answers: cluster, external and load-balancer
 * addresses at the service's port, and every node address at its node port. Kept service by service; a pod's change costs the services
 * of its namespace that select it.
 */
import type { Problem } from '../errors/problem.js';
import { type Hash, hashText } from '../identity/hash.js';
import { type Backend, isTranslated, resolveEndpoints, selects } from '../model/endpoints.js';
import { keyOf } from '../model/event.js';
import type { Pod } from '../model/pod.js';
import { protocolNumber } from '../model/protocol.js';
import type { EndpointSlice, Service } from '../model/service.js';
import type { World } from '../model/world.js';
import { type Address, compareAddresses } from '../net/address.js';

export interface ServiceRecord {
  /** `namespace/name:port/protocol/family`, where port is its name or number. */
  readonly name: string;
  readonly key: Hash;
  readonly affinitySeconds: number;
  readonly backends: readonly Backend[];
}

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

/** A frontend of one service; node ports are joined with the node addresses when laid out. */
interface Answering {
  readonly address: Address | 'every-node';
  readonly port: number;
  readonly protocol: number;
  readonly record: number;
}

interface Entry {
  readonly records: readonly ServiceRecord[];
  readonly answering: readonly Answering[];
  /** Equal where two entries differ in backends and affinity at most. */
  readonly shape: string;
  /** Position of its first record in the layout. */
  base: number;
}

function read(service: Service, endpoints: ReturnType<typeof resolveEndpoints>): Entry {
  const records: ServiceRecord[] = [];
  const answering: Answering[] = [];
  for (const { port, family, backends } of endpoints) {
    const label = port.name === '' ? port.port : port.name;
    const name = `${keyOf(service.namespace, service.name)}:${label}/${port.protocol}/${family}`;
    const record = records.length;
    const protocol = protocolNumber[port.protocol];
    records.push({ name, key: hashText(name), affinitySeconds: service.affinitySeconds, backends });
    for (const address of [...service.clusterIPs, ...service.externalIPs, ...service.loadBalancerIPs]) {
      if (address.family === family) answering.push({ address, port: port.port, protocol, record });
    }
    if (port.nodePort !== undefined && port.nodePort > 0 && service.type !== 'ClusterIP') {
      answering.push({ address: 'every-node', port: port.nodePort, protocol, record });
    }
  }
  const shape = JSON.stringify([
    records.map(({ name }) => name),
    answering.map(({ address, port, protocol, record }) => [
      address === 'every-node' ? address : address.text,
      port,
      protocol,
      record,
    ]),
  ]);
  return { records, answering, shape, base: -1 };
}

export class ServiceTable {
  readonly #world: World;
  readonly #node: string | undefined;
  readonly #entries = new Map<string, Entry>();
  readonly #services = new Map<string, Service>();
  readonly #byNamespace = new Map<string, Set<string>>();
  readonly #pods: (namespace: string) => Iterable<Pod>;
  readonly #slices = new Map<string, Map<string, EndpointSlice>>();
  readonly #sliceOwner = new Map<string, string>();
  readonly #dirty = new Set<string>();
  readonly #problems: Problem[] = [];
  #layout: ServiceLayout = { records: [], frontends: [] };

  constructor(world: World, node: string | undefined, pods: (namespace: string) => Iterable<Pod>) {
    this.#world = world;
    this.#node = node;
    this.#pods = pods;
  }

  get problems(): readonly Problem[] {
    return this.#problems;
  }

  knownServices(): Iterable<string> {
    return this.#services.keys();
  }

  knownSlices(): Iterable<string> {
    return this.#sliceOwner.keys();
  }

  /** Told of every service that was touched; gives back its addresses of before and after. */
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
    return { before: addressesOf(before), after: addressesOf(after) };
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
  }

  /**
   * The layout now; the same object as before where nothing changed. `nodeAddresses` is asked only when it has to be laid out again;
   * `nodesChanged` says that it would answer differently.
   */
  settle(nodeAddresses: () => Iterable<Address>, nodesChanged: boolean): ServiceLayout {
    let moved = nodesChanged && this.#hasNodePorts();
    const refilled: Entry[] = [];
    for (const key of this.#dirty) {
      const service = this.#services.get(key);
      const had = this.#entries.has(key);
      if (service === undefined || !isTranslated(service)) {
        if (had) this.#entries.delete(key);
        moved ||= had;
        continue;
      }
      const slices = [...(this.#slices.get(key)?.values() ?? [])];
      const endpoints = resolveEndpoints(service, this.#pods(service.namespace), slices, this.#node);
      const entry = read(service, endpoints);
      const before = this.#entries.get(key);
      if (before?.shape === entry.shape) {
        entry.base = before.base;
        refilled.push(entry);
      } else moved = true;
      this.#entries.set(key, entry);
    }
    this.#dirty.clear();
    if (moved) this.#lay([...nodeAddresses()].sort(compareAddresses));
    else if (refilled.length > 0) this.#refill(refilled);
    return this.#layout;
  }

  /** Other backends in the same places: frontends stay. */
  #refill(entries: readonly Entry[]): void {
    const records = [...this.#layout.records];
    for (const { base, records: own } of entries) {
      for (let i = 0; i < own.length; i++) records[base + i] = own[i]!;
    }
    this.#layout = { records, frontends: this.#layout.frontends };
  }

  #hasNodePorts(): boolean {
    for (const { answering } of this.#entries.values()) {
      if (answering.some(({ address }) => address === 'every-node')) return true;
    }
    return false;
  }

  #lay(nodeAddresses: readonly Address[]): void {
    const records: ServiceRecord[] = [];
    const frontends: Frontend[] = [];
    const taken = new Map<string, string>();
    this.#problems.length = 0;
    for (const key of [...this.#entries.keys()].sort()) {
      const entry = this.#entries.get(key)!;
      const base = records.length;
      entry.base = base;
      records.push(...entry.records);
      for (const { address, port, protocol, record } of entry.answering) {
        const name = entry.records[record]!.name;
        const family = name.endsWith('/4') ? 4 : 6;
        const addresses =
          address === 'every-node' ? nodeAddresses.filter((node) => node.family === family) : [address];
        for (const at of addresses) {
          const place = `${protocol}|${port}|${at.text}`;
          const holder = taken.get(place);
          if (holder === undefined) {
            taken.set(place, name);
            frontends.push({ address: at, port, protocol, service: base + record });
          } else if (holder !== name) this.#problems.push(collision(name, holder, at, port));
        }
      }
    }
    this.#layout = { records, frontends };
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

function addressesOf(service: Service | undefined): readonly Address[] {
  if (service === undefined || !isTranslated(service)) return [];
  return [...service.clusterIPs, ...service.externalIPs, ...service.loadBalancerIPs];
}
