/**
 * A term is one question about a pod that some rule in force on this node asks: is it in this namespace, does its namespace match this
 * selector, does it match that one; which number does it give to this named port. The terms that hold for a pod are all that policy
 * can ever know of it, and so they are its identity.
 *
 * Two terms are the same question exactly when their text is equal.
 */
import type { PolicyPeer } from '../model/policy.js';
import type { Protocol } from '../model/protocol.js';
import { describeSelector, type Selector } from '../model/selector.js';
import type { Address } from '../net/address.js';
import { type Cidr, compareBlocks, contains } from '../net/cidr.js';

export type TermSpec =
  | {
      readonly kind: 'pods';
      /** The one namespace meant; null: any that the selector matches. */
      readonly namespace: string | null;
      /** null: every namespace. */
      readonly namespaceSelector: Selector | null;
      /** null: every pod. */
      readonly podSelector: Selector | null;
    }
  /** The pod's address lies in an ipBlock. Asked only where an egress rule joins an ipBlock with a named port; see Row. */
  | { readonly kind: 'block'; readonly cidr: Cidr; readonly except: readonly Cidr[] }
  /** The pod gives this number to the port of this name and protocol. */
  | { readonly kind: 'port'; readonly name: string; readonly protocol: Protocol; readonly number: number };

function orNull(selector: Selector | undefined): Selector | null {
  return selector === undefined || selector.requirements.length === 0 ? null : selector;
}

/** The question that a peer of kind `pods` asks, or 'every-pod' where it asks none. */
export function podTerm(
  peer: PolicyPeer & { kind: 'pods' },
  policyNamespace: string,
): (TermSpec & { kind: 'pods' }) | 'every-pod' {
  const podSelector = orNull(peer.podSelector);
  if (peer.namespaceSelector === undefined) {
    return { kind: 'pods', namespace: policyNamespace, namespaceSelector: null, podSelector };
  }
  const namespaceSelector = orNull(peer.namespaceSelector);
  if (namespaceSelector === null && podSelector === null) return 'every-pod';
  return { kind: 'pods', namespace: null, namespaceSelector, podSelector };
}

export function termText(spec: TermSpec): string {
  switch (spec.kind) {
    case 'pods':
      return JSON.stringify([
        'pods',
        spec.namespace,
        spec.namespaceSelector?.text ?? null,
        spec.podSelector?.text ?? null,
      ]);
    case 'block':
      return JSON.stringify([
        'block',
        spec.cidr.text,
        ...[...spec.except].sort(compareBlocks).map(({ text }) => text),
      ]);
    case 'port':
      return JSON.stringify(['port', spec.name, spec.protocol, spec.number]);
  }
}

export function blockHolds(spec: TermSpec & { kind: 'block' }, address: Address): boolean {
  return contains(spec.cidr, address) && !spec.except.some((hole) => contains(hole, address));
}

/** For a person. */
export function describeTerm(spec: TermSpec): string {
  switch (spec.kind) {
    case 'pods': {
      const where =
        spec.namespace !== null
          ? `namespace ${spec.namespace}`
          : spec.namespaceSelector === null
            ? 'any namespace'
            : `namespaces with ${describeSelector(spec.namespaceSelector)}`;
      return spec.podSelector === null ? where : `${describeSelector(spec.podSelector)} in ${where}`;
    }
    case 'block':
      return spec.except.length === 0
        ? `in ${spec.cidr.text}`
        : `in ${spec.cidr.text} except ${spec.except.map(({ text }) => text).join(', ')}`;
    case 'port':
      return `port ${spec.name} is ${spec.number}/${spec.protocol}`;
  }
}
