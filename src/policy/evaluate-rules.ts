/** What a policy says, for the reference evaluator: whom it isolates and whom its rules let through. */
import { blockContains, type PlainAddress, type PlainBlock, plainBlock } from './evaluate-address.js';
import { isPortNumber, keyOfObject, namespaceOf, type PlainRecord } from './evaluate-plain.js';
import type { EvaluatedPod } from './evaluate-pods.js';
import { isObject, type PlainLabels, type PlainSelector, plainSelector } from './evaluate-selector.js';

export interface EvaluatedPolicy {
  /** `namespace/name` */
  readonly key: string;
  readonly namespace: string;
  readonly selects: PlainSelector;
  readonly egress: Rules | undefined;
  readonly ingress: Rules | undefined;
}
/** The rules of a direction in which the policy isolates; undefined in EvaluatedPolicy: it does not. */
type Rules = readonly Rule[];
export interface Rule {
  readonly matches: (
    peer: Peer,
    protocol: string,
    port: number,
    destination: EvaluatedPod | undefined,
  ) => boolean;
}
/** Whoever is at the other end. */
export interface Peer {
  readonly address: PlainAddress;
  readonly pod: EvaluatedPod | undefined;
  /** Traffic that a host masquerades: whose it is nobody can say, so no ipBlock has it. */
  readonly forwarded: boolean;
}

export type NamespaceLabels = (namespace: string) => PlainLabels;

export function readPolicy(object: PlainRecord, labelsOf: NamespaceLabels): EvaluatedPolicy {
  const namespace = namespaceOf(object);
  const spec = isObject(object.spec) ? object.spec : {};
  const selector = spec.podSelector ?? {}; // 12
  const selects = plainSelector(selector);
  const understood = isUnderstood(object);
  const types = understood ? policyTypes(spec) : ['ingress', 'egress'];
  const rules = (direction: 'egress' | 'ingress'): Rules | undefined => {
    if (!types.includes(direction)) return undefined;
    if (selects === undefined || !understood) return [];
    const list = spec[direction] ?? []; // 9
    return Array.isArray(list) ? list.map((rule) => readRule(rule, direction, namespace, labelsOf)) : [];
  };
  return {
    key: keyOfObject(object),
    namespace,
    selects: selects ?? (() => true),
    egress: rules('egress'),
    ingress: rules('ingress'),
  };
}

function readRule(
  value: unknown,
  direction: 'egress' | 'ingress',
  namespace: string,
  labelsOf: NamespaceLabels,
): Rule {
  const peersField = direction === 'egress' ? 'to' : 'from';
  const rule = value ?? {};
  if (!isObject(rule) || Object.keys(rule).some((field) => field !== peersField && field !== 'ports')) {
    return { matches: () => false };
  }
  if (isMixed(rule[peersField], rule.ports)) return { matches: () => false };
  const peers = listOrAll(rule[peersField], (peer) => peerTest(peer, namespace, labelsOf)); // 13
  const ports = listOrAll(rule.ports, portTest); // 14
  return {
    matches: (peer, protocol, port, destination) =>
      (peers === 'all' || peers.some((test) => test(peer))) &&
      (ports === 'all' || ports.some((test) => test(protocol, port, destination))), // 15
  };
}

/** A port among the peers or a peer among the ports: what it was to restrict would be open. */
function isMixed(peers: unknown, ports: unknown): boolean {
  const stray = (list: unknown, fields: readonly string[]) =>
    Array.isArray(list) &&
    list.some((item) => isObject(item) && fields.some((field) => Object.hasOwn(item, field)));
  return (
    stray(peers, ['protocol', 'port', 'endPort', 'ports']) ||
    stray(ports, ['podSelector', 'namespaceSelector', 'ipBlock', 'from', 'to'])
  );
}

function peerTest(value: unknown, namespace: string, labelsOf: NamespaceLabels): (peer: Peer) => boolean {
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
    const inSpace = spaces === undefined ? pod.namespace === namespace : spaces(labelsOf(pod.namespace)); // 16, 17
    return inSpace && pods(pod.labels); // 18
  };
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
  return ({ address, forwarded }) =>
    !forwarded && blockContains(block, address) && !holes.some((hole) => blockContains(hole, address)); // 26, 27
}

function portTest(
  value: unknown,
): (protocol: string, port: number, destination: EvaluatedPod | undefined) => boolean {
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

/** An IANA service name (RFC 6335, section 5.1) as the API server checks it. */
function isPortName(name: string): boolean {
  return (
    name.length <= 15 && /^[a-z0-9]+(-[a-z0-9]+)*$/.test(name) && /[a-z]/.test(name) && !name.includes('--')
  );
}

/** Whether every field of the policy and its spec is one that the API has, and none of the spec stands in the metadata. */
function isUnderstood(object: PlainRecord): boolean {
  const top = ['apiVersion', 'kind', 'metadata', 'spec', 'status'];
  if (Object.keys(object).some((field) => !top.includes(field))) return false;
  const slid = ['spec', 'podSelector', 'policyTypes', 'ingress', 'egress'];
  if (isObject(object.metadata) && Object.keys(object.metadata).some((field) => slid.includes(field)))
    return false;
  const spec = object.spec ?? {};
  return (
    isObject(spec) &&
    Object.keys(spec).every((field) => ['podSelector', 'policyTypes', 'ingress', 'egress'].includes(field))
  );
}

/** 6; a list that cannot be read isolates both ways. */
function policyTypes(spec: PlainRecord): ('egress' | 'ingress')[] {
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
