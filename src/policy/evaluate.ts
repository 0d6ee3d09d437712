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
import {
  addressKey,
  blockContains,
  type PlainAddress,
  type PlainBlock,
  plainAddress,
  plainBlock,
} from './evaluate-address.js';
import { isObject, type PlainLabels, type PlainSelector, plainSelector } from './evaluate-selector.js';

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

interface Pod {
  readonly key: string;
  readonly namespace: string;
  readonly labels: PlainLabels;
  readonly addresses: readonly PlainAddress[];
  /** name → protocol → numbers */
  readonly ports: readonly { name: string; protocol: string; number: number }[];
  readonly terminating: boolean;
  readonly created: string;
  readonly uid: string;
  /** Keys of the addresses that its own node has. */
  ownNode: ReadonlySet<string>;
  readonly isolation: { egress?: Policy[]; ingress?: Policy[] };
}

interface Policy {
  readonly key: string;
  readonly selects: PlainSelector;
  readonly egress: Rules | undefined;
  readonly ingress: Rules | undefined;
}
/** The rules of a direction in which the policy isolates; undefined in Policy: it does not. */
type Rules = readonly Rule[];
interface Rule {
  readonly matches: (peer: Peer, protocol: string, port: number, destination: Pod | undefined) => boolean;
}
interface Peer {
  readonly address: PlainAddress;
  readonly pod: Pod | undefined;
}

export class Reference {
  readonly #pods = new Map<string, Pod>();
  readonly #policies = new Map<string, Policy[]>();
  readonly #namespaces = new Map<string, PlainLabels>();
  readonly #ownNodeEgress: 'allow' | 'judge';

