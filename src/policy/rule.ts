/**
 * Policies and rules in force, read once: ports as number ranges and names, blocks with exceptions that matter. A policy that changes is a
 * new entry; entries never change.
 */

import { podTerm, type TermSpec } from '../identity/term.js';
import type { Direction, NetworkPolicy, PolicyPort, PolicyRule } from '../model/policy.js';
import { type Protocol, protocolNumber } from '../model/protocol.js';
import { type Cidr, compareBlocks, containsBlock } from '../net/cidr.js';
import type { Indexed } from './sorted-list.js';

export interface PortRange {
  /** IANA number. */
  readonly protocol: number;
  readonly first: number;
  readonly last: number;
}

export interface PortName {
  readonly name: string;
  readonly protocol: Protocol;
}

/** What a rule opens; `any` is every port of every protocol. */
export interface RulePorts {
  readonly any: boolean;
  readonly ranges: readonly PortRange[];
  readonly names: readonly PortName[];
}

export interface Block {
  readonly cidr: Cidr;
  /** Disjoint, and inside `cidr`. */
  readonly except: readonly Cidr[];
}

function readPorts(ports: readonly PolicyPort[] | null): RulePorts {
  if (ports === null) return { any: true, ranges: [], names: [] };
  const ranges: PortRange[] = [];
  const names: PortName[] = [];
  for (const port of ports) {
    switch (port.kind) {
      case 'protocol':
        ranges.push({ protocol: protocolNumber[port.protocol], first: 0, last: 65_535 });
        break;
      case 'range':
        ranges.push({ protocol: protocolNumber[port.protocol], first: port.first, last: port.last });
        break;
      case 'named':
        names.push({ name: port.name, protocol: port.protocol });
        break;
      case 'nothing':
        break;
    }
  }
  return { any: false, ranges, names };
}

/** The block with exceptions that change something, or null where they leave nothing of it. */
function readBlock(cidr: Cidr, except: readonly Cidr[]): Block | null {
  if (except.some((hole) => containsBlock(hole, cidr))) return null;
  const inside = except.filter((hole) => containsBlock(cidr, hole)).sort(compareBlocks);
  // Sorted, a hole stands behind those around it, and they are next to it but for others inside them.
  const disjoint: Cidr[] = [];
  for (const hole of inside) {
    const last = disjoint.at(-1);
    if (last === undefined || !containsBlock(last, hole)) disjoint.push(hole);
  }
  return { cidr, except: disjoint };
}

export class RuleEntry {
  readonly policy: PolicyEntry;
  readonly direction: Direction;
  /** Position in the policy's list of this direction. */
  readonly position: number;
  readonly rule: PolicyRule;
  readonly ports: RulePorts;
  /** Every peer, pods or not. */
  readonly everybody: boolean;
  /** Every pod, and nobody else by this alone. */
  readonly everyPod: boolean;
  readonly terms: readonly TermSpec[];
  readonly blocks: readonly Block[];
  /** Position among the rules of the image: policy by policy, egress before ingress. Renumbering keeps the order of any two. */
  order = -1;
  /** Unique in this process; says nothing about order. */
  readonly serial: number;

  constructor(policy: PolicyEntry, direction: Direction, position: number, rule: PolicyRule, serial: number) {
    this.policy = policy;
    this.direction = direction;
    this.position = position;
    this.rule = rule;
    this.serial = serial;
    this.ports = readPorts(rule.ports);
    this.everybody = rule.peers === null;
    const terms: TermSpec[] = [];
    const blocks: Block[] = [];
    let everyPod = false;
    for (const peer of rule.peers ?? []) {
      if (peer.kind === 'pods') {
        const term = podTerm(peer, policy.policy.namespace);
        if (term === 'every-pod') everyPod = true;
        else terms.push(term);
      } else if (peer.kind === 'block') {
        const block = readBlock(peer.cidr, peer.except);
        if (block !== null) blocks.push(block);
      }
    }
    this.everyPod = everyPod;
    this.terms = terms;
    this.blocks = blocks;
  }

  /** Whether the rule can allow anything at all by ports that do not depend on the destination. */
  get hasNumbers(): boolean {
    return this.ports.any || this.ports.ranges.length > 0;
  }
}

export class PolicyEntry implements Indexed {
  readonly policy: NetworkPolicy;
  /** null: does not isolate this direction. */
  readonly rules: {
    readonly egress: readonly RuleEntry[] | null;
    readonly ingress: readonly RuleEntry[] | null;
  };
  /** Position in the image; meaningful while some row uses it. */
  index = -1;
  /** How many rows use it. */
  uses = 0;
  readonly serial: number;

  constructor(policy: NetworkPolicy, nextSerial: () => number) {
    this.policy = policy;
    this.serial = nextSerial();
    const read = (direction: Direction) =>
      policy[direction]?.map((rule, i) => new RuleEntry(this, direction, i, rule, nextSerial())) ?? null;
    this.rules = { egress: read('egress'), ingress: read('ingress') };
  }
}

/** By namespace, then name. */
export function comparePolicies(a: PolicyEntry, b: PolicyEntry): number {
  const [p, q] = [a.policy, b.policy];
  if (p.namespace !== q.namespace) return p.namespace < q.namespace ? -1 : 1;
  return p.name < q.name ? -1 : p.name > q.name ? 1 : 0;
}
