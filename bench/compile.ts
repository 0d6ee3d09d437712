/**
 * What compiling a cluster's policy costs: `node --expose-gc dist/bench/compile.js [--json] [--large | --only-large]`.
 *
 * The reference cluster is compiled from nothing several times and then changed pod by pod and policy by policy, every change with its own
 * image. `--large` adds 100,000 pods, 10,000 policies and 100,000 CIDR blocks. All times are processor time.
 */
import { Compiler, type CompileStats } from '../src/image/compile.js';
import type { World } from '../src/model/world.js';
import { clocked, type Spread, spread } from './processor-time.js';
import {
  apps,
  large,
  localPods,
  makePod,
  makeWorld,
  ownNode,
  randomness,
  reference,
  type Size,
} from './worlds.js';

interface Figures {
  readonly name: string;
  readonly scratchMs: number;
  readonly change: Readonly<Record<string, Spread>>;
  readonly heapMb: number;
  readonly peakRssMb: number;
  readonly stats: CompileStats;
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
  const rules = compiler.update().explain.policies;
  // Rules of another policy in this one: new peers, blocks and ports, of the kinds that are there.
  const reruled = (i: number) => {
    const { ingress, egress } = rules[random(rules.length)]!;
    world.put('policy', { ...rules[i]!, ingress, egress });
  };
  const appOnly = (i: number) => {
    const pod = makePod(size, i, 0);
    world.put('pod', { ...pod, labels: new Map(pod.labels).set('app', apps[random(apps.length)]!) });
  };
  return {
    'remote pod, labels nobody asks for': spread(timed(relabel, any)),
    'any pod, another app': spread(timed(appOnly, any)),
    'any pod comes or goes': spread(timed(toggle, any)),
    'local pod comes or goes': spread(timed(toggle, local)),
    'a policy in force gets other rules': spread(timed(reruled, () => random(rules.length))),
  };
}

function measure(size: Size, rounds: number): Figures {
  const world = makeWorld(size);
  globalThis.gc?.();
  const before = process.memoryUsage();
  const samples: number[] = [];
  for (let i = 0; i < (size === reference ? 5 : 1); i++) {
    samples.push(clocked(() => new Compiler(world, { node: ownNode }).update()));
  }
  const compiler = new Compiler(world, { node: ownNode });
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

const wanted = process.argv.slice(2);
const results = wanted.includes('--only-large') ? [] : [measure(reference, 200)];
if (wanted.includes('--large') || wanted.includes('--only-large')) results.push(measure(large, 20));
if (wanted.includes('--json')) console.log(JSON.stringify(results));
else for (const result of results) print(result);