  /**
   * Objects of other kinds are ignored. Of two objects of one kind and name the one told later counts, as with `kubectl apply`,
   * unless it has another uid and was created before (62).
   */
  constructor(objects: readonly unknown[], options: ReferenceOptions = {}) {
    this.#ownNodeEgress = options.ownNodeEgress ?? 'allow';
    const latest = new Map<string, Record<string, unknown>>();
    for (const object of objects) {
      if (!isObject(object) || !isObject(object.metadata) || isForeign(object)) continue;
      const { name } = object.metadata;
      if (typeof name !== 'string' || name === '') continue;
      const key = `${String(object.kind)} ${namespaceOf(object)} ${name}`;
      const held = latest.get(key);
      if (held === undefined || !isEarlierLife(object.metadata, held.metadata)) latest.set(key, object);
    }
    const all = [...latest.values()];
    for (const object of all) if (object.kind === 'Namespace') this.#addNamespace(object);
    this.#addPods(
      all.filter((object) => object.kind === 'Pod'),
      all.filter((object) => object.kind === 'Node'),
    );
    for (const object of all) if (object.kind === 'NetworkPolicy') this.#addPolicy(object);
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
    pod.isolation.egress ??= this.#isolating(pod, 'egress');
    return decide(pod.isolation.egress, 'egress', destination, flow, destination.pod);
  }

  #judgeIngress(source: Peer, destination: Peer, flow: ReferenceFlow): ReferenceSide {
    const { pod } = destination;
    if (pod === undefined) return exempt('no-pod');
    if (pod === source.pod) return exempt('self');
    if (onOwnNode(pod, source)) return exempt('own-node'); // 46
    pod.isolation.ingress ??= this.#isolating(pod, 'ingress');
    return decide(pod.isolation.ingress, 'ingress', source, flow, pod);
  }

  #isolating(pod: Pod, direction: 'egress' | 'ingress'): Policy[] {
    return (this.#policies.get(pod.namespace) ?? []).filter(
      (policy) => policy[direction] !== undefined && policy.selects(pod.labels),
    );
  }

  #peer(text: string): Peer {
    const address = plainAddress(text);
    if (address === undefined) throw new Error(`${text} is not an address`);
    return { address, pod: this.#pods.get(addressKey(address)) };
  }

  #addNamespace(object: Record<string, unknown>): void {
    const { name, labels } = object.metadata as Record<string, unknown>;
    this.#namespaces.set(String(name), {
      ...(plainLabels(labels) ?? {}),
      'kubernetes.io/metadata.name': String(name), // 22
    });
  }

  #labelsOf(namespace: string): PlainLabels {
    return this.#namespaces.get(namespace) ?? { 'kubernetes.io/metadata.name': namespace };
  }

  #addPods(pods: readonly Record<string, unknown>[], nodes: readonly Record<string, unknown>[]): void {
    const addressesOfNode = new Map<string, Set<string>>();
    const learn = (node: string, addresses: readonly PlainAddress[]) => {
      const known = addressesOfNode.get(node) ?? new Set();
      for (const address of addresses) known.add(addressKey(address));
      addressesOfNode.set(node, known);
    };
    for (const node of nodes) {
      learn(String((node.metadata as Record<string, unknown>).name), nodeAddresses(node));
    }
    const homes: { pod: Pod; node: string | undefined; host: readonly PlainAddress[] }[] = [];
    const nodeOwned = new Set([...addressesOfNode.values()].flatMap((keys) => [...keys]));
    for (const object of pods) {
      const spec = isObject(object.spec) ? object.spec : {};
      const status = isObject(object.status) ? object.status : {};
      if (status.phase === 'Succeeded' || status.phase === 'Failed') continue; // 59
      const node = typeof spec.nodeName === 'string' && spec.nodeName !== '' ? spec.nodeName : undefined;
      const host = hostAddresses(status);
      const addresses = podAddresses(status);
      // A hostNetwork pod's addresses are its node's; no selector ever sees it (49, 50).
      const nodes = spec.hostNetwork === true ? [...host, ...addresses] : host;
      for (const address of nodes) nodeOwned.add(addressKey(address));
      if (node !== undefined) learn(node, nodes);
      if (spec.hostNetwork === true) continue;
      const metadata = object.metadata as Record<string, unknown>;
      const labels = plainLabels(metadata.labels);
      if (labels === undefined || addresses.length === 0) continue; // 58
      homes.push({
        node,
        host,
        pod: {
          key: `${namespaceOf(object)}/${String(metadata.name)}`,
          namespace: namespaceOf(object),
          labels,
          addresses,
          ports: containerPorts(spec),
          terminating: typeof metadata.deletionTimestamp === 'string',
          created: String(metadata.creationTimestamp ?? ''),
          uid: String(metadata.uid ?? ''),
          ownNode: new Set(),
          isolation: {},
        },
      });
    }
    for (const { pod } of homes) {
      for (const address of pod.addresses.map(addressKey)) {
        if (nodeOwned.has(address)) continue; // 50
        const rival = this.#pods.get(address);
        if (rival === undefined || hasBetterClaim(pod, rival)) this.#pods.set(address, pod);
      }
    }
    for (const { pod, node, host } of homes) {
      pod.ownNode = this.#ownNodeOf(node, host, addressesOfNode);
    }
  }

  #ownNodeOf(
    node: string | undefined,
    host: readonly PlainAddress[],
    addressesOfNode: ReadonlyMap<string, ReadonlySet<string>>,
  ): ReadonlySet<string> {
    if (node !== undefined) return addressesOfNode.get(node) ?? new Set();
    // Without a node name, the node is the one that has the pod's host address.
    const own = new Set(host.map(addressKey));
    for (const known of addressesOfNode.values()) {
      if (host.some((address) => known.has(addressKey(address)))) for (const key of known) own.add(key);
    }
    return own;
  }

  #addPolicy(object: Record<string, unknown>): void {
    const namespace = namespaceOf(object);
    const key = `${namespace}/${String((object.metadata as Record<string, unknown>).name)}`;
    const spec = isObject(object.spec) ? object.spec : {};
    const selector = spec.podSelector ?? {}; // 12
    const selects = plainSelector(selector);
    const understood = isUnderstood(object);
    const types = understood ? policyTypes(spec) : ['ingress', 'egress'];
    const rules = (direction: 'egress' | 'ingress'): Rules | undefined => {
      if (!types.includes(direction)) return undefined;
      if (selects === undefined || !understood) return [];
      const list = spec[direction] ?? []; // 9
      return Array.isArray(list) ? list.map((rule) => this.#rule(rule, direction, namespace)) : [];
    };
    const policy = {
      key,
      selects: selects ?? (() => true),
      egress: rules('egress'),
      ingress: rules('ingress'),
    };
    this.#policies.set(namespace, [...(this.#policies.get(namespace) ?? []), policy]);
  }

  #rule(value: unknown, direction: 'egress' | 'ingress', namespace: string): Rule {
    const peersField = direction === 'egress' ? 'to' : 'from';
    const rule = value ?? {};
    if (!isObject(rule) || Object.keys(rule).some((field) => field !== peersField && field !== 'ports')) {
      return { matches: () => false };
    }
    const peers = listOrAll(rule[peersField], (peer) => this.#peerTest(peer, namespace)); // 13
    const ports = listOrAll(rule.ports, portTest); // 14
    return {
      matches: (peer, protocol, port, destination) =>
        (peers === 'all' || peers.some((test) => test(peer))) &&
        (ports === 'all' || ports.some((test) => test(protocol, port, destination))), // 15
    };
  }

  #peerTest(value: unknown, namespace: string): (peer: Peer) => boolean {
    const nobody = () => false;
    if (!isObject(value)) return nobody;
    if (Object.keys(value).some((key) => !['podSelector', 'namespaceSelector', 'ipBlock'].includes(key))) {
      return nobody;
    }
    const given = (field: string) => value[field] !== undefined && value[field] !== null; // 19
    if (given('ipBlock')) {
      if (given('podSelector') || given('namespaceSelector')) return nobody; // 24
      return blockTest(value.ipBlock);
    }
    if (!given('podSelector') && !given('namespaceSelector')) return nobody; // 23
    const pods = given('podSelector') ? plainSelector(value.podSelector) : () => true;
    const spaces = given('namespaceSelector') ? plainSelector(value.namespaceSelector) : undefined;
    if (pods === undefined || (given('namespaceSelector') && spaces === undefined)) return nobody; // 25
    return ({ pod }) => {
      if (pod === undefined) return false; // 20
      const inSpace =
        spaces === undefined ? pod.namespace === namespace : spaces(this.#labelsOf(pod.namespace)); // 16, 17
      return inSpace && pods(pod.labels); // 18
    };
  }
}

