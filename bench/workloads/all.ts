/** Every workload, in the order of the report's tables. */
import { udpWorkloads } from './udp.js';
import type { Workload } from './workload.js';

export const workloads: readonly Workload[] = [...udpWorkloads];

/** The workload of that name; undefined when there is none. */
export function workloadNamed(name: string): Workload | undefined {
  return workloads.find((workload) => workload.name === name);
}
