/**
 * NetworkPolicy after the edge has read it: defaults applied, policyTypes resolved, blocks normalised. What the edge could not
 * honour is written as `nothing`, which matches nothing, so that doubt narrows a rule and never widens it; the policy still isolates.
 */
import type { SourceRef } from '../errors/problem.js';
import type { Cidr } from '../net/cidr.js';
import type { Protocol } from './protocol.js';
import type { Selector } from './selector.js';

export type Direction = 'egress' | 'ingress';

/**
 * `pods` without a namespaceSelector means pods of the policy's own namespace; without a podSelector every pod of the namespaces.
 * At least one of the two is there.
 */
export type PolicyPeer =
  | {
      readonly kind: 'pods';
      readonly namespaceSelector?: Selector;
      readonly podSelector?: Selector;
      readonly source?: SourceRef;
    }
  | {
      readonly kind: 'block';
      readonly cidr: Cidr;
      readonly except: readonly Cidr[];
      readonly source?: SourceRef;
    }
  | { readonly kind: 'nothing'; readonly why: string; readonly source?: SourceRef };

export type PolicyPort =
  /** Every port of one protocol. */
  | { readonly kind: 'protocol'; readonly protocol: Protocol; readonly source?: SourceRef }
  /** first..last inclusive; first = last for a single port. */
  | {
      readonly kind: 'range';
      readonly protocol: Protocol;
      readonly first: number;
      readonly last: number;
      readonly source?: SourceRef;
    }
  /** The numbers that the destination pod gives this name and protocol. */
  | {
      readonly kind: 'named';
      readonly protocol: Protocol;
      readonly name: string;
      readonly source?: SourceRef;
    }
  | { readonly kind: 'nothing'; readonly why: string; readonly source?: SourceRef };

export interface PolicyRule {
  /** null: every peer, external addresses and nodes included. A list is an OR; an empty list matches nobody (the edge makes null of []). */
  readonly peers: readonly PolicyPeer[] | null;
  /** null: every port of every protocol, ICMP included. */
  readonly ports: readonly PolicyPort[] | null;
  readonly source?: SourceRef;
}

export interface NetworkPolicy {
  readonly namespace: string;
  readonly name: string;
  /** '' where the source has none. */
  readonly uid: string;
  readonly podSelector: Selector;
  /** Rules in the order written; null: the policy does not isolate this direction. [] isolates and allows nothing. */
  readonly ingress: readonly PolicyRule[] | null;
  readonly egress: readonly PolicyRule[] | null;
  readonly source?: SourceRef;
}

/**
 * The directions that a policy isolates: policyTypes where given, else Ingress always and Egress where there are egress rules.
 */
export function isolatedDirections(
  policyTypes: readonly string[] | undefined,
  hasEgressRules: boolean,
): { readonly ingress: boolean; readonly egress: boolean } {
  if (policyTypes === undefined || policyTypes.length === 0) return { ingress: true, egress: hasEgressRules };
  return { ingress: policyTypes.includes('Ingress'), egress: policyTypes.includes('Egress') };
}
