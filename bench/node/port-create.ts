/**
 * How long a pod waits for its interface: from the attach request at the agent to its answer, when the port is live and judged; and what its
 * container runtime sees of that, from the start of the CNI plugin to its end, with as many of them under way as a drained node's pods make.
 */
import type { WeftNode, WeftPod } from '../contenders/weft-node.js';
import type { NodeMeasure } from '../node-measure.js';
import { quantile } from '../statistics.js';
import { standNode } from './standing.js';

const pods = 100;
const policies = 1_000;
/** As when a node is drained and its pods come up here. */
const atOnce = 20;

export const portCreate: NodeMeasure = {
  name: 'port-create',
  description: `Time of an attach on a node with 1,000 policies: ${pods} pods one after the other (p50, p99), ${atOnce} asked for at once, until the last is up; and CNI ADD by the plugin, alone and with ${atOnce} under way (p50, p99).`,
  measures: [
    { name: 'p50', unit: 'ms', better: 'lower' },
    { name: 'p99', unit: 'ms', better: 'lower' },
    { name: 'parallel-20', unit: 'ms', better: 'lower' },
    { name: 'plugin-p50', unit: 'ms', better: 'lower' },
    { name: 'plugin-p99', unit: 'ms', better: 'lower' },
    { name: 'plugin-20-p50', unit: 'ms', better: 'lower' },
    { name: 'plugin-20-p99', unit: 'ms', better: 'lower' },
  ],
  subjects: ['weft'],
  packages: [],
  repeat: 'rounds',
  estimate: { start: 8, sample: 24 },
  unavailable: async () => null,
  async start(_subject, site) {
    const { node, pods: known, stop } = await standNode(site, policies, pods);
    const detachAll = async (attached: typeof known) => {
      for (const pod of attached) await node.detach(pod);
    };
    return {
      async sample() {
        const times: number[] = [];
        for (const pod of known) times.push(await node.attach(pod));
        await detachAll(known);
        const together = known.slice(0, atOnce);
        const parallel = Math.max(...(await Promise.all(together.map((pod) => node.attach(pod)))));
        await detachAll(together);
        const alone = await adds(node, known, 1);
        const crowded = await adds(node, known, atOnce);
        times.sort((a, b) => a - b);
        return {
          p50: quantile(times, 0.5),
          p99: quantile(times, 0.99),
          [`parallel-${atOnce}`]: parallel,
          'plugin-p50': quantile(alone, 0.5),
          'plugin-p99': quantile(alone, 0.99),
          [`plugin-${atOnce}-p50`]: quantile(crowded, 0.5),
          [`plugin-${atOnce}-p99`]: quantile(crowded, 0.99),
        };
      },
      stop,
    };
  },
};

/** Times of one CNI ADD for each pod, sorted, with `width` of them under way all the time; every pod is deleted again. */
async function adds(node: WeftNode, known: readonly WeftPod[], width: number): Promise<readonly number[]> {
  const times: number[] = [];
  const waiting = [...known];
  const line = async () => {
    for (let pod = waiting.shift(); pod !== undefined; pod = waiting.shift()) times.push(await node.add(pod));
  };
  await Promise.all(Array.from({ length: width }, line));
  for (const pod of known) await node.delete(pod);
  return times.sort((a, b) => a - b);
}
