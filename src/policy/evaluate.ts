/**
 * The reference: what NetworkPolicy means, written straight from the API's documentation, over plain Kubernetes objects. It
 * imports nothing of the model, the identities or the compiler, and it is slow and obvious where they are fast: every
 * question walks the policies of the pod's namespace and every rule in them. Property tests hold it equal to the compiled image.
 *
 * Numbers in comments are those of the statements in ARCHITECTURE.md ("What NetworkPolicy means here").
 *
 * A question is two addresses, a protocol and a port, as a packet has them: who stands behind an address is part of the
 * semantics (a pod, a node, or neither) and is decided here. Whatever the API server would refuse narrows and never
 * widens (25, 37, 45): a peer or port that cannot be read matches nothing, a rule with a field nobody knows allows nothing,
 * policyTypes that cannot be read isolate both directions, a policy with a field nobody knows isolates both and allows nothing,
 * and one whose own podSelector cannot be read isolates every pod of its namespace and allows nothing.
 */
import { addressKey, plainAddress } from './evaluate-address.js';
import { metadataOf, namespaceOf, type PlainRecord, plainLabels } from './evaluate-plain.js';
import { type AddressOwners, type EvaluatedPod, ownersOfAddresses } from './evaluate-pods.js';
import { type EvaluatedPolicy, type Peer, readPolicy } from './evaluate-rules.js';
import { isObject, type PlainLabels } from './evaluate-selector.js';

export interface ReferenceOptions {
  /** What a pod may send to its own node: `allow` always (47), `judge` as to any other address. */
  readonly ownNodeEgress?: 'allow' | 'judge';
}

/** A packet's question. `protocol` is TCP, UDP, SCTP, or any other name (ICMP …) that port entries never match. */
export interface ReferenceFlow {
  readonly source: string;
  readonly destination: string;
  readonly protocol: string;
  readonly port: number;
}

export interface ReferenceSide {
  readonly allowed: boolean;
  /** Why no rule was asked: the end is no pod, talks to itself, or the other end is its own node. */
  readonly exempt?: 'no-pod' | 'self' | 'own-node';
  /** `namespace/name` of the policies that isolate the pod in this direction, sorted. */
  readonly isolatedBy: readonly string[];
  /** The first rule that allows, by policy name and then by place in the policy. */
  readonly rule?: { readonly policy: string; readonly index: number };
}

export interface ReferenceVerdict {
  readonly allowed: boolean;
  readonly egress: ReferenceSide;
  readonly ingress: ReferenceSide;
}

