/**
 * Every core held by pods that never sleep, in the cgroups of a kubelet. Client and server are pods of their own with a request; the busy
 * pods have the same one, or none: then the kernel owes them next to nothing while others want to run. What
 * the kernel does for a packet in softirq takes its time from whoever runs; a data plane in a process has to be scheduled, and where it is
 * (its cgroup, its weight, its class) decides. The data plane stays where its contender has put it.
 */
import { availableParallelism } from 'node:os';
import { Program } from '../contenders/site.js';
import { cgroupsMissing, PodCgroups } from './pod-cgroups.js';
import { pick, traffic, trafficProgram } from './traffic.js';
import type { Measure, Workload } from './workload.js';

/** Thousandths of a processor that client and server ask for. */
const request = 250;

function busy(
  name: string,
  description: string,
  measures: readonly Measure[],
  mode: string,
  args: Readonly<Record<string, number>>,
  busyRequest = request,
): Workload {
  return {
    name,
    description,
    measures,
    unsuited: () => cgroupsMissing(),
    async sample(running, seconds) {
      const loops = Array.from({ length: availableParallelism() }, (_, index) => `busy${index}`);
      const busyPods = Object.fromEntries(loops.map((pod) => [pod, busyRequest]));
      const cgroups = new PodCgroups({ ...busyPods, client: request, server: request });
      const programs: Program[] = [];
      try {
        for (const pod of loops) {
          const [command, ...before] = cgroups.inside(pod) as [string, ...string[]];
          programs.push(
            await Program.start(
              command,
              [...before, trafficProgram, 'spin', '--seconds', `${Math.ceil(seconds) + 120}`],
              { ready: /"spinning"/ },
            ),
          );
        }
        const printed = await traffic(running, mode, args, seconds, {
          serverPrefix: cgroups.inside('server'),
          clientPrefix: cgroups.inside('client'),
        });
        return pick(
          printed,
          measures.map((measure) => measure.name),
        );
      } finally {
        await Promise.all(programs.map((program) => program.end('SIGKILL')));
        await cgroups.remove();
      }
    },
  };
}

const times: readonly Measure[] = [
  { name: 'p50', unit: 'us', better: 'lower' },
  { name: 'p99', unit: 'us', better: 'lower' },
  { name: 'p999', unit: 'us', better: 'lower' },
  { name: 'rate', unit: 'transactions/s', better: 'higher' },
];

export const busyWorkloads: readonly Workload[] = [
  busy(
    'busy-tcp-bulk',
    'One TCP stream while a busy pod holds every core.',
    [{ name: 'rate', unit: 'Gbit/s', better: 'higher' }],
    'tcp-bulk',
    { streams: 1 },
  ),
  busy(
    'busy-tcp-rr',
    'Request and response over one TCP connection while a busy pod holds every core.',
    times,
    'tcp-rr',
    { size: 64, rate: 0 },
  ),
  busy(
    'busy-besteffort-tcp-rr',
    'The same while the busy pods have no requests, so that the kubelet makes them best effort.',
    times,
    'tcp-rr',
    { size: 64, rate: 0 },
    0,
  ),
];
