/**
 * New connections per second: connect, 64 B there, 64 B back, close; 32 on their way at a time. The server closes first, so that TIME_WAIT
 * is on its side and the client does not run out of ports (28,231 of them come round every half second).
 */
import { pick, serviceMissing, traffic } from './traffic.js';
import type { Workload } from './workload.js';

function connections(name: string, description: string, service: boolean): Workload {
  return {
    name,
    description,
    measures: [{ name: 'rate', unit: 'connections/s', better: 'higher' }],
    unsuited: service ? serviceMissing : () => null,
    sample: async (running, seconds) =>
      pick(await traffic(running, 'connect', { parallel: 32 }, seconds, { service }), ['rate']),
  };
}

export const connectWorkloads: readonly Workload[] = [
  connections('connect', 'New TCP connections, each with one request and its answer.', false),
  connections('connect-service', 'The same through a ClusterIP.', true),
];
