/** NetworkPolicy, narrowed where it cannot be honoured; the rules are those at the top of `decode.ts`. */
import {
  isolatedDirections,
  type NetworkPolicy,
  type PolicyPeer,
  type PolicyPort,
  type PolicyRule,
} from '../model/policy.js';
import type { Protocol } from '../model/protocol.js';
import { everything, type Selector } from '../model/selector.js';
import { type Cidr, parseCidr } from '../net/cidr.js';
import { decodeSelector } from './decode-selector.js';
import type { FieldPath, KubernetesObject, ManifestObject } from './object.js';
import {
  hasOnly,
  isAbsent,
  isPlainObject,
  isPortName,
  isPortNumber,
  nameOf,
  objectOf,
  type PlainObject,
  protocolFrom,
  sourceAt,
} from './plain.js';

/** undefined where it has no name: `losses` says so, and it must not go unsaid. */
export function decodePolicy(value: KubernetesObject, origin?: ManifestObject): NetworkPolicy | undefined {
  const named = nameOf(value);
  if (named === undefined) return undefined;
  const spec = objectOf(value.spec);
  const podSelector = isAbsent(spec.podSelector) ? everything : decodeSelector(spec.podSelector);
  const understood = hasKnownShape(value);
  const isolates = understood ? directions(spec) : { ingress: true, egress: true };
  const rules = (direction: 'ingress' | 'egress') => {
    if (!isolates[direction]) return null;
    if (!understood || podSelector === undefined || !Array.isArray(spec[direction])) return [];
    return spec[direction].map((rule: unknown, index) =>
      decodeRule(rule, direction === 'ingress' ? ingressFields : egressFields, origin, [
        'spec',
        direction,
        index,
      ]),
    );
  };
  return {
    namespace: named.namespace,
    name: named.name,
    uid: named.uid,
    podSelector: podSelector ?? everything,
    ingress: rules('ingress'),
    egress: rules('egress'),
    ...sourceAt(origin, ['metadata', 'name']),
  };
}

const topFields = new Set(['apiVersion', 'kind', 'metadata', 'spec', 'status']);
const specFields = new Set(['podSelector', 'policyTypes', 'ingress', 'egress']);
/** In the metadata these are a spec that slid there, by one line lost or indented. */
const slidFields = new Set(['spec', ...specFields]);

function hasAny(value: unknown, fields: ReadonlySet<string>): boolean {
  return isPlainObject(value) && Object.keys(value).some((field) => fields.has(field));
}

/** A field beside these may be a misspelt policyTypes or podSelector: what it was meant to restrict is anybody's guess. */
function hasKnownShape(value: KubernetesObject): boolean {
  if (!hasOnly(value, topFields) || hasAny(value.metadata, slidFields)) return false;
  return isAbsent(value.spec) || (isPlainObject(value.spec) && hasOnly(value.spec, specFields));
}

function directions(spec: PlainObject): { ingress: boolean; egress: boolean } {
  const hasEgressRules = !isAbsent(spec.egress) && !(Array.isArray(spec.egress) && spec.egress.length === 0);
  const types = spec.policyTypes;
  if (isAbsent(types)) return isolatedDirections(undefined, hasEgressRules);
  const known =
    Array.isArray(types) && types.every((type): type is string => type === 'Ingress' || type === 'Egress');
  return known ? isolatedDirections(types, hasEgressRules) : { ingress: true, egress: true };
}

interface RuleFields {
  readonly peers: 'from' | 'to';
  readonly all: ReadonlySet<string>;
}
const ingressFields: RuleFields = { peers: 'from', all: new Set(['from', 'ports']) };
const egressFields: RuleFields = { peers: 'to', all: new Set(['to', 'ports']) };

/** A null rule is an empty one, as in the API server: it allows everything. */
function decodeRule(
  value: unknown,
  fields: RuleFields,
  origin: ManifestObject | undefined,
  path: FieldPath,
): PolicyRule {
  const source = sourceAt(origin, path);
  const rule = isAbsent(value) ? {} : value;
  if (!isPlainObject(rule)) return { peers: [nothing('the rule is no mapping')], ports: null, ...source };
  if (!hasOnly(rule, fields.all)) {
    return { peers: [nothing('the rule has a field that is not known')], ports: null, ...source };
  }
  if (isMixed(rule[fields.peers], strayPortFields) || isMixed(rule.ports, strayPeerFields)) {
    return {
      peers: [nothing('a port stands among the peers, or a peer among the ports')],
      ports: null,
      ...source,
    };
  }
  return {
    peers: listOf(rule[fields.peers], (peer, index) =>
      decodePeer(peer, origin, [...path, fields.peers, index]),
    ),
    ports: listOf(rule.ports, (port, index) => decodePort(port, origin, [...path, 'ports', index])),
    ...source,
  };
}

