/**
 * Small worlds in few words, and the question every policy test asks of them: may this talk to that? The answer goes through the
 * compiler, the encoder and the decoder, so a test of any statement is a test of all three.
 */
import assert from 'node:assert/strict';
import { type CompileOptions, compile } from '../../src/image/compile.js';
import { type DecodedImage, decode, type RuleName } from '../../src/image/decode.js';
import type { WorldEvent } from '../../src/model/event.js';
import { labelsOf } from '../../src/model/labels.js';
import type { Namespace } from '../../src/model/namespace.js';
import type { Node } from '../../src/model/node.js';
import type { ContainerPort, Pod } from '../../src/model/pod.js';
import type { NetworkPolicy, PolicyPeer, PolicyPort, PolicyRule } from '../../src/model/policy.js';
import type { Protocol } from '../../src/model/protocol.js';
import { type Operator, type Selector, selector } from '../../src/model/selector.js';
import type { EndpointSlice, Service } from '../../src/model/service.js';
import { World } from '../../src/model/world.js';
import { type Address, address, parseAddress } from '../../src/net/address.js';
import { cidr } from '../../src/net/cidr.js';

export const up = {
  namespace: (object: Namespace): WorldEvent => ({ type: 'upsert', kind: 'namespace', object }),
  pod: (object: Pod): WorldEvent => ({ type: 'upsert', kind: 'pod', object }),
  policy: (object: NetworkPolicy): WorldEvent => ({ type: 'upsert', kind: 'policy', object }),
  service: (object: Service): WorldEvent => ({ type: 'upsert', kind: 'service', object }),
  slice: (object: EndpointSlice): WorldEvent => ({ type: 'upsert', kind: 'slice', object }),
  node: (object: Node): WorldEvent => ({ type: 'upsert', kind: 'node', object }),
};

export function gone(kind: WorldEvent['kind'], key: string, uid?: string): WorldEvent {
  const slash = key.indexOf('/');
  return {
    type: 'delete',
    kind,
    namespace: slash < 0 ? '' : key.slice(0, slash),
    name: key.slice(slash + 1),
    ...(uid === undefined ? {} : { uid }),
  };
}

function split(key: string): { readonly namespace: string; readonly name: string } {
  const slash = key.indexOf('/');
  return { namespace: key.slice(0, slash), name: key.slice(slash + 1) };
}

export function makeNamespace(name: string, labels: Readonly<Record<string, string>> = {}): Namespace {
  return { name, labels: labelsOf(labels) };
}

export function makePod(
  key: string,
  ips: string | readonly string[],
  labels: Readonly<Record<string, string>> = {},
  more: Partial<Omit<Pod, 'ports'>> & { readonly ports?: readonly (ContainerPort | string)[] } = {},
): Pod {
  const list = typeof ips === 'string' ? (ips === '' ? [] : [ips]) : ips;
  const { ports, ...rest } = more;
  return {
    ...split(key),
    uid: '',
    labels: labelsOf(labels),
    addresses: list.map(address),
    hostAddresses: [],
    hostNetwork: false,
    nodeName: 'one',
    phase: 'Running',
    terminating: false,
    ready: true,
    created: '',
    ports: (ports ?? []).map((port) => (typeof port === 'string' ? readPort(port) : port)),
    ...rest,
  };
}

/** `http:8080/TCP`, `8080`, `dns:53/UDP`. */
function readPort(text: string): ContainerPort {
  const parts = /^(?:([a-z-]+):)?(\d+)(?:\/(TCP|UDP|SCTP))?$/.exec(text);
  assert.ok(parts, `not a container port: ${text}`);
  const [, name, port, protocol] = parts;
  return {
    port: Number(port),
    protocol: (protocol ?? 'TCP') as Protocol,
    ...(name === undefined ? {} : { name }),
  };
}

export function makeNode(name: string, ...ips: string[]): Node {
  return { name, addresses: ips.map(address), podCidrs: [] };
}

export function makePolicy(
  key: string,
  podSelector: Selector,
  directions: { readonly ingress?: readonly PolicyRule[]; readonly egress?: readonly PolicyRule[] },
): NetworkPolicy {
  return {
    ...split(key),
    uid: '',
    podSelector,
    ingress: directions.ingress ?? null,
    egress: directions.egress ?? null,
  };
}

export function makeService(
  key: string,
  clusterIPs: readonly string[],
  select: Readonly<Record<string, string>>,
  more: Partial<Service> = {},
): Service {
  return {
    ...split(key),
    uid: '',
    type: 'ClusterIP',
    clusterIPs: clusterIPs.map(address),
    externalIPs: [],
    loadBalancerIPs: [],
    ports: [{ name: '', protocol: 'TCP', port: 80, targetPort: 80 }],
    selector: labelsOf(select),
    affinitySeconds: 0,
    publishNotReadyAddresses: false,
    internalTrafficPolicy: 'Cluster',
    ...more,
  };
}

export const rule = (
  peers: readonly PolicyPeer[] | null,
  ports: readonly PolicyPort[] | null = null,
): PolicyRule => ({ peers, ports });

