/**
 * Bulk TCP. `weft-traffic` sends itself, with a thread for each stream at both ends: iperf3 as Debian 12 has it serves all streams with one
 * thread, so that eight of them measure that thread, and counts whole seconds only. What counts is what the receiver has read.
 */
import { pick, serviceMissing, traffic } from './traffic.js';
import type { Workload } from './workload.js';

function bulk(name: string, description: string, streams: number, service = false): Workload {
  return {
    name,
    description,
    measures: [{ name: 'rate', unit: 'Gbit/s', better: 'higher' }],
    unsuited: service ? serviceMissing : () => null,
    sample: async (running, seconds) =>
      pick(await traffic(running, 'tcp-bulk', { streams }, seconds, { service }), ['rate']),
  };
}

export const bulkWorkloads: readonly Workload[] = [
  bulk('tcp-bulk-1', 'One TCP stream, as fast as it goes.', 1),
  bulk('tcp-bulk-service', 'One TCP stream to a ClusterIP.', 1, true),
  bulk('tcp-bulk-8', 'Eight TCP streams at once, a thread each; their sum.', 8),
];
