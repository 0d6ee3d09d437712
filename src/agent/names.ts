/** Addresses → names, for people: which pod, node or Service of the world has an address. */

import { protocolNumber } from '../model/protocol.js';
import type { Directory } from '../policy/directory.js';
import type { FlowEnd } from './protocol/events.js';

export class Names {
  readonly #directory: Directory;

  constructor(directory: Directory) {
    this.#directory = directory;
  }

  /** An end of a flow. `address` in canonical text. */
  end(address: string, port = 0): FlowEnd {
    const { kind, name } = this.#directory.follow().holderOf(address) ?? { kind: 'external', name: '' };
    return { address, port, kind, name };
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
