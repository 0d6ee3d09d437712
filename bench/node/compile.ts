/**
 * What the compiler costs the node: processor time for the reference cluster from nothing and for single changes (bench/compile.ts), each
 * sample in a process of its own, so that none begins with another's optimised code or garbage.
 */
import { fileURLToPath } from 'node:url';
import { run } from '../contenders/site.js';
import type { NodeMeasure } from '../node-measure.js';

const program = fileURLToPath(new URL('../compile.js', import.meta.url));

/** Names of the changes in the program's output, and of their measures. */
const changes = {
  'remote pod, labels nobody asks for': 'relabelled',
  'any pod, another app': 'pod-changed',
  'any pod comes or goes': 'pod',
  'local pod comes or goes': 'local-pod',
  'a policy in force gets other rules': 'policy',
} as const;

interface Printed {
  readonly scratchMs: number;
  readonly change: Readonly<Record<string, { readonly p50: number; readonly p99: number }>>;
}

export const compile: NodeMeasure = {
  name: 'compile',
  description:
    'Processor time of the compiler: the reference cluster (5,000 pods, 1,000 policies, 250 local pods) from nothing, and one change of a kind with its own image. `large`: 100,000 pods, 10,000 policies, 100,000 CIDR blocks.',
  measures: [
    { name: 'scratch', unit: 'ms', better: 'lower' },
    ...Object.values(changes).flatMap((name) => [
      { name: `${name}-p50`, unit: 'ms', better: 'lower' as const },
      { name: `${name}-p99`, unit: 'ms', better: 'lower' as const },
    ]),
  ],
  subjects: ['reference', 'large'],
  packages: [],
  repeat: 'rounds',
  estimate: { start: 0, sample: 25 },
  unavailable: () => Promise.resolve(null),
  start: (subject) =>
    Promise.resolve({
      async sample() {
        const size = subject === 'large' ? ['--only-large'] : [];
        const printed = await run(process.execPath, ['--expose-gc', program, '--json', ...size]);
        const [figures] = JSON.parse(printed) as [Printed];
        const values: Record<string, number> = { scratch: figures.scratchMs };
        for (const [change, name] of Object.entries(changes)) {
          const found = figures.change[change];
          if (found === undefined) throw new Error(`${program} does not know "${change}"`);
          values[`${name}-p50`] = found.p50;
          values[`${name}-p99`] = found.p99;
        }
        return values;
      },
      stop: () => Promise.resolve(),
    }),
};