export const pods = (
  podSelector?: Selector,
  namespaceSelector?: Selector,
): PolicyPeer & { kind: 'pods' } => ({
  kind: 'pods',
  ...(podSelector === undefined ? {} : { podSelector }),
  ...(namespaceSelector === undefined ? {} : { namespaceSelector }),
});

export const block = (base: string, ...except: string[]): PolicyPeer => ({
  kind: 'block',
  cidr: cidr(base),
  except: except.map(cidr),
});

export const nothing = { kind: 'nothing', why: 'a test' } as const;

export const has = (labels: Readonly<Record<string, string>>): Selector => selector(labels);

export const expression = (key: string, operator: Operator, ...values: string[]): Selector =>
  selector({}, [{ key, operator, values }]);

export const port = (first: number, protocol: Protocol = 'TCP', last: number = first): PolicyPort => ({
  kind: 'range',
  protocol,
  first,
  last,
});

export const named = (name: string, protocol: Protocol = 'TCP'): PolicyPort => ({
  kind: 'named',
  protocol,
  name,
});

export const all = (protocol: Protocol): PolicyPort => ({ kind: 'protocol', protocol });

const numbers: Readonly<Record<string, number>> = { ICMP: 1, TCP: 6, UDP: 17, ICMPv6: 58, SCTP: 132 };

/** A compiled world that can be asked. Every pod is local; every pod's own node is exempt, as in the switch. */
export class Answers {
  readonly world: World;
  readonly image: DecodedImage;
  readonly compiled: ReturnType<typeof compile>;

  constructor(world: World, options: CompileOptions = { allLocal: true }) {
    this.world = world;
    this.compiled = compile(world, options);
    const decoded = decode(this.compiled.image);
    assert.ok('image' in decoded, JSON.stringify(decoded));
    this.image = decoded.image;
  }

  /**
   * `from` and `to`: `ns/pod` or an address. `what`: `80`, `53/UDP`, `ICMP`. The first address of the family both ends have unless
   * `family` says which.
   */
  allowed(from: string, to: string, what: string | number, family?: 4 | 6): boolean {
    const [source, destination] = this.#ends(from, to, family);
    if (source.text === destination.text) return true;
    const [protocol, number] = readWhat(what);
    return (
      this.#passes('egress', source, destination, protocol, number) &&
      this.#passes('ingress', destination, source, protocol, number)
    );
  }

  /** The rule that let it through in one direction, as `ns/policy direction[index]`; null where none did. */
  decidedBy(direction: 'egress' | 'ingress', from: string, to: string, what: string | number): string | null {
    const [source, destination] = this.#ends(from, to, undefined);
    const [protocol, number] = readWhat(what);
    const [own, peer] = direction === 'egress' ? [source, destination] : [destination, source];
    const { program } = this.image.classify(own);
    assert.ok(program !== null, 'the pod is not local');
    const verdict = this.image.judge(
      program,
      direction,
      this.image.classify(peer).peerClass,
      protocol,
      number,
    );
    if (verdict.rule === null) return null;
    return ruleText(this.image.rule(verdict.rule));
  }

  addressOf(end: string, family?: 4 | 6): Address | undefined {
    const literal = parseAddress(end);
    if (literal !== undefined) return literal;
    const pod = this.world.get('pod', end);
    assert.ok(pod, `there is no pod ${end}`);
    return pod.addresses.find((candidate) => family === undefined || candidate.family === family);
  }

  #ends(from: string, to: string, family: 4 | 6 | undefined): [Address, Address] {
    const literal = parseAddress(from) ?? parseAddress(to);
    const wanted = family ?? literal?.family;
    const [source, destination] = [this.addressOf(from, wanted), this.addressOf(to, wanted)];
    assert.ok(
      source && destination && source.family === destination.family,
      `${from} and ${to} share no family`,
    );
    return [source, destination];
  }

  #passes(
    direction: 'egress' | 'ingress',
    own: Address,
    peer: Address,
    protocol: number,
    number: number,
  ): boolean {
    const { program } = this.image.classify(own);
    if (program === null) return true;
    const { explain } = this.compiled;
    const owner = explain.ownerOf(own);
    const other = explain.ownerOf(peer);
    const isNode = other?.kind === 'node' || (other?.kind === 'forwarded' && direction === 'egress');
    const isOwnNode = owner?.kind === 'pod' && isNode && other.name === owner.pod.nodeName;
    if (isOwnNode && (direction === 'ingress' || this.image.settings.ownNodeEgress === 'allow')) return true;
    return this.image.judge(program, direction, this.image.classify(peer).peerClass, protocol, number)
      .allowed;
  }
}

export function ruleText(of: RuleName): string {
  return `${of.namespace}/${of.policy} ${of.direction}[${of.index}]`;
}

function readWhat(what: string | number): [number, number] {
  if (typeof what === 'number') return [6, what];
  const [first, second] = what.split('/');
  if (second === undefined && numbers[first!] !== undefined) return [numbers[first!]!, 0];
  return [numbers[second ?? 'TCP']!, Number(first)];
}

/** A world of these objects, asked. */
export function ask(...events: readonly (WorldEvent | readonly WorldEvent[])[]): Answers {
  return new Answers(World.of(events.flat()));
}
