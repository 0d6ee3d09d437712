/**
 * Who is who in a world: which pod has an address, which addresses a node has, which pods stand behind a Service. The questions are
 * asked by address, as packets are, so this is where names become addresses; what a policy says about them is the engines' business.
 */

import { keyOf } from '../model/event.js';
import { hostAddresses } from '../model/node.js';
import { compareClaims, isFinished, type Pod } from '../model/pod.js';
import type { EndpointSlice, Service, ServicePort } from '../model/service.js';
import type { World } from '../model/world.js';
import type { Address } from '../net/address.js';

export interface Frontend {
  readonly service: Service;
  readonly port: ServicePort;
}

export class Directory {
  readonly world: World;
  /** Address text → the live pod that has it. hostNetwork pods have none of their own. */
  readonly #podAt = new Map<string, Pod>();
  readonly #nodeAt = new Map<string, string>();
  /** Node name ('' where a pod has none) → its addresses: of the Node object first, then what its pods' status tells. */
  readonly #nodes = new Map<string, Map<string, Address>>();
  /** Addresses that hosts have in their pod CIDRs → the nodes. */
  readonly #forwardedBy = new Map<string, readonly string[]>();
  readonly #slices = new Map<string, EndpointSlice[]>();
  #frontends: ReadonlyMap<string, Frontend> | undefined;
  readonly #podsOf = new Map<string, Pod[]>();

  constructor(world: World) {
    this.world = world;
    for (const node of world.all('node').values()) {
      this.#learn(node.name, node.addresses);
      for (const { text } of hostAddresses(node)) {
        this.#forwardedBy.set(text, [...(this.#forwardedBy.get(text) ?? []), node.name]);
      }
    }
    const live = [...world.all('pod').values()].filter((pod) => !isFinished(pod));
    for (const pod of live) this.#learn(pod.nodeName, nodeAddressesOf(pod));
    for (const pod of live) this.#addPod(pod);
    for (const slice of world.all('slice').values()) {
      const key = keyOf(slice.namespace, slice.service);
      const others = this.#slices.get(key);
      if (others === undefined) this.#slices.set(key, [slice]);
      else others.push(slice);
    }
  }

  pod(namespace: string, name: string): Pod | undefined {
    return this.world.get('pod', keyOf(namespace, name));
  }

  podAt(address: Address): Pod | undefined {
    return this.#podAt.get(address.text);
  }

  /** The live pods of a namespace, in the order in which they were told. */
  podsIn(namespace: string): readonly Pod[] {
    return this.#podsOf.get(namespace) ?? [];
  }

  service(namespace: string, name: string): Service | undefined {
    return this.world.get('service', keyOf(namespace, name));
  }

  slicesOf(service: Service): readonly EndpointSlice[] {
    return this.#slices.get(keyOf(service.namespace, service.name)) ?? [];
  }

  /** undefined where nothing is known of such a node. */
  nodeAddresses(name: string): readonly Address[] | undefined {
    const known = name === '' ? undefined : this.#nodes.get(name);
    return known === undefined ? undefined : [...known.values()];
  }

  /** The node that has an address, '' where its name is unknown; undefined: no node has it. */
  nodeAt(address: Address): string | undefined {
    return this.#nodeAt.get(address.text);
  }

  /** The node whose host masquerades with the address; undefined: none does. */
  forwardedBy(address: Address): string | undefined {
    return this.#forwardedBy.get(address.text)?.[0];
  }

  /**
   * Whether the address is the pod's own node: the node's exemptions hang on this. What comes from a host's address in its pod CIDR was
   * masqueraded and is not the node; what goes there reaches it.
   */
  isOwnNode(pod: Pod, address: Address, end: 'source' | 'destination'): boolean {
    if (end === 'source' && this.#forwardedBy.has(address.text)) return false;
    if (pod.nodeName !== '') return this.#has(pod.nodeName, address);
    // Without a node name, the node is the one that has the pod's host address.
    if (pod.hostAddresses.some((own) => own.text === address.text)) return true;
    for (const name of new Set([...this.#nodes.keys(), ...this.world.all('node').keys()])) {
      if (name === '' || !this.#has(name, address)) continue;
      if (pod.hostAddresses.some((own) => this.#has(name, own))) return true;
    }
    return false;
  }

  /**
   * Where Services answer: `PROTOCOL ADDRESS PORT` for cluster, external and load balancer addresses, `PROTOCOL node PORT` for
   * nodePorts. Of two Services that claim one place the first by name has it.
   */
  frontends(): ReadonlyMap<string, Frontend> {
    this.#frontends ??= frontendsOf([...this.world.all('service').values()]);
    return this.#frontends;
  }

  /** An address that a node has is the node's, whatever pod claims it too. */
  #addPod(pod: Pod): void {
    const neighbours = this.#podsOf.get(pod.namespace);
    if (neighbours === undefined) this.#podsOf.set(pod.namespace, [pod]);
    else neighbours.push(pod);
    if (pod.hostNetwork) return;
    for (const address of pod.addresses) {
      if (this.#nodeAt.has(address.text) || this.#forwardedBy.has(address.text)) continue;
      const rival = this.#podAt.get(address.text);
      if (rival === undefined || compareClaims(pod, rival) < 0) this.#podAt.set(address.text, pod);
    }
  }

  #has(node: string, { text }: Address): boolean {
    return (
      (this.#nodes.get(node)?.has(text) ?? false) || (this.#forwardedBy.get(text)?.includes(node) ?? false)
    );
  }

  #learn(node: string, addresses: readonly Address[]): void {
    let known = this.#nodes.get(node);
    if (known === undefined) {
      known = new Map();
      this.#nodes.set(node, known);
    }
    for (const address of addresses) {
      known.set(address.text, address);
      if (!this.#nodeAt.has(address.text) || this.#nodeAt.get(address.text) === '') {
        this.#nodeAt.set(address.text, node);
      }
    }
  }
}

/** The addresses of its node that a pod's status tells. */
function nodeAddressesOf(pod: Pod): readonly Address[] {
  return pod.hostNetwork ? [...pod.addresses, ...pod.hostAddresses] : pod.hostAddresses;
}

function frontendsOf(services: Service[]): ReadonlyMap<string, Frontend> {
  const places = new Map<string, Frontend>();
  const byName = services.sort((a, b) => (keyOf(a.namespace, a.name) < keyOf(b.namespace, b.name) ? -1 : 1));
  for (const service of byName) {
    if (service.type === 'ExternalName' || service.headless === true) continue;
    for (const port of service.ports) {
      const claim = (place: string, number: number) => {
        const key = `${port.protocol} ${place} ${number}`;
        if (!places.has(key)) places.set(key, { service, port });
      };
      for (const address of [...service.clusterIPs, ...service.externalIPs, ...service.loadBalancerIPs]) {
        claim(address.text, port.port);
      }
      if (port.nodePort !== undefined && service.type !== 'ClusterIP') claim('node', port.nodePort);
    }
  }
  return places;
}
