/**
 * 100,000 UDP flows that are all alive: 10,000 ports of the client to 10 ports of the server. Each is opened first, and answered once, so that every
 * connection tracking knows it as established; then each gets its burst of four datagrams in turn, in an order that strides through
 * them, so that neither caches nor coalescing are flattered by the next packet being like the last. Bursts are the same for all.
 */
import { pick, traffic } from './traffic.js';
import type { Workload } from './workload.js';

export const flowWorkloads: readonly Workload[] = [
  {
    name: 'flows-100000',
    description: '64 B datagrams over 100,000 live UDP flows, bursts of 4, 160 on their way at most.',
    measures: [{ name: 'rate', unit: 'packets/s', better: 'higher' }],
    unsuited: () => null,
    sample: async (running, seconds) =>
      pick(await traffic(running, 'flows', { flows: 100_000, ports: 10, burst: 4, size: 64 }, seconds), [
        'rate',
      ]),
  },
];
