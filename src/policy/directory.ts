/**
 * Who is who in a world: which pod has an address, which addresses a node has, which pods stand behind a Service. The questions are
 * asked by address, as packets are, so this is where names become addresses; what a policy says about them is the engines' business.
 *
 * It follows its World by the journal: `follow` costs what was touched since the last time, so that an agent can be asked for names while a
 * large cluster changes under it. What it answers depends on what the World holds, not on the way there.
 */

import { type Kind, keyOf, kinds } from '../model/event.js';
import { hostAddresses, type Node } from '../model/node.js';
import { compareClaims, isFinished, type Pod } from '../model/pod.js';
import type { EndpointSlice, Service, ServicePort } from '../model/service.js';
import type { World } from '../model/world.js';
import { type Address, compareAddresses, type Family } from '../net/address.js';
import { Claims } from './claims.js';

export interface Frontend {
  readonly service: Service;
  readonly port: ServicePort;
}

/** What has an address, by name: `namespace/name`, or a node's. */
export interface Holder {
  /** `forwarded`: the host of this node masquerades with it. */
  readonly kind: 'pod' | 'service' | 'node' | 'forwarded';
  readonly name: string;
}

export class Directory {
  readonly world: World;
  #revision: number | null = null;
  /** As they were taken in: namespace → key → pod, whatever its phase. */
  readonly #podsOf = new Map<string, Map<string, Pod>>();
  readonly #nodes = new Map<string, Node>();
  readonly #services = new Map<string, Service>();
  readonly #slices = new Map<string, EndpointSlice>();
  /** By address: the live pods that claim it; hostNetwork pods have none of their own. */
  readonly #podsAt = new Claims<Pod>();
  /** By address: names of the nodes that have it, by their own word and by that of pods' status ('' where such a pod has no node). */
  readonly #nodesAt = new Claims<string>();
  readonly #toldAt = new Claims<string>();
  /** By address that a host has in its pod CIDR: the nodes. */
  readonly #forwardedAt = new Claims<string>();
  readonly #servicesAt = new Claims<string>();
  /** By node: addresses that its pods' status tells. */
  readonly #told = new Claims<Address>(({ text }) => text);
  /** How many live pods name a node; one is known by them, even where nothing tells its addresses. */
  readonly #podsOn = new Map<string, number>();
  /** By service. */
  readonly #slicesOf = new Claims<EndpointSlice>();
  #frontends: ReadonlyMap<string, Frontend> | undefined;

  constructor(world: World) {
    this.world = world;
    this.follow();
  }

