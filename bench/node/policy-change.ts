/**
 * The time from a policy change to the first packet that is judged by it, in a cluster of 1,000 policies and 5,000 pods, 250 of them on the
 * node and attached, while bulk TCP and request/response run between two other pods.
 *
 * A change is what a person does: the file of one policy is written anew beside its place and renamed into it. The clock starts before
 * the rename. A stream of UDP packets shows what the change does: each one makes it allowed or denied. A permission is in force for the
 * first packet that arrives. A denied packet arrives nowhere; what became of it had been decided when the one sent right behind it, by
 * the same interface to a pod that nothing denies, arrives, so that is its time, a little too late rather than too early. The grain is
 * the pause between two packets, 100 µs.
 */
import { readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { packageRoot } from '../../src/dataplane/package-root.js';
import type { Pod } from '../../src/model/pod.js';
import { contenderNamed } from '../contenders/all.js';
import type { BenchPod, Running, Site } from '../contenders/contender.js';
import { resync } from '../contenders/kube-router-sync.js';
import { onStage, type Stage } from '../contenders/site.js';
import type { KernelRunning } from '../contenders/veth.js';
import { WeftNode } from '../contenders/weft-node.js';
import { benchWorld } from '../contenders/world.js';
import { manifestFiles, policyManifest } from '../manifests.js';
import type { NodeMeasure, NodeSubject } from '../node-measure.js';
import { quantile } from '../statistics.js';
import { traffic } from '../workloads/traffic.js';
import { ownNode } from '../worlds.js';
import { policyCount, policyUnderTest, probePort, type Role, worldUnderTest } from './policy-world.js';

/** Each with its control. */
const packetsPerSecond = 10_000;
/** Changes of one sample. */
const changesPerSample = 100;
/** Between two changes at least this, and up to half as much again, so that nothing periodic on the machine stays in step. Milliseconds. */
const shortestPause = 60;
/** Between an image in force and the next change: a packet has to meet it, even if the worker has to wait for a core. Milliseconds. */
const settle = 40;
/** For a change to come into force. Milliseconds. */
const patience = 10_000;
/** Of a run of the load. */
const runSeconds = 2;

/** Times in nanoseconds of the monotonic clock. */
interface Change {
  readonly at: bigint;
  readonly allows: boolean;
}

interface Stream {
  /** Pairs of number and time, in the order of arrival. */
  readonly arrivals: BigInt64Array;
  /** The same of the control stream. */
  readonly controls: BigInt64Array;
}

/** Milliseconds from each change to the first packet judged by it. Throws where one was not in force before the next. */
export function latencies(changes: readonly Change[], { arrivals, controls }: Stream): number[] {
  const found: number[] = [];
  let next = 0;
  let control = 0;
  /** Of the last packet that arrived. */
  let last = -1n;
  const count = arrivals.length / 2;
  changes.forEach(({ at, allows }, i) => {
    const until = changes[i + 1]?.at;
    let first = -1;
    for (; next < count && (until === undefined || arrivals[2 * next + 1]! < until); next++) {
      if (first < 0 && arrivals[2 * next + 1]! >= at) first = next;
      last = arrivals[2 * next]!;
    }
    if (allows) {
      if (first < 0) throw new Error(`change ${i} allowed nothing before the next one`);
      found.push(Number(arrivals[2 * first + 1]! - at) / 1e6);
      return;
    }
    // Of the first packet behind the last one that arrived. One that was lost before the change tells nothing of it.
    while (
      control < controls.length / 2 &&
      (controls[2 * control]! <= last || controls[2 * control + 1]! < at)
    )
      control++;
    const judged = controls[2 * control + 1];
    if (judged === undefined)
      throw new Error(`packets still arrived at the end, after change ${i} had denied them`);
    if (until !== undefined && judged >= until - 2_000_000n)
      throw new Error(`change ${i} did not deny before the next one`);
    found.push(Number(judged - at) / 1e6);
  });
  return found;
}

function readStream(file: string): Stream {
  const { buffer, byteOffset, byteLength } = readFileSync(file);
  const words = new BigInt64Array(buffer.slice(byteOffset, byteOffset + byteLength));
  let at = 0;
  const take = () => {
    const length = 2 * Number(words[at] ?? 0n);
    const taken = words.subarray(at + 1, at + 1 + length);
    at += 1 + length;
    return taken;
  };
  const stream = { arrivals: take(), controls: take() };
  if (at !== words.length) throw new Error(`${file} is cut off`);
  return stream;
}

interface Standing {
  readonly netns: string;
  readonly pod: Pod;
}

class WeftSubject implements NodeSubject {
  readonly #stage: Stage;
  readonly #node: WeftNode;
  readonly #pods: ReadonlyMap<Role, Standing>;
  #turn = 0;
  #samples = 0;

  constructor(stage: Stage, node: WeftNode, pods: ReadonlyMap<Role, Standing>) {
    this.#stage = stage;
    this.#node = node;
    this.#pods = pods;
  }

  /** Takes 13 s at least: the changes need their time apart. */
  async sample(seconds: number): Promise<Readonly<Record<string, number>>> {
    const spacing = Math.max(shortestPause, (seconds * 1000) / changesPerSample / 1.25);
    let loaded = false;
    const load = this.#load(() => loaded);
    // Looked at when the changes have been made.
    load.catch(() => {});
    const output = join(this.#stage.site.folder, `stream-${this.#samples++}`);
    const [client, server, control] = (['client', 'server', 'bulk-server'] as const).map(
      (role) => this.#pods.get(role)!,
    ) as [Standing, Standing, Standing];
    const probe = await this.#stage.start(
      join(packageRoot(), 'build', 'bench', 'weft-policy-probe'),
      [
        client.netns,
        server.netns,
        server.pod.addresses[0]!.text,
        control.netns,
        control.pod.addresses[0]!.text,
        String(probePort),
        String(packetsPerSecond),
        output,
      ],
      { ready: /ready/ },
    );
    // The load has to be under way, and what it allocates at its start to be behind it.
    await pause(1000);
    const changes: Change[] = [];
    for (let i = 0; i < changesPerSample; i++) {
      const before = this.#imageFile();
      changes.push(this.#change());
      await pause(spacing * (1 + Math.random() / 2));
      await this.#until(() => this.#imageFile() !== before);
      await pause(settle);
    }
    await pause(shortestPause);
    await probe.end();
    loaded = true;
    await load;
    const times = latencies(changes, readStream(output)).sort((a, b) => a - b);
    rmSync(output);
    return { p50: quantile(times, 0.5), p99: quantile(times, 0.99) };
  }

  async stop(): Promise<void> {
    await this.#stage.end();
  }

  #change(): Change {
    const allows = this.#turn % 2 === 0;
    const which = Math.floor(this.#turn / 2) % policyCount;
    this.#turn++;
    const policy = policyUnderTest(which, this.#turn, allows, this.#pods.get('client')!.pod);
    const file = join(this.#node.run, 'manifests', `${policy.namespace}.${policy.name}.yaml`);
    const draft = join(this.#node.run, 'manifests', '.draft');
    writeFileSync(draft, `${JSON.stringify(policyManifest(policy), null, 2)}\n`);
    const at = process.hrtime.bigint();
    renameSync(draft, file);
    return { at, allows };
  }

  /** The image in force as the switch has kept it, behind the swap: another file for every image. Looking at it costs the node nothing. */
  #imageFile(): string {
    const { ino, mtimeMs } = statSync(join(this.#node.run, 'switch-image'));
    return `${ino} ${mtimeMs}`;
  }

  /** A slow change delays the next one; it is a figure and no failure. */
  async #until(holds: () => boolean): Promise<void> {
    const end = performance.now() + patience;
    while (!holds()) {
      if (performance.now() > end) throw new Error(`a change was not in force after ${patience} ms`);
      await pause(10);
    }
  }

  /** Bulk TCP between the two other pods and requests the other way, until it is told to end; rejects if nothing flowed. */
  async #load(ended: () => boolean): Promise<void> {
    const end = (role: Role): BenchPod => {
      const { netns, pod } = this.#pods.get(role)!;
      return { netns, ipv4: pod.addresses[0]!.text, ifname: 'eth0' };
    };
    const between = (client: Role, server: Role): Running => ({
      client: end(client),
      server: end(server),
      processes: () => [],
      stop: () => Promise.resolve(),
    });
    const requests = { size: 64, rate: 0 };
    await Promise.all([
      keepLoading(between('bulk-client', 'bulk-server'), 'tcp-bulk', { streams: 1 }, ended),
      keepLoading(between('bulk-server', 'bulk-client'), 'tcp-rr', requests, ended),
    ]);
  }
}

/** Traffic in runs of a few seconds until it is told to end. */
async function keepLoading(
  running: Running,
  mode: string,
  args: Readonly<Record<string, number>>,
  ended: () => boolean,
): Promise<void> {
  while (!ended()) await traffic(running, mode, args, runSeconds);
}

/** Makes `count` things at a time. */
async function inTurns<T>(
  things: readonly T[],
  count: number,
  make: (thing: T) => Promise<void>,
): Promise<void> {
  const waiting = [...things];
  await Promise.all(
    Array.from({ length: count }, async () => {
      for (let thing = waiting.shift(); thing !== undefined; thing = waiting.shift()) await make(thing);
    }),
  );
}

async function startWeft(stage: Stage): Promise<NodeSubject> {
  const { world, pods } = worldUnderTest();
  const netns = await stage.namespace('node');
  const node = await WeftNode.start(stage, {
    netns,
    podCidr: '10.0.0.0/16',
    objects: [],
    config: { telemetry: { enabled: false }, network: { podCIDRs: ['10.0.0.0/16', 'fd00::/64'] } },
  });
  for (const [name, text] of manifestFiles(world)) writeFileSync(join(node.run, 'manifests', name), text);
  await node.sync();
  const local = [...world.all('pod').values()].filter(({ nodeName }) => nodeName === ownNode);
  const spaces = new Map<Pod, string>();
  await inTurns(local, 8, async (pod) => {
    spaces.set(pod, await stage.namespace(`p${spaces.size}-${pod.name}`.slice(0, 12)));
  });
  await inTurns(local, 16, async (pod) => {
    const { namespace, name, addresses } = pod;
    await node.attach({ namespace, name, netns: spaces.get(pod)!, ipv4: addresses[0]!.text });
  });
  const roles = [...pods].map(([role, pod]) => [role, { pod, netns: spaces.get(pod)! }] as const);
  return new WeftSubject(stage, node, new Map(roles));
}

/** Syncs of one sample; each takes seconds. */
const syncsPerSample = 4;

/** The policy controller's sync, beside bulk TCP; in force when the new rules are loaded. It does the same work whatever changed, so nothing is. */
async function startKubeRouter(site: Site): Promise<NodeSubject> {
  const running = (await contenderNamed('kube-router-1000')!.start(site)) as KernelRunning;
  const world = benchWorld(1_000);
  return {
    async sample() {
      const times: number[] = [];
      for (let i = 0; i < syncsPerSample; i++) {
        let done = false;
        const load = keepLoading(running, 'tcp-bulk', { streams: 1 }, () => done);
        // Looked at when the rules are loaded.
        load.catch(() => {});
        times.push((await resync(running, world)).inForce);
        done = true;
        await load;
      }
      times.sort((a, b) => a - b);
      return { p50: quantile(times, 0.5), p99: quantile(times, 0.99) };
    },
    stop: () => running.stop(),
  };
}

export const policyChange: NodeMeasure = {
  name: 'policy-change',
  description:
    'From the rename of a policy file to the first packet judged by it: 1,000 policies, 5,000 pods, 250 of them attached, bulk TCP and request/response beside it. Its peer: the sync of K3s’ policy controller, from its begin until the new rules are loaded.',
  measures: [
    { name: 'p50', unit: 'ms', better: 'lower' },
    { name: 'p99', unit: 'ms', better: 'lower' },
  ],
  subjects: ['weft-1000', 'kube-router-1000'],
  packages: ['iptables', 'ipset'],
  repeat: 'rounds',
  estimate: { start: 20, sample: 18 },
  unavailable: (subject) =>
    subject === 'weft-1000' ? Promise.resolve(null) : contenderNamed(subject)!.unavailable(),
  start: (subject, site) => (subject === 'weft-1000' ? onStage(site, startWeft) : startKubeRouter(site)),
};
