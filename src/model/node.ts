import type { SourceRef } from '../errors/problem.js';
import type { Address } from '../net/address.js';
import type { Cidr } from '../net/cidr.js';

export interface Node {
  readonly name: string;
  /** InternalIP and ExternalIP addresses, and any other that is the node's own. */
  readonly addresses: readonly Address[];
  readonly podCidrs: readonly Cidr[];
  readonly source?: SourceRef;
}