/** What slid into the other list restricts nothing any more: a port among the peers would leave every port open. */
function isMixed(list: unknown, stray: ReadonlySet<string>): boolean {
  return Array.isArray(list) && list.some((item) => hasAny(item, stray));
}

/** null: absent or empty, which is everything. What is no list at all is one entry that matches nothing. */
function listOf<T>(value: unknown, decode: (item: unknown, index: number) => T): T[] | null {
  if (isAbsent(value)) return null;
  if (!Array.isArray(value)) return [decode(unreadable, 0)];
  return value.length === 0 ? null : value.map(decode);
}
const unreadable = Symbol('not a list');

function nothing(why: string, source: ReturnType<typeof sourceAt> = {}) {
  return { kind: 'nothing' as const, why, ...source };
}

const peerFields = new Set(['podSelector', 'namespaceSelector', 'ipBlock']);
const blockFields = new Set(['cidr', 'except']);

function decodePeer(value: unknown, origin: ManifestObject | undefined, path: FieldPath): PolicyPeer {
  const source = sourceAt(origin, path);
  if (!isPlainObject(value)) return nothing('the peer is no mapping', source);
  if (!hasOnly(value, peerFields)) return nothing('the peer has a field that is not known', source);
  const { podSelector, namespaceSelector, ipBlock } = value;
  if (!isAbsent(ipBlock)) {
    if (!isAbsent(podSelector) || !isAbsent(namespaceSelector)) {
      return nothing('ipBlock stands beside a selector', source);
    }
    return decodeBlock(ipBlock, source);
  }
  if (isAbsent(podSelector) && isAbsent(namespaceSelector)) return nothing('the peer is empty', source);
  const pods = isAbsent(podSelector) ? null : decodeSelector(podSelector);
  const namespaces = isAbsent(namespaceSelector) ? null : decodeSelector(namespaceSelector);
  if (pods === undefined || namespaces === undefined) return nothing('a selector cannot be read', source);
  return {
    kind: 'pods',
    ...optional('podSelector', pods),
    ...optional('namespaceSelector', namespaces),
    ...source,
  };
}

function optional<K extends string>(name: K, value: Selector | null): { [name in K]?: Selector } {
  return (value === null ? {} : { [name]: value }) as { [name in K]?: Selector };
}

function decodeBlock(value: unknown, source: ReturnType<typeof sourceAt>): PolicyPeer {
  if (!isPlainObject(value) || !hasOnly(value, blockFields))
    return nothing('the ipBlock cannot be read', source);
  const block = typeof value.cidr === 'string' ? parseCidr(value.cidr)?.cidr : undefined;
  if (block === undefined) return nothing('the cidr is no CIDR block', source);
  const exceptions = isAbsent(value.except) ? [] : value.except;
  if (!Array.isArray(exceptions)) return nothing('except is no list', source);
  const except: Cidr[] = [];
  for (const text of exceptions) {
    const hole = typeof text === 'string' ? parseCidr(text)?.cidr : undefined;
    // An exception that cannot be read could be any part of the block.
    if (hole === undefined) return nothing('an exception is no CIDR block', source);
    except.push(hole);
  }
  return { kind: 'block', cidr: block, except, ...source };
}

const portFields = new Set(['protocol', 'port', 'endPort']);
const strayPortFields = new Set([...portFields, 'ports']);
const strayPeerFields = new Set([...peerFields, 'from', 'to']);

function decodePort(value: unknown, origin: ManifestObject | undefined, path: FieldPath): PolicyPort {
  const source = sourceAt(origin, path);
  const entry = isAbsent(value) ? {} : value;
  if (!isPlainObject(entry)) return nothing('the port is no mapping', source);
  if (!hasOnly(entry, portFields)) return nothing('the port has a field that is not known', source);
  const protocol = protocolFrom(entry.protocol);
  if (protocol === undefined) return nothing('the protocol is none of TCP, UDP and SCTP', source);
  return portRange(entry.port, entry.endPort, protocol, source);
}

function portRange(
  port: unknown,
  endPort: unknown,
  protocol: Protocol,
  source: ReturnType<typeof sourceAt>,
): PolicyPort {
  if (isAbsent(port)) {
    return isAbsent(endPort)
      ? { kind: 'protocol', protocol, ...source }
      : nothing('endPort stands without port', source);
  }
  if (typeof port === 'string') {
    if (!isAbsent(endPort)) return nothing('endPort stands beside a named port', source);
    return isPortName(port)
      ? { kind: 'named', protocol, name: port, ...source }
      : nothing('the port is no port name', source);
  }
  const last = isAbsent(endPort) ? port : endPort;
  if (!isPortNumber(port) || !isPortNumber(last))
    return nothing('a port is no number from 1 to 65535', source);
  if (last < port) return nothing('endPort is below port', source);
  return { kind: 'range', protocol, first: port, last, ...source };
}
