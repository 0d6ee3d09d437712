/** What a node costs that does nothing: processor time of supervisor, switch and agent with 100 pods attached and no traffic. */
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import type { NodeMeasure } from '../node-measure.js';
import { standNode } from './standing.js';

const pods = 100;
const policies = 1_000;
/** Timers go by the second, and one look of a garbage collector must not be all that is seen. */
const shortest = 10; // seconds
const settle = 25_000; // milliseconds

export const idle: NodeMeasure = {
  name: `idle-${pods}`,
  description: `Processor time of supervisor, switch and agent with ${pods} pods attached, 1,000 policies and no traffic.`,
  measures: [{ name: 'cpu', unit: '% of a core', better: 'lower' }],
  subjects: ['weft'],
  packages: [],
  repeat: 'rounds',
  estimate: { start: 20 + settle / 1000, sample: shortest },
  unavailable: async () => null,
  async start(_subject, site) {
    const { node, pods: known, stop } = await standNode(site, policies, pods);
    for (const pod of known) await node.attach(pod);
    // Compilers and collectors of the start have their say before anything is measured: V8 collects three times more, 8 s apart, once a
    // process has gone quiet.
    await pause(settle);
    return {
      async sample(seconds) {
        const wait = Math.max(shortest, seconds);
        const pids = Object.values(node.processes);
        const before = pids.map(processorNanoseconds);
        const started = performance.now();
        await pause(wait * 1000);
        const passed = (performance.now() - started) * 1e6;
        const used = pids.map((pid, i) => processorNanoseconds(pid) - before[i]!);
        if (used.every((time) => time === 0)) throw new Error('no processor time was counted at all');
        return { cpu: (100 * used.reduce((sum, time) => sum + time, 0)) / passed };
      },
      stop,
    };
  },
};

/** Of all threads that run, by the scheduler's own count, which is finer than the ticks of /proc/PID/stat. */
function processorNanoseconds(pid: number): number {
  const tasks = readdirSync(`/proc/${pid}/task`);
  return tasks.reduce((sum, task) => {
    const [time] = readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'utf8').split(' ');
    return sum + Number(time);
  }, 0);
}
