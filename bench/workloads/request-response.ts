/**
 * Request and response, 64 B each way. In a closed loop the next request goes when the answer has come; at a fixed rate requests are due by a
 * schedule that waits for nobody, and their time begins when they were due.
 */
import { pick, serviceMissing, traffic } from './traffic.js';
import type { Measure, Workload } from './workload.js';

/** Requests per second at the fixed rate: every packet finds a machine that has gone to sleep, as it does on a quiet node. */
const fixedRate = 5000;

const latencies: readonly Measure[] = ['p50', 'p99', 'p999'].map((name) => ({
  name,
  unit: 'us',
  better: 'lower',
}));
const rate: Measure = { name: 'rate', unit: 'transactions/s', better: 'higher' };
const cpu: Measure = { name: 'cpu', unit: '% of a core', better: 'lower' };

function closed(name: string, description: string, mode: string, service = false): Workload {
  const measures = [...latencies, rate];
  return {
    name,
    description,
    measures,
    unsuited: service ? serviceMissing : () => null,
    sample: async (running, seconds) =>
      pick(
        await traffic(running, mode, { size: 64, rate: 0 }, seconds, { service }),
        measures.map((measure) => measure.name),
      ),
  };
}

function fixed(name: string, description: string, mode: string): Workload {
  const measures = [...latencies, cpu];
  return {
    name,
    description,
    measures,
    unsuited: () => null,
    sample: async (running, seconds) =>
      pick(
        await traffic(running, mode, { size: 64, rate: fixedRate }, seconds),
        measures.map((measure) => measure.name),
      ),
  };
}

export const requestWorkloads: readonly Workload[] = [
  closed('tcp-rr', 'Request and response over one TCP connection, 64 B each way, one at a time.', 'tcp-rr'),
  closed('tcp-rr-service', 'The same through a ClusterIP.', 'tcp-rr', true),
  closed('udp-rr', 'Request and response between two UDP sockets, 64 B each way, one at a time.', 'udp-rr'),
  fixed(
    'tcp-rr-fixed',
    `${fixedRate.toLocaleString('en')} requests per second over one TCP connection, whatever becomes of their answers; the processors' use is the whole machine's less the idle machine's.`,
    'tcp-rr',
  ),
  fixed('udp-rr-fixed', `The same between two UDP sockets.`, 'udp-rr'),
];
