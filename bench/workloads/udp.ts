/**
 * One-way UDP. The window workloads measure what the path carries without loss; the blast measures what arrives when the sender does
 * not care. The measured flow never sees an answer (acknowledgements are a flow of their own, opened by the client), as with logs, metrics
 * and media: the kernel's connection tracking does not call such a flow established, so that rule lists are walked for every packet of it.
 * A rate is counted and timed by the receiver, in datagrams, however they were coalesced on their way.
 */
import { pick, traffic } from './traffic.js';
import type { Workload } from './workload.js';

function udp(name: string, description: string, args: Readonly<Record<string, number>>): Workload {
  return {
    name,
    description,
    measures: [{ name: 'rate', unit: 'packets/s', better: 'higher' }],
    unsuited: () => null,
    sample: async (running, seconds) => pick(await traffic(running, 'udp', args, seconds), ['rate']),
  };
}

export const udpWorkloads: readonly Workload[] = [
  udp('udp-window', 'Datagrams of 64 B, 64 on their way at most, acknowledged 16 at a time.', {
    size: 64,
    window: 64,
    burst: 16,
  }),
  udp('udp-blast', 'Datagrams of 64 B as fast as the sender can, 32 a system call; what arrives counts.', {
    size: 64,
    window: 0,
    burst: 32,
  }),
  udp('udp-1400', 'Datagrams of 1,400 B, 64 on their way at most, acknowledged 16 at a time.', {
    size: 1400,
    window: 64,
    burst: 16,
  }),
  udp(
    'udp-gso',
    'Datagrams of 1,400 B, handed over 44 at a time (UDP_SEGMENT) and taken as they come (UDP_GRO), 176 on their way at most.',
    { size: 1400, window: 176, burst: 44, gso: 1 },
  ),
];
