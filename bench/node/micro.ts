/**
 * What one packet and one verdict cost, in instructions (exact, by callgrind) and in time, without the kernel: the product's own way of a
 * packet from reading to writing, over devices in memory (bench/programs/micro/).
 */
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Site } from '../contenders/contender.js';
import { programPath, run } from '../contenders/site.js';
import { clusterImage, verdictWorld } from '../micro/images.js';
import type { NodeMeasure, NodeSubject } from '../node-measure.js';
import type { Measure } from '../workloads/workload.js';

const programs = fileURLToPath(new URL('../../../build/bench/', import.meta.url));

/** Packets of an established flow; the cases of weft-bench-packet. */
const established = ['tcp4', 'udp4', 'tcp6', 'udp6'].flatMap((kind) => [`${kind}-large`, `${kind}-small`]);
/** The first packet of a flow. */
const connecting = ['connect4', 'connect6'];
const packets = 512;

const instructions = (name: string): Measure => ({ name, unit: 'instructions', better: 'lower' });

/** Runs a program under callgrind: instructions between its two marks, and the words that it printed. */
async function counted(site: Site, program: string, args: readonly string[]): Promise<[number, string[]]> {
  const out = join(site.folder, 'callgrind.out');
  const printed = await run('valgrind', [
    '--tool=callgrind',
    '--quiet',
    '--collect-atstart=no',
    `--callgrind-out-file=${out}`,
    join(programs, program),
    ...args,
  ]);
  const total = /^(?:totals|summary): (\d+)/m.exec(readFileSync(out, 'utf8'))?.[1];
  rmSync(out);
  if (total === undefined || total === '0') throw new Error(`callgrind counted nothing of ${program}`);
  return [Number(total), printed.trim().split(/\s+/)];
}

async function timed(program: string, args: readonly string[]): Promise<number> {
  const nanoseconds = Number(await run(join(programs, program), [...args, '--time']));
  if (!(nanoseconds > 0)) throw new Error(`${program} measured nothing`);
  return nanoseconds;
}

const mean = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length;

function unavailable(program: string): string | null {
  if (programPath('valgrind') === null) return 'valgrind is not installed';
  if (!existsSync(join(programs, program))) return `${program} is not built (deploy/build.sh bench)`;
  // Without its header at build time the program has no marks, and callgrind would count nothing.
  const marked = existsSync('/usr/include/valgrind/callgrind.h');
  return marked ? null : 'valgrind/callgrind.h is not installed';
}

const packetCases = [...established, ...connecting];

const microPacket: NodeMeasure = {
  name: 'micro-packet',
  description:
    'One packet from reading to writing, the kernel left out: instructions and ns are means over TCP and UDP, IPv4 and IPv6, 62 KB and small, of an established flow; the others are single cases.',
  measures: [
    instructions('instructions'),
    { name: 'ns', unit: 'ns', better: 'lower' },
    ...packetCases.map((name) => instructions(name)),
  ],
  subjects: ['weft-0', 'weft-10000', 'weft-10000-service'],
  packages: ['valgrind'],
  repeat: 'once',
  estimate: { start: 2, sample: 35 },
  unavailable: async () => unavailable('weft-bench-packet'),
  async start(subject, site) {
    const image = join(site.folder, 'packet.image');
    writeFileSync(image, clusterImage(Number(/-(\d+)/.exec(subject)?.[1])));
    const suffix = subject.endsWith('-service') ? '-service' : '';
    const args = (name: string) => ['--image', image, '--case', name + suffix, '--packets', `${packets}`];
    return {
      async sample() {
        const values: Record<string, number> = {};
        for (const name of packetCases) {
          const [total, [frames]] = await counted(site, 'weft-bench-packet', args(name));
          values[name] = total / Number(frames);
        }
        const times: number[] = [];
        for (const name of established) times.push(await timed('weft-bench-packet', args(name)));
        return { ...values, instructions: mean(established.map((name) => values[name]!)), ns: mean(times) };
      },
      stop: async () => rmSync(image, { force: true }),
    } satisfies NodeSubject;
  },
};

const microVerdict: NodeMeasure = {
  name: 'micro-verdict',
  description:
    'The verdict of a new flow, both ends classified and both directions judged, of a cluster of 10 pods and 1 policy (small) and of 100,000 pods, 10,000 policies and 100,000 CIDRs (large).',
  measures: [instructions('instructions'), { name: 'ns', unit: 'ns', better: 'lower' }],
  subjects: ['small', 'large'],
  packages: ['valgrind'],
  repeat: 'once',
  estimate: { start: 15, sample: 5 },
  unavailable: async () => unavailable('weft-bench-verdict'),
  async start(subject, site) {
    if (subject !== 'small' && subject !== 'large')
      throw new Error(`micro-verdict has no subject ${subject}`);
    const image = join(site.folder, 'verdict.image');
    const flows = join(site.folder, 'verdict.flows');
    const world = verdictWorld(subject);
    writeFileSync(image, world.image);
    writeFileSync(flows, world.flows);
    const args = ['--image', image, '--flows', flows];
    return {
      async sample() {
        const [total, [count, allowed]] = await counted(site, 'weft-bench-verdict', args);
        // A world in which nothing, or everything, passes measures one branch of the lookup only.
        if (Number(allowed) === 0 || allowed === count)
          throw new Error(`${allowed} of ${count} flows are allowed`);
        return { instructions: total / Number(count), ns: await timed('weft-bench-verdict', args) };
      },
      async stop() {
        rmSync(image, { force: true });
        rmSync(flows, { force: true });
      },
    } satisfies NodeSubject;
  },
};

export const micro: readonly NodeMeasure[] = [microPacket, microVerdict];
