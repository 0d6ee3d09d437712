/**
 * The images that the micro-benchmarks are about, as the product's compiler makes them, and the flows that are judged by them.
 *
 *   - The cluster that every contender enforces (contenders/world.ts), with 0 to 10,000 policies. Every pod and the Service have an IPv6
 *     address besides, so that both families can be measured.
 *   - Two clusters that differ in size only: 10 pods and 1 policy; 100,000 pods, 10,000 policies and 100,000 CIDRs. In both the
 *     pods of the node are isolated both ways, by policies that allow pods by label and addresses by ipBlock with exceptions.
 */
import { Compiler } from '../../src/image/compile.js';
import { decodeInto, noObjects } from '../../src/manifests/decode.js';
import type { KubernetesObject } from '../../src/manifests/object.js';
import { labelsOf } from '../../src/model/labels.js';
import type { Pod } from '../../src/model/pod.js';
import type { NetworkPolicy, PolicyPeer } from '../../src/model/policy.js';
import { selector } from '../../src/model/selector.js';
import { World } from '../../src/model/world.js';
import { type Address, addressOf } from '../../src/net/address.js';
import { blockOf } from '../../src/net/cidr.js';
import { weftNodeName, worldObjects } from '../contenders/weft-objects.js';
import { benchWorld } from '../contenders/world.js';
import { randomness } from '../worlds.js';

/** fd42::x for 10.42.0.x, and fd43::100 for the Service: what weft-bench-packet sends with. */
function alsoV6(address: Address, prefix: number): Address {
  const [, , , value] = address.words;
  return addressOf([prefix * 0x10000, 0, 0, value & 0xffff]);
}

/** The image of the cluster of all contenders. */
export function clusterImage(policies: number): Uint8Array {
  const model = noObjects();
  for (const object of worldObjects(benchWorld(policies))) decodeInto(model, object as KubernetesObject);
  const world = new World();
  for (const namespace of model.namespaces) world.put('namespace', namespace);
  for (const pod of model.pods)
    world.put('pod', {
      ...pod,
      addresses: pod.addresses.flatMap((address) => [address, alsoV6(address, 0xfd42)]),
    });
  for (const policy of model.policies) world.put('policy', policy);
  for (const service of model.services)
    world.put('service', {
      ...service,
      clusterIPs: [...service.clusterIPs, addressOf([0xfd43_0000, 0, 0, 0x100])],
      ipFamilies: [4, 6],
    });
  return new Compiler(world, { node: weftNodeName }).update().image;
}

export interface VerdictWorld {
  readonly image: Uint8Array;
  /** `SOURCE DESTINATION PROTOCOL PORT`, a line each: what weft-bench-verdict reads. */
  readonly flows: string;
}

interface Size {
  readonly pods: number;
  readonly namespaces: number;
  readonly localPods: number;
  readonly policies: number;
  /** Over all policies, none twice. */
  readonly blocks: number;
}

const sizes: Readonly<Record<'small' | 'large', Size>> = {
  small: { pods: 10, namespaces: 1, localPods: 5, policies: 1, blocks: 1 },
  large: { pods: 100_000, namespaces: 1_000, localPods: 100, policies: 10_000, blocks: 100_000 },
};

const apps = 10;
const flowCount = 1_000;
const port = 8080;

const namespaceName = (i: number) => `ns-${i}`;
const v4 = (value: number): Address => addressOf([0, 0, 0xffff, value >>> 0]);
const podAddress = (i: number): Address => v4(0x0a00_0100 + i);
/** /24s of 20.0.0.0 and what follows, in an order that spreads them over the trie. */
const blockBase = (i: number): number => 0x1400_0000 + (((i * 40_503) & 0x1f_ffff) << 8);

/** Local pods are spread over the namespaces, so that policies of all of them are in force on the node. */
function verdictPod(size: Size, i: number): Pod {
  return {
    namespace: namespaceName(i % size.namespaces),
    name: `pod-${i}`,
    uid: `uid-${i}`,
    labels: labelsOf({ app: `app-${Math.floor(i / size.namespaces) % apps}` }),
    addresses: [podAddress(i)],
    hostAddresses: [],
    hostNetwork: false,
    nodeName: i < size.localPods ? weftNodeName : 'elsewhere',
    phase: 'Running',
    terminating: false,
    ready: true,
    created: '2026-01-01T00:00:00Z',
    ports: [],
  };
}

function verdictPolicy(size: Size, i: number): NetworkPolicy {
  const each = size.blocks / size.policies;
  const blocks = Array.from({ length: each }, (_, n): PolicyPeer => {
    const base = blockBase(i * each + n);
    return { kind: 'block', cidr: blockOf(v4(base), 24), except: [blockOf(v4(base + 128), 26)] };
  });
  const namespace = namespaceName(i % selected(size));
  const ports = [{ kind: 'range' as const, protocol: 'TCP' as const, first: port, last: port + (i % 50) }];
  const pods: PolicyPeer = {
    kind: 'pods',
    namespaceSelector: selector({ 'kubernetes.io/metadata.name': namespaceName((i * 7) % size.namespaces) }),
    podSelector: selector({ app: `app-${i % apps}` }),
  };
  const rules = [{ peers: [pods, ...blocks], ports }];
  return {
    namespace,
    name: `policy-${i}`,
    uid: `p-${i}`,
    podSelector: selector(),
    ingress: rules,
    egress: rules,
  };
}

/** Namespaces whose pods policies select: the first ones, which are the node's, so that every policy is in force here. */
const selected = (size: Size): number => Math.min(size.namespaces, size.localPods);

/**
 * A third each: to a pod, from a pod, to an address. All with an end on the node; half of them meet a policy that selects that end and
 * allows the other (an address may be in its exception), the others are what comes.
 */
function verdictFlows(size: Size): string {
  const random = randomness(0xf10);
  const lines = Array.from({ length: flowCount }, (_, i) => {
    const local = random(size.localPods);
    const turns = Math.floor(size.policies / selected(size));
    const policy = (local % selected(size)) + selected(size) * random(turns);
    const each = size.blocks / size.policies;
    const known = i % 2 === 0;
    const friends = size.pods / size.namespaces / apps;
    const friend =
      ((policy * 7) % size.namespaces) + size.namespaces * ((policy % apps) + apps * random(friends));
    const other = podAddress(known ? friend : random(size.pods)).text;
    const block = blockBase(known ? policy * each + random(each) : random(size.blocks));
    const here = podAddress(local).text;
    const ends = [`${here} ${other}`, `${other} ${here}`, `${here} ${v4(block + random(256)).text}`][i % 3];
    return `${ends} 6 ${known || i % 4 === 1 ? port : 9}\n`;
  });
  return lines.join('');
}

export function verdictWorld(name: 'small' | 'large'): VerdictWorld {
  const size = sizes[name];
  const world = new World();
  for (let i = 0; i < size.namespaces; i++)
    world.put('namespace', { name: namespaceName(i), labels: labelsOf({}) });
  for (let i = 0; i < size.pods; i++) world.put('pod', verdictPod(size, i));
  for (let i = 0; i < size.policies; i++) world.put('policy', verdictPolicy(size, i));
  return { image: new Compiler(world, { node: weftNodeName }).update().image, flows: verdictFlows(size) };
}
