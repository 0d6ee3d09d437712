/**
 * This node's share of the pod network, and what follows from it: the pools of addresses, the node's own addresses there, and its
 * port on the switch with its routes.
 *
 * The CIDRs are those of the configuration; where it names none, those of this node's Node object, which comes late, or changes, or
 * was told to a predecessor and is remembered with the leases while the API is away. Where no source of that kind is there
 * (manifests without a Node), it is a default. CIDRs that change never move a pod: leases stay until their DEL.
 */
import type { Config } from '../config/options.js';
import type { PortSpec } from '../dataplane/protocol/desired-state.js';
import type { Problem } from '../errors/problem.js';
import type { Leases } from '../ipam/leases.js';
import { type Cidr, cidr } from '../net/cidr.js';
import type { AttachmentDetails } from './attachment.js';
import type { NodeState, ThisNode } from './node-state.js';
import { hostPort, podCidrs, thisNode } from './this-node.js';

/** Where neither configuration nor a Node object names any: what K3s gives its first node. */
const usual: readonly Cidr[] = [cidr('10.42.0.0/24')];

export class PodNetwork {
  readonly #leases: Leases<AttachmentDetails>;
  readonly #configured: boolean;
  #config: Config;
  #node: ThisNode;
  #state: NodeState | null = null;

  /** `fromApi`: a Node object is to be expected. `leases` were opened with the configured CIDRs. */
  constructor(config: Config, leases: Leases<AttachmentDetails>, fromApi: boolean) {
    this.#config = config;
    this.#leases = leases;
    this.#configured = podCidrs(config).length > 0;
    if (this.#configured) leases.setCidrs(podCidrs(config));
    else if (!fromApi && leases.cidrs.length === 0) leases.setCidrs(usual);
    this.#node = this.#here();
  }

  get node(): ThisNode {
    return this.#node;
  }

  /** The node's own port; null where network.hostInterface is empty. */
  get hostPort(): PortSpec | null {
    return hostPort(this.#config, this.#node, this.#leases.nodeAddresses(), this.#leases.leftOver());
  }

  /** Takes over live options. */
  configure(config: Config): void {
    this.#config = config;
    this.#node = this.#here();
  }

  /** Looks at the host's interfaces again; true: the node's addresses are others. */
  refresh(): boolean {
    const before = this.#node.addresses.map(({ text }) => text).join();
    this.#node = this.#here();
    return this.#node.addresses.map(({ text }) => text).join() !== before;
  }

  /** To be called after events: takes over the CIDRs of this node's Node object; true: they are new. */
  follow(state: NodeState): boolean {
    this.#state = state;
    const told = this.#told;
    if (this.#configured || told.length === 0) return false;
    if (!this.#leases.setCidrs(told)) return false;
    this.#node = this.#here();
    return true;
  }

  /** Why a pod can get no address now; null: it can. */
  get missing(): Problem | null {
    if (this.#leases.cidrs.length > 0) return null;
    const { name } = this.node;
    return {
      code: 'pod-cidrs-missing',
      severity: 'error',
      message:
        (this.#state?.sourceNode ?? null) === null
          ? `This node has no pod CIDR yet: no source has told of the Node ${name}${this.#others()}.`
          : `This node has no pod CIDR yet: the Node ${name} has no spec.podCIDRs.`,
      fix: "Wait for the cluster's controller to give the Node its spec.podCIDRs, check node.name, or set network.podCIDRs.",
    };
  }

  /** A Node that is called otherwise than its host is most often why. */
  #others(): string {
    const names = [...(this.#state?.world.all('node').keys() ?? [])].filter(
      (name) => name !== this.node.name,
    );
    const some = names.sort().slice(0, 5).join(', ') + (names.length > 5 ? ' …' : '');
    return names.length === 0 ? '' : `, but of ${some}`;
  }

  get problems(): readonly Problem[] {
    const { missing } = this;
    const found: Problem[] = missing === null ? [] : [{ ...missing, severity: 'warning' }];
    for (const { cidr, used, total } of this.#leases.use())
      if (BigInt(used) >= total)
        found.push({
          code: 'addresses-exhausted',
          severity: 'warning',
          message: `All ${total} addresses of ${cidr} are in use; one more pod gets none.`,
          fix: "Remove pods from this node, or give it a larger CIDR: network.podCIDRs, or the cluster's node CIDR mask size.",
        });
    const leftOver = this.#leases.leftOver();
    if (leftOver.length > 0)
      found.push({
        code: 'pod-cidrs-changed',
        severity: 'warning',
        message: `The pod CIDRs of this node are ${this.#texts(this.#leases.cidrs)} now, and ${leftOver.length} addresses of pods are of those before (${leftOver[0]!.text}${leftOver.length > 1 ? ' …' : ''}); other nodes may not reach them.`,
        fix: 'Recreate these pods.',
      });
    const told = this.#told;
    if (this.#configured && told.length > 0 && this.#texts(told) !== this.#texts(this.#leases.cidrs))
      found.push({
        code: 'pod-cidrs-differ',
        severity: 'warning',
        message: `network.podCIDRs is ${this.#texts(this.#leases.cidrs)} and the Node object says ${this.#texts(told)}; other nodes go by the Node object.`,
        fix: 'Set network.podCIDRs to [], or to what the Node object says.',
      });
    return found;
  }

  #here(): ThisNode {
    const node = thisNode(this.#config, this.#leases.cidrs);
    // The one that others know the node by comes first: its sockets are seen by pods with that.
    const told = new Set(this.#state?.sourceNode?.addresses.map(({ text }) => text));
    const known = node.addresses.filter(({ text }) => told.has(text));
    return { ...node, addresses: [...known, ...node.addresses.filter(({ text }) => !told.has(text))] };
  }

  /** Of the Node object, the first of each family. */
  get #told(): readonly Cidr[] {
    const all = this.#state?.sourceNode?.podCidrs ?? [];
    return all.filter(({ family }, index) => all.findIndex((other) => other.family === family) === index);
  }

  #texts(cidrs: readonly Cidr[]): string {
    return cidrs.map(({ text }) => text).join(', ');
  }
}