export class Reference {
  readonly #owners: AddressOwners;
  /** By namespace, sorted by name. */
  readonly #policies = new Map<string, EvaluatedPolicy[]>();
  readonly #namespaces = new Map<string, PlainLabels>();
  readonly #isolating = {
    egress: new Map<EvaluatedPod, readonly EvaluatedPolicy[]>(),
    ingress: new Map<EvaluatedPod, readonly EvaluatedPolicy[]>(),
  };
  readonly #ownNodeEgress: 'allow' | 'judge';

  /**
   * Objects of other kinds are ignored. Of two objects of one kind and name the one told later counts, as with `kubectl apply`,
   * unless it has another uid and was created before (62).
   */
  constructor(objects: readonly unknown[], options: ReferenceOptions = {}) {
    this.#ownNodeEgress = options.ownNodeEgress ?? 'allow';
    const latest = latestOf(objects);
    const ofKind = (kind: string) => latest.filter((object) => object.kind === kind);
    for (const object of ofKind('Namespace')) {
      const { name, labels } = metadataOf(object);
      const own = { 'kubernetes.io/metadata.name': String(name) }; // 22
      this.#namespaces.set(String(name), { ...plainLabels(labels), ...own });
    }
    this.#owners = ownersOfAddresses(ofKind('Pod'), ofKind('Node'));
    for (const object of ofKind('NetworkPolicy')) {
      const policy = readPolicy(object, (namespace) => this.#labelsOf(namespace));
      const others = this.#policies.get(policy.namespace) ?? [];
      this.#policies.set(policy.namespace, [...others, policy]);
    }
    for (const list of this.#policies.values()) list.sort((a, b) => (a.key < b.key ? -1 : 1));
  }

  judge(flow: ReferenceFlow): ReferenceVerdict {
    const source = this.#peer(flow.source);
    const destination = this.#peer(flow.destination);
    const egress = this.#judgeEgress(source, destination, flow);
    const ingress = this.#judgeIngress(source, destination, flow);
    // A connection needs the source's egress and the destination's ingress (4).
    return { allowed: egress.allowed && ingress.allowed, egress, ingress };
  }

  #judgeEgress(source: Peer, destination: Peer, flow: ReferenceFlow): ReferenceSide {
    const { pod } = source;
    if (pod === undefined) return exempt('no-pod');
    if (pod === destination.pod) return exempt('self'); // 51
    if (this.#ownNodeEgress === 'allow' && onOwnNode(pod, destination)) return exempt('own-node'); // 47
    return decide(this.#isolatingOf(pod, 'egress'), 'egress', destination, flow, destination.pod);
  }

  #judgeIngress(source: Peer, destination: Peer, flow: ReferenceFlow): ReferenceSide {
    const { pod } = destination;
    if (pod === undefined) return exempt('no-pod');
    if (pod === source.pod) return exempt('self');
    // What the host masquerades comes from an address of the node and is not the node's.
    if (!source.forwarded && onOwnNode(pod, source)) return exempt('own-node'); // 46
    return decide(this.#isolatingOf(pod, 'ingress'), 'ingress', source, flow, pod);
  }

  #isolatingOf(pod: EvaluatedPod, direction: 'egress' | 'ingress'): readonly EvaluatedPolicy[] {
    let policies = this.#isolating[direction].get(pod);
    if (policies === undefined) {
      const all = this.#policies.get(pod.namespace) ?? []; // 11
      policies = all.filter((policy) => policy[direction] !== undefined && policy.selects(pod.labels));
      this.#isolating[direction].set(pod, policies);
    }
    return policies;
  }

  #peer(text: string): Peer {
    const address = plainAddress(text);
    if (address === undefined) throw new Error(`${text} is not an address`);
    const key = addressKey(address);
    return { address, pod: this.#owners.pods.get(key), forwarded: this.#owners.forwarded.has(key) };
  }

  #labelsOf(namespace: string): PlainLabels {
    return this.#namespaces.get(namespace) ?? { 'kubernetes.io/metadata.name': namespace };
  }
}

function exempt(reason: 'no-pod' | 'self' | 'own-node'): ReferenceSide {
  return { allowed: true, exempt: reason, isolatedBy: [] };
}

function decide(
  policies: readonly EvaluatedPolicy[],
  direction: 'egress' | 'ingress',
  peer: Peer,
  flow: ReferenceFlow,
  destination: EvaluatedPod | undefined,
): ReferenceSide {
  const isolatedBy = policies.map((policy) => policy.key);
  if (policies.length === 0) return { allowed: true, isolatedBy }; // 1
  for (const policy of policies) {
    const rules = policy[direction] ?? [];
    const index = rules.findIndex((rule) => rule.matches(peer, flow.protocol, flow.port, destination));
    if (index >= 0) return { allowed: true, isolatedBy, rule: { policy: policy.key, index } }; // 3
  }
  return { allowed: false, isolatedBy }; // 2
}

function onOwnNode(pod: EvaluatedPod, other: Peer): boolean {
  return pod.ownNode.has(addressKey(other.address));
}

function latestOf(objects: readonly unknown[]): PlainRecord[] {
  const latest = new Map<string, PlainRecord>();
  for (const object of objects) {
    if (!isObject(object) || !isObject(object.metadata) || isForeign(object)) continue;
    const { name } = object.metadata;
    if (typeof name !== 'string' || name === '') continue;
    const key = `${String(object.kind)} ${namespaceOf(object)} ${name}`;
    const held = latest.get(key);
    if (held === undefined || !isEarlierLife(object.metadata, metadataOf(held))) latest.set(key, object);
  }
  return [...latest.values()];
}

function isEarlierLife(metadata: PlainRecord, held: PlainRecord): boolean {
  if (String(metadata.uid ?? '') === String(held.uid ?? '')) return false;
  return String(held.creationTimestamp ?? '') > String(metadata.creationTimestamp ?? '');
}

/** Another group's NetworkPolicy (projectcalico.org has one) is not this one; `extensions` is the group before 1.16. */
function isForeign(object: PlainRecord): boolean {
  return (
    object.kind === 'NetworkPolicy' &&
    typeof object.apiVersion === 'string' &&
    object.apiVersion !== '' &&
    !/^(networking\.k8s\.io|extensions)\//.test(object.apiVersion)
  );
}
