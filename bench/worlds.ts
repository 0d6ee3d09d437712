/**
 * Made-up clusters for benches, from a fixed seed: the same on every machine. The reference is the size that most figures are told for
 * (5,000 pods, 500 namespaces, 1,000 policies, 250 pods on the node, dual-stack, 500 Services).
 */
import { labelsOf } from '../src/model/labels.js';
import type { Pod } from '../src/model/pod.js';
import type { NetworkPolicy, PolicyPeer, PolicyPort, PolicyRule } from '../src/model/policy.js';
import { selector } from '../src/model/selector.js';
import { World } from '../src/model/world.js';
import { addressOf } from '../src/net/address.js';
import { blockOf } from '../src/net/cidr.js';

/** The node that a world is made for. */
export const ownNode = 'bench';

export interface Size {
  readonly name: string;
  readonly pods: number;
  readonly namespaces: number;
  readonly policies: number;
  readonly localPods: number;
  /** ipBlocks spread over all policies. */
  readonly blocks: number;
  /** Policies that select local pods and allow a list of addresses each, as threat feeds do, and how long a list is. */
  readonly feeds: number;
  readonly feedBlocks: number;
  readonly services: number;
}

export const reference: Size = {
  name: 'reference',
  pods: 5_000,
  namespaces: 500,
  policies: 1_000,
  localPods: 250,
  blocks: 2_000,
  feeds: 0,
  feedBlocks: 0,
  services: 500,
};
export const large: Size = {
  name: 'large',
  pods: 100_000,
  namespaces: 5_000,
  policies: 10_000,
  localPods: 250,
  blocks: 20_000,
  feeds: 20,
  feedBlocks: 4_000,
  services: 5_000,
};

