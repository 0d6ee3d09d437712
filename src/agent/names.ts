/** Addresses → names, for people: which pod, node or Service of the world has an address. Rebuilt when the world has changed. */

import { hostAddresses } from '../model/node.js';
import { compareClaims, isFinished, type Pod } from '../model/pod.js';
import { protocolNumber } from '../model/protocol.js';
import type { World } from '../model/world.js';
import type { FlowEnd } from './protocol/events.js';

type Name = Pick<FlowEnd, 'kind' | 'name'>;

const external: Name = { kind: 'external', name: '' };

export class Names {
  readonly #world: World;
  #revision = -1;
  #byAddress = new Map<string, Name>();

  constructor(world: World) {
    this.#world = world;
  }

  /** An end of a flow. `address` in canonical text. */
  end(address: string, port = 0): FlowEnd {
    if (this.#revision !== this.#world.revision) this.#rebuild();
    return { address, port, ...(this.#byAddress.get(address) ?? external) };
  }

  #rebuild(): void {
    const names = new Map<string, Name>();
    for (const [name, service] of this.#world.all('service')) {
      for (const address of [...service.clusterIPs, ...service.loadBalancerIPs, ...service.externalIPs])
        names.set(address.text, { kind: 'service', name });
    }
    const holders = new Map<string, Pod>();
    for (const [name, pod] of this.#world.all('pod')) {
      if (pod.hostNetwork || isFinished(pod)) continue;
      for (const { text } of pod.addresses) {
        const holder = holders.get(text);
        if (holder !== undefined && compareClaims(holder, pod) <= 0) continue;
        holders.set(text, pod);
        names.set(text, { kind: 'pod', name });
      }
    }
    // A hostNetwork pod shares its node's address, so the node is the name.
    for (const [name, node] of this.#world.all('node'))
      for (const address of node.addresses) names.set(address.text, { kind: 'node', name });
    for (const [name, node] of this.#world.all('node'))
      for (const address of hostAddresses(node)) names.set(address.text, { kind: 'forwarded', name });
    this.#byAddress = names;
    this.#revision = this.#world.revision;
  }
}

const protocolNames = new Map<number, string>([
  ...Object.entries(protocolNumber).map(([name, number]) => [number, name] as const),
  [1, 'ICMP'],
  [58, 'ICMPv6'],
]);

/** 'TCP', 'ICMP', …; the number where there is no name. */
export function protocolName(number: number): string {
  return protocolNames.get(number) ?? String(number);
}
