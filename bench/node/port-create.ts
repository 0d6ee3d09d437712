/** How long a pod waits for its interface: from the attach request at the agent to its answer, when the port is live and judged. */
import type { NodeMeasure } from '../node-measure.js';
import { quantile } from '../statistics.js';
import { standNode } from './standing.js';

const pods = 100;
const policies = 1_000;
/** As when a node is drained and its pods come up here. */
const atOnce = 20;

export const portCreate: NodeMeasure = {
  name: 'port-create',
  description: `Time of an attach on a node with 1,000 policies: ${pods} pods one after the other (p50, p99), and ${atOnce} asked for at once, until the last is up.`,
  measures: [
    { name: 'p50', unit: 'ms', better: 'lower' },
    { name: 'p99', unit: 'ms', better: 'lower' },
    { name: 'parallel-20', unit: 'ms', better: 'lower' },
  ],
  subjects: ['weft'],
  packages: [],
  repeat: 'rounds',
  estimate: { start: 8, sample: 8 },
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
        times.sort((a, b) => a - b);
        return { p50: quantile(times, 0.5), p99: quantile(times, 0.99), [`parallel-${atOnce}`]: parallel };
      },
      stop,
    };
  },
};
