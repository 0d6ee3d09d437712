/** A Node of the cluster, and the addresses in its pod CIDRs that stand for it. */
import type { SourceRef } from '../errors/problem.js';
import { type Address, addressOf } from '../net/address.js';
import type { Cidr } from '../net/cidr.js';

export interface Node {
  readonly name: string;
  /** InternalIP and ExternalIP addresses, and any other that is the node's own. */
  readonly addresses: readonly Address[];
  readonly podCidrs: readonly Cidr[];
  /** Label topology.kubernetes.io/zone; absent where the node has none. */
  readonly zone?: string;
  readonly source?: SourceRef;
}

/**
 * The host's own address in a pod CIDR: the one after the network address, which no pod gets; undefined where the block is too small to
 * have one. The host's own sockets never send from it (its routes to pods name a node address), so whatever comes from it was
 * masqueraded: traffic of a stranger that the host forwards.
 */
function hostAddressOf(block: Cidr): Address | undefined {
  const bits = block.family === 4 ? 32 : 128;
  if (block.length > bits - 2) return undefined;
  const [a, b, c, d] = block.base.words;
  return addressOf([a, b, c, d + 1]);
}

/**
 * What the host's own sockets send to pods from where the node has no address of the block's family: its network address, which no pod gets
 * either. As a /32 or /128 it is an address like any other. undefined where `hostAddressOf` is.
 */
export function standInAddressOf(block: Cidr): Address | undefined {
  return hostAddressOf(block) === undefined ? undefined : block.base;
}

/** The host addresses of all pod CIDRs of the node. */
export function hostAddresses(node: Pick<Node, 'podCidrs'>): readonly Address[] {
  return node.podCidrs.map(hostAddressOf).filter((address) => address !== undefined);
}