/** xorshift32: the same worlds on every machine. */
export function randomness(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

export const apps = ['web', 'api', 'db', 'cache', 'queue', 'worker', 'batch', 'proxy', 'auth', 'search'];
const teams = 20;

function v4(value: number) {
  return addressOf([0, 0, 0xffff, value >>> 0]);
}

function v6(high: number, low: number) {
  return addressOf([0xfd000000, 0, high >>> 0, low >>> 0]);
}

/** Every n-th pod, so shifted from one round of namespaces to the next that the node has pods of most of them. */
function isLocal(size: Size, i: number): boolean {
  return (i + Math.floor(i / size.namespaces)) % Math.floor(size.pods / size.localPods) === 0;
}

export function localPods(size: Size): number[] {
  return Array.from({ length: size.pods }, (_, i) => i).filter((i) => isLocal(size, i));
}

export function makePod(size: Size, i: number, version = 0): Pod {
  const namespace = `ns-${i % size.namespaces}`;
  const app = apps[Math.floor(i / size.namespaces) % apps.length]!;
  const local = isLocal(size, i);
  return {
    namespace,
    name: `${app}-${i}`,
    uid: `uid-${i}-${version}`,
    labels: labelsOf({
      app,
      tier: i % 3 === 0 ? 'front' : 'back',
      'pod-template-hash': `${(i * 2_654_435_761) >>> 0}`,
      ...(version % 2 === 1 ? { canary: 'yes' } : {}),
    }),
    addresses: [v4(0x0a000000 + 256 + i), v6(1, i)],
    hostAddresses: [],
    hostNetwork: false,
    nodeName: local ? ownNode : `node-${1 + (i % 19)}`,
    phase: 'Running',
    terminating: false,
    ready: true,
    created: '2026-01-01T00:00:00Z',
    ports: [
      { name: 'http', port: 8080 + (i % 2), protocol: 'TCP' },
      { name: 'metrics', port: 9090, protocol: 'TCP' },
    ],
  };
}

/** Blocks of 12 to 28 bits anywhere, a quarter of them with an exception. */
function blocks(count: number, random: (below: number) => number): PolicyPeer[] {
  return Array.from({ length: count }, () => {
    const cidr = blockOf(v4(random(0x7fffffff) * 2), 12 + random(17));
    return {
      kind: 'block' as const,
      cidr,
      except: random(4) === 0 ? [blockOf(cidr.base, cidr.length + 3)] : [],
    };
  });
}

function makePolicy(size: Size, i: number, random: (below: number) => number): NetworkPolicy {
  const namespace = `ns-${i % size.namespaces}`;
  const blocksEach = Math.round(size.blocks / size.policies);
  const ports: PolicyPort[][] = [
    [{ kind: 'range', protocol: 'TCP', first: 80, last: 80 }],
    [{ kind: 'range', protocol: 'TCP', first: 8000 + random(100), last: 8100 + random(100) }],
    [{ kind: 'named', protocol: 'TCP', name: 'http' }],
    [
      { kind: 'range', protocol: 'UDP', first: 53, last: 53 },
      { kind: 'range', protocol: 'TCP', first: 53, last: 53 },
    ],
  ];
  const peers = (): PolicyPeer[] => [
    { kind: 'pods', podSelector: selector({ app: apps[random(apps.length)]! }) },
    random(3) === 0
      ? {
          kind: 'pods',
          namespaceSelector: selector({ team: `t-${random(teams)}` }),
          podSelector: selector({ app: apps[random(apps.length)]! }),
        }
      : {
          kind: 'pods',
          namespaceSelector: selector({ 'kubernetes.io/metadata.name': `ns-${random(size.namespaces)}` }),
        },
    ...(random(20) === 0
      ? [{ kind: 'pods' as const, namespaceSelector: selector({ team: `t-${random(teams)}` }) }]
      : []),
  ];
  const rule = (from: PolicyPeer[]): PolicyRule => ({ peers: from, ports: ports[random(ports.length)]! });
  return {
    namespace,
    name: `policy-${i}`,
    uid: `p-${i}`,
    podSelector: random(4) === 0 ? selector() : selector({ app: apps[random(apps.length)]! }),
    ingress: [rule(peers()), rule(peers())],
    egress: i % 2 === 0 ? [rule(peers()), rule(blocks(blocksEach, random))] : null,
  };
}

export function makeWorld(size: Size): World {
  const random = randomness(0x5eed);
  const world = new World();
  for (let i = 0; i < size.namespaces; i++) {
    world.put('namespace', { name: `ns-${i}`, labels: labelsOf({ team: `t-${i % teams}` }) });
  }
  for (let i = 0; i < 20; i++) {
    world.put('node', {
      name: i === 0 ? ownNode : `node-${i}`,
      addresses: [v4(0xc0a80001 + i)],
      podCidrs: [],
    });
  }
  for (let i = 0; i < size.pods; i++) world.put('pod', makePod(size, i));
  for (let i = 0; i < size.policies; i++) world.put('policy', makePolicy(size, i, random));
  const locals = localPods(size);
  for (let i = 0; i < size.feeds; i++) {
    world.put('policy', {
      namespace: makePod(size, locals[i % locals.length]!).namespace,
      name: `feed-${i}`,
      uid: '',
      podSelector: selector(),
      ingress: null,
      egress: [{ peers: blocks(size.feedBlocks, random), ports: null }],
    });
  }
  for (let i = 0; i < size.services; i++) {
    world.put('service', {
      namespace: `ns-${i % size.namespaces}`,
      name: `service-${i}`,
      uid: `s-${i}`,
      type: 'ClusterIP',
      clusterIPs: [v4(0x0a600000 + i), v6(2, i)],
      externalIPs: [],
      loadBalancerIPs: [],
      ports: [{ name: 'http', protocol: 'TCP', port: 80, targetPort: 'http' }],
      selector: labelsOf({ app: apps[i % apps.length]! }),
      affinitySeconds: 0,
      publishNotReadyAddresses: false,
      internalTrafficPolicy: 'Cluster',
    });
  }
  return world;
}