  /** Takes in what has happened to the World since the last time. Returns itself. */
  follow(): this {
    const { world } = this;
    if (this.#revision === world.revision) return this;
    const touched = this.#revision === null ? undefined : world.touchedSince(this.#revision);
    this.#revision = world.revision;
    if (touched !== undefined) for (const { kind, key } of touched) this.#take(kind, key);
    else this.#takeAll();
    return this;
  }

  pod(namespace: string, name: string): Pod | undefined {
    return this.world.get('pod', keyOf(namespace, name));
  }

  podAt({ text }: Address): Pod | undefined {
    if (this.#isNodes(text)) return undefined;
    return this.#podsAt.best(text, compareClaims);
  }

  /** The live pods of a namespace, in no particular order. */
  podsIn(namespace: string): readonly Pod[] {
    return [...(this.#podsOf.get(namespace)?.values() ?? [])].filter((pod) => !isFinished(pod));
  }

  service(namespace: string, name: string): Service | undefined {
    return this.world.get('service', keyOf(namespace, name));
  }

  slicesOf(service: Service): readonly EndpointSlice[] {
    return this.#slicesOf.all(keyOf(service.namespace, service.name));
  }

  /** Of the Node object first, then what its pods' status tells; undefined where nothing is known of such a node. */
  nodeAddresses(name: string): readonly Address[] | undefined {
    const node = this.#nodes.get(name);
    const told = name === '' ? [] : [...this.#told.all(name)].sort(compareAddresses);
    if (node === undefined && (name === '' || !this.#podsOn.has(name))) return undefined;
    const known = new Map([...(node?.addresses ?? []), ...told].map((address) => [address.text, address]));
    return [...known.values()];
  }

  /** The node that has an address, '' where its name is unknown; undefined: no node has it. */
  nodeAt({ text }: Address): string | undefined {
    return this.#nodesAt.best(text, byText) ?? this.#toldAt.best(text, namedFirst);
  }

  /** The node whose host masquerades with the address; undefined: none does. */
  forwardedBy({ text }: Address): string | undefined {
    return this.#forwardedAt.best(text, byText);
  }

  /** What has an address, by its canonical text; undefined: the rest of the world, or a node that nobody names. */
  holderOf(text: string): Holder | undefined {
    const host = this.#forwardedAt.best(text, byText);
    if (host !== undefined) return { kind: 'forwarded', name: host };
    const node = this.#nodesAt.best(text, byText) ?? this.#toldAt.best(text, namedFirst);
    // A hostNetwork pod shares its node's address, so the node is the name.
    if (node !== undefined) return node === '' ? undefined : { kind: 'node', name: node };
    const pod = this.#podsAt.best(text, compareClaims);
    if (pod !== undefined) return { kind: 'pod', name: keyOf(pod.namespace, pod.name) };
    const service = this.#servicesAt.best(text, byText);
    return service === undefined ? undefined : { kind: 'service', name: service };
  }

  /**
   * Whether the address is the pod's own node: the node's exemptions hang on this. What comes from a host's address in its pod CIDR was
   * masqueraded and is not the node; what goes there reaches it.
   */
  isOwnNode(pod: Pod, address: Address, end: 'source' | 'destination'): boolean {
    if (end === 'source' && this.#forwardedAt.has(address.text)) return false;
    if (pod.nodeName !== '') return this.#has(pod.nodeName, address);
    // Without a node name, the node is the one that has the pod's host address.
    if (pod.hostAddresses.some((own) => own.text === address.text)) return true;
    for (const name of new Set([...this.#nodes.keys(), ...this.#told.keys()])) {
      if (name === '' || !this.#has(name, address)) continue;
      if (pod.hostAddresses.some((own) => this.#has(name, own))) return true;
    }
    return false;
  }

  /**
   * Where Services answer: `PROTOCOL ADDRESS PORT` for cluster, external and load balancer addresses, `PROTOCOL node/FAMILY PORT` for
   * nodePorts. Of two Services that claim one place the first by name has it. A Service is in no family but those of its cluster
   * addresses, whatever else it names; one that has none yet may be in both.
   */
  frontends(): ReadonlyMap<string, Frontend> {
    this.#frontends ??= frontendsOf([...this.world.all('service').values()]);
    return this.#frontends;
  }

  // ---- taking in

  #takeAll(): void {
    const { world } = this;
    for (const kind of kinds) {
      const held: Iterable<string> =
        kind === 'pod'
          ? [...this.#podsOf.values()].flatMap((pods) => [...pods.keys()])
          : kind === 'node'
            ? this.#nodes.keys()
            : kind === 'service'
              ? this.#services.keys()
              : kind === 'slice'
                ? this.#slices.keys()
                : [];
      for (const key of [...held]) if (world.get(kind, key) === undefined) this.#take(kind, key);
      for (const key of world.all(kind).keys()) this.#take(kind, key);
    }
  }

  #take(kind: Kind, key: string): void {
    switch (kind) {
      case 'pod':
        this.#takePod(key);
        return;
      case 'node': {
        const [before, after] = exchange(this.#nodes, key, this.world.get('node', key));
        if (before === after) return;
        if (before !== undefined) this.#claimNode(before, 'remove');
        if (after !== undefined) this.#claimNode(after, 'add');
        return;
      }
      case 'service': {
        const [before, after] = exchange(this.#services, key, this.world.get('service', key));
        if (before === after) return;
        this.#frontends = undefined;
        for (const address of addressesOf(before)) this.#servicesAt.remove(address.text, key);
        for (const address of addressesOf(after)) this.#servicesAt.add(address.text, key);
        return;
      }
      case 'slice': {
        const [before, after] = exchange(this.#slices, key, this.world.get('slice', key));
        if (before === after) return;
        if (before !== undefined) this.#slicesOf.remove(keyOf(before.namespace, before.service), before);
        if (after !== undefined) this.#slicesOf.add(keyOf(after.namespace, after.service), after);
      }
    }
  }

  #takePod(key: string): void {
    const namespace = key.slice(0, key.indexOf('/'));
    let neighbours = this.#podsOf.get(namespace);
    if (neighbours === undefined) {
      neighbours = new Map();
      this.#podsOf.set(namespace, neighbours);
    }
    const [before, after] = exchange(neighbours, key, this.world.get('pod', key));
    if (neighbours.size === 0) this.#podsOf.delete(namespace);
    if (before === after) return;
    if (before !== undefined) this.#claimPod(before, 'remove');
    if (after !== undefined) this.#claimPod(after, 'add');
  }

  #claimPod(pod: Pod, how: 'add' | 'remove'): void {
    if (isFinished(pod)) return;
    const others = (this.#podsOn.get(pod.nodeName) ?? 0) + (how === 'add' ? 1 : -1);
    if (others > 0) this.#podsOn.set(pod.nodeName, others);
    else this.#podsOn.delete(pod.nodeName);
    if (!pod.hostNetwork) for (const { text } of pod.addresses) this.#podsAt[how](text, pod);
    for (const address of nodeAddressesOf(pod)) {
      this.#toldAt[how](address.text, pod.nodeName);
      this.#told[how](pod.nodeName, address);
    }
  }

  #claimNode(node: Node, how: 'add' | 'remove'): void {
    for (const { text } of node.addresses) this.#nodesAt[how](text, node.name);
    for (const { text } of hostAddresses(node)) this.#forwardedAt[how](text, node.name);
  }

  /** An address that a node has is the node's, whatever pod claims it too. */
  #isNodes(text: string): boolean {
    return this.#nodesAt.has(text) || this.#toldAt.has(text) || this.#forwardedAt.has(text);
  }

  #has(node: string, { text }: Address): boolean {
    return (
      this.#nodesAt.all(text).includes(node) ||
      this.#toldAt.all(text).includes(node) ||
      this.#forwardedAt.all(text).includes(node)
    );
  }
}

const byText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
/** A node that has a name before one that nobody has named. */
const namedFirst = (a: string, b: string): number => (a === '' ? 1 : b === '' ? -1 : byText(a, b));

/** What was there, and what is. */
function exchange<T>(
  held: Map<string, T>,
  key: string,
  after: T | undefined,
): [T | undefined, T | undefined] {
  const before = held.get(key);
  if (after === undefined) held.delete(key);
  else held.set(key, after);
  return [before, after];
}

/** The addresses of its node that a pod's status tells. */
function nodeAddressesOf(pod: Pod): readonly Address[] {
  return pod.hostNetwork ? [...pod.addresses, ...pod.hostAddresses] : pod.hostAddresses;
}

function addressesOf(service: Service | undefined): readonly Address[] {
  if (service === undefined) return [];
  return [...service.clusterIPs, ...service.loadBalancerIPs, ...service.externalIPs];
}

function familiesOf({ clusterIPs, ipFamilies }: Service): readonly Family[] {
  const own = clusterIPs.map(({ family }) => family);
  return own.length > 0 ? own : ipFamilies !== undefined && ipFamilies.length > 0 ? ipFamilies : [4, 6];
}

function frontendsOf(services: Service[]): ReadonlyMap<string, Frontend> {
  const places = new Map<string, Frontend>();
  const byName = services.sort((a, b) => (keyOf(a.namespace, a.name) < keyOf(b.namespace, b.name) ? -1 : 1));
  for (const service of byName) {
    if (service.type === 'ExternalName' || service.headless === true || service.otherProxy === true) continue;
    const families = familiesOf(service);
    for (const port of service.ports) {
      const claim = (place: string, number: number) => {
        const key = `${port.protocol} ${place} ${number}`;
        if (!places.has(key)) places.set(key, { service, port });
      };
      for (const address of [...service.clusterIPs, ...service.externalIPs, ...service.loadBalancerIPs]) {
        if (families.includes(address.family)) claim(address.text, port.port);
      }
      if (port.nodePort === undefined || service.type === 'ClusterIP') continue;
      for (const family of families) claim(`node/${family}`, port.nodePort);
    }
  }
  return places;
}
