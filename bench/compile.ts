/**
 * What compiling a cluster's policy costs: `node --expose-gc dist/bench/compile.js [--json] [--large]`.
 *
 * The reference cluster (5,000 pods, 500 namespaces, 1,000 policies, 250 pods on the node, dual-stack, 500 Services) is compiled from nothing
 * several times and then changed pod by pod, every change with its own image. `--large` adds 100,000 pods, 10,000 policies and 100,000
 * CIDR blocks. The worlds are made from a fixed seed; all
 * times are processor time.
 */
import { Compiler, type CompileStats } from '../src/image/compile.js';
import { labelsOf } from '../src/model/labels.js';
import type { Pod } from '../src/model/pod.js';
import type { NetworkPolicy, PolicyPeer, PolicyPort, PolicyRule } from '../src/model/policy.js';
import { selector } from '../src/model/selector.js';
import { World } from '../src/model/world.js';
import { addressOf } from '../src/net/address.js';
import { blockOf } from '../src/net/cidr.js';

interface Size {
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

const reference: Size = {
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
const large: Size = {
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
function randomness(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

const apps = ['web', 'api', 'db', 'cache', 'queue', 'worker', 'batch', 'proxy', 'auth', 'search'];
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

function localPods(size: Size): number[] {
  return Array.from({ length: size.pods }, (_, i) => i).filter((i) => isLocal(size, i));
}

function makePod(size: Size, i: number, version = 0): Pod {
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
    nodeName: local ? 'node-0' : `node-${1 + (i % 19)}`,
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

function makeWorld(size: Size): World {
  const random = randomness(0x5eed);
  const world = new World();
  for (let i = 0; i < size.namespaces; i++) {
    world.put('namespace', { name: `ns-${i}`, labels: labelsOf({ team: `t-${i % teams}` }) });
  }
  for (let i = 0; i < 20; i++) {
    world.put('node', { name: `node-${i}`, addresses: [v4(0xc0a80001 + i)], podCidrs: [] });
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

interface Figures {
  readonly name: string;
  readonly scratchMs: number;
  readonly change: Readonly<
    Record<string, { readonly p50: number; readonly p99: number; readonly max: number }>
  >;
  readonly heapMb: number;
  readonly peakRssMb: number;
  readonly stats: CompileStats;
}

/**
 * Milliseconds of processor time, all threads of the process counted (so the collector and the optimiser are in it). On an idle machine that is
 * the time on the clock or more; on a busy one the clock would measure the neighbours.
 */
function clocked(work: () => void): number {
  const before = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}

function quantiles(samples: readonly number[]) {
  const sorted = [...samples].sort((a, b) => a - b);
  const at = (q: number) => sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))]!;
  return { p50: at(0.5), p99: at(0.99), max: sorted[sorted.length - 1]! };
}

/** Every change is one event and one image. */
function measureChanges(size: Size, world: World, compiler: Compiler, rounds: number) {
  const random = randomness(0xc0ffee);
  const timed = (change: (i: number) => void, pick: () => number): number[] =>
    Array.from({ length: rounds }, () => {
      const i = pick();
      change(i);
      return clocked(() => compiler.update());
    });
  const any = () => random(size.pods);
  const locals = localPods(size);
  const local = () => locals[random(locals.length)]!;
  let version = 1;
  const relabel = (i: number) => world.put('pod', makePod(size, i, version++));
  const away = new Set<number>();
  const toggle = (i: number) => {
    const pod = makePod(size, i, version++);
    if (away.delete(i)) world.put('pod', pod);
    else {
      away.add(i);
      world.apply({ type: 'delete', kind: 'pod', namespace: pod.namespace, name: pod.name });
    }
  };
  const appOnly = (i: number) => {
    const pod = makePod(size, i, 0);
    world.put('pod', { ...pod, labels: new Map(pod.labels).set('app', apps[random(apps.length)]!) });
  };
  return {
    'remote pod, labels nobody asks for': quantiles(timed(relabel, any)),
    'any pod, another app': quantiles(timed(appOnly, any)),
    'any pod comes or goes': quantiles(timed(toggle, any)),
    'local pod comes or goes': quantiles(timed(toggle, local)),
  };
}

function measure(size: Size, rounds: number): Figures {
  const world = makeWorld(size);
  globalThis.gc?.();
  const before = process.memoryUsage();
  const samples: number[] = [];
  for (let i = 0; i < (size === reference ? 5 : 1); i++) {
    samples.push(clocked(() => new Compiler(world, { node: 'node-0' }).update()));
  }
  const compiler = new Compiler(world, { node: 'node-0' });
  const { stats } = compiler.update();
  globalThis.gc?.();
  const after = process.memoryUsage();
  const change = measureChanges(size, world, compiler, rounds);
  return {
    name: size.name,
    // The first run, before anything is optimised: what an agent pays at its start.
    scratchMs: samples[0]!,
    change,
    heapMb: (after.heapUsed + after.arrayBuffers - before.heapUsed - before.arrayBuffers) / 1e6,
    peakRssMb: process.resourceUsage().maxRSS / 1e3,
    stats,
  };
}

function print(figures: Figures): void {
  const ms = (value: number) => `${value.toFixed(2)} ms`;
  console.log(`\n${figures.name}: ${JSON.stringify(figures.stats)}`);
  console.log(`  from nothing      ${ms(figures.scratchMs)}`);
  for (const [name, { p50, p99, max }] of Object.entries(figures.change)) {
    console.log(`  ${name.padEnd(36)} p50 ${ms(p50)}  p99 ${ms(p99)}  max ${ms(max)}`);
  }
  console.log(
    `  compiler's memory ${figures.heapMb.toFixed(1)} MB; peak of the process ${figures.peakRssMb.toFixed(0)} MB`,
  );
}

const results = [measure(reference, 200)];
if (process.argv.includes('--large')) results.push(measure(large, 20));
if (process.argv.includes('--json')) console.log(JSON.stringify(results));
else for (const result of results) print(result);