function exempt(reason: 'no-pod' | 'self' | 'own-node'): ReferenceSide {
  return { allowed: true, exempt: reason, isolatedBy: [] };
}

function decide(
  policies: readonly Policy[],
  direction: 'egress' | 'ingress',
  peer: Peer,
  flow: ReferenceFlow,
  destination: Pod | undefined,
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

function onOwnNode(pod: Pod, other: Peer): boolean {
  return pod.ownNode.has(addressKey(other.address));
}

/**
 * Of two pods with one address (60) the one that is not being deleted has it, then the younger, then by uid and name, so that the
 * order in which they are told never matters.
 */
function hasBetterClaim(pod: Pod, rival: Pod): boolean {
  if (pod.terminating !== rival.terminating) return rival.terminating;
  if (pod.created !== rival.created) return pod.created > rival.created;
  if (pod.uid !== rival.uid) return pod.uid > rival.uid;
  return pod.key < rival.key;
}

function listOrAll<T>(value: unknown, convert: (item: unknown) => T): 'all' | T[] {
  if (value === undefined || value === null) return 'all';
  if (!Array.isArray(value)) return []; // unreadable: nothing
  return value.length === 0 ? 'all' : value.map(convert);
}

function blockTest(value: unknown): (peer: Peer) => boolean {
  const nobody = () => false;
  if (!isObject(value) || Object.keys(value).some((key) => key !== 'cidr' && key !== 'except')) return nobody;
  const block = plainBlock(value.cidr);
  const exceptions = value.except ?? [];
  if (block === undefined || !Array.isArray(exceptions)) return nobody;
  const holes: PlainBlock[] = [];
  for (const text of exceptions) {
    const hole = plainBlock(text);
    if (hole === undefined) return nobody;
    holes.push(hole);
  }
  return ({ address }) =>
    blockContains(block, address) && !holes.some((hole) => blockContains(hole, address)); // 26, 27
}

function portTest(value: unknown): (protocol: string, port: number, destination: Pod | undefined) => boolean {
  const nothing = () => false;
  const entry = value ?? {};
  if (!isObject(entry)) return nothing;
  if (Object.keys(entry).some((key) => !['protocol', 'port', 'endPort'].includes(key))) return nothing;
  const protocol = entry.protocol ?? 'TCP'; // 33
  if (protocol !== 'TCP' && protocol !== 'UDP' && protocol !== 'SCTP') return nothing; // 45
  const { port } = entry;
  const end = entry.endPort ?? undefined;
  if (port === undefined || port === null) {
    return end === undefined ? (asked) => asked === protocol : nothing; // 34, 36
  }
  if (typeof port === 'string') {
    if (end !== undefined || !isPortName(port)) return nothing; // 36
    return (asked, number, destination) =>
      asked === protocol &&
      destination !== undefined && // 44
      destination.ports.some(
        (open) => open.name === port && open.protocol === protocol && open.number === number, // 39 to 42
      );
  }
  const last = end ?? port;
  if (!isPortNumber(port) || !isPortNumber(last) || last < port) return nothing;
  return (asked, number) => asked === protocol && number >= port && number <= last; // 35
}

function isPortNumber(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= 65535;
}

/** An IANA service name (RFC 6335, section 5.1) as the API server checks it. */
function isPortName(name: string): boolean {
  return (
    name.length <= 15 && /^[a-z0-9]+(-[a-z0-9]+)*$/.test(name) && /[a-z]/.test(name) && !name.includes('--')
  );
}

/** Whether every field of the policy and its spec is one that the API has. */
function isUnderstood(object: Record<string, unknown>): boolean {
  const top = ['apiVersion', 'kind', 'metadata', 'spec', 'status'];
  if (Object.keys(object).some((field) => !top.includes(field))) return false;
  const spec = object.spec ?? {};
  return (
    isObject(spec) &&
    Object.keys(spec).every((field) => ['podSelector', 'policyTypes', 'ingress', 'egress'].includes(field))
  );
}

/** 6; a list that cannot be read isolates both ways. */
function policyTypes(spec: Record<string, unknown>): ('egress' | 'ingress')[] {
  const types = spec.policyTypes;
  if (types === undefined || types === null || (Array.isArray(types) && types.length === 0)) {
    const rules = spec.egress;
    const none = rules === undefined || rules === null || (Array.isArray(rules) && rules.length === 0);
    return none ? ['ingress'] : ['ingress', 'egress'];
  }
  if (!Array.isArray(types) || types.some((type) => type !== 'Ingress' && type !== 'Egress')) {
    return ['ingress', 'egress'];
  }
  return types.map((type) => (type === 'Ingress' ? 'ingress' : 'egress'));
}

function isEarlierLife(metadata: Record<string, unknown>, held: unknown): boolean {
  if (!isObject(held) || String(metadata.uid ?? '') === String(held.uid ?? '')) return false;
  return String(held.creationTimestamp ?? '') > String(metadata.creationTimestamp ?? '');
}

/** Another group's NetworkPolicy (projectcalico.org has one) is not this one; `extensions` is the group before 1.16. */
function isForeign(object: Record<string, unknown>): boolean {
  return (
    object.kind === 'NetworkPolicy' &&
    typeof object.apiVersion === 'string' &&
    object.apiVersion !== '' &&
    !/^(networking\.k8s\.io|extensions)\//.test(object.apiVersion)
  );
}

function namespaceOf(object: Record<string, unknown>): string {
  const metadata = object.metadata as Record<string, unknown>;
  const { namespace } = metadata;
  return typeof namespace === 'string' && namespace !== '' ? namespace : 'default';
}

/** undefined: not labels at all, so the object counts as absent. */
function plainLabels(value: unknown): PlainLabels | undefined {
  if (value === undefined || value === null) return {};
  if (!isObject(value)) return undefined;
  return Object.values(value).every((label) => typeof label === 'string')
    ? (value as PlainLabels)
    : undefined;
}

function addressList(list: unknown, single: unknown): PlainAddress[] {
  const texts: unknown[] = Array.isArray(list)
    ? list.map((entry) => (isObject(entry) ? entry.ip : entry))
    : [];
  if (texts.length === 0) texts.push(single);
  return texts.map(plainAddress).filter((address) => address !== undefined);
}

const podAddresses = (status: Record<string, unknown>) => addressList(status.podIPs, status.podIP);
const hostAddresses = (status: Record<string, unknown>) => addressList(status.hostIPs, status.hostIP);

function nodeAddresses(node: Record<string, unknown>): PlainAddress[] {
  const status = isObject(node.status) ? node.status : {};
  if (!Array.isArray(status.addresses)) return [];
  return status.addresses
    .filter(isObject)
    .filter((entry) => entry.type === 'InternalIP' || entry.type === 'ExternalIP')
    .map((entry) => plainAddress(entry.address))
    .filter((address) => address !== undefined);
}

/** Ports of containers and of restartable init containers (43). */
function containerPorts(spec: Record<string, unknown>): Pod['ports'] {
  const containers = Array.isArray(spec.containers) ? spec.containers.filter(isObject) : [];
  const init = Array.isArray(spec.initContainers) ? spec.initContainers.filter(isObject) : [];
  return [...containers, ...init.filter((container) => container.restartPolicy === 'Always')]
    .flatMap((container) => (Array.isArray(container.ports) ? container.ports.filter(isObject) : []))
    .filter((port) => typeof port.name === 'string' && isPortNumber(port.containerPort))
    .map((port) => ({
      name: port.name as string,
      protocol: String(port.protocol ?? 'TCP'),
      number: port.containerPort as number,
    }));
}
