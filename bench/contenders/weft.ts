/** weft itself, with none, 100, 1,000 and 10,000 policies. */
import type { Contender, Running, Site } from './contender.js';
import { policiesUnderTest } from './contender.js';
import { addresses, ground, onStage } from './site.js';
import { WeftNode } from './weft-node.js';
import { worldObjects } from './weft-objects.js';
import { benchWorld, servicePorts } from './world.js';

/** 100,000 live flows of one client have to fit its share of the table. */
const connections = 262_144;

/** How long the polling variant polls: longer than any gap between the packets of a request and its response. */
const pollTime = '200us';

function contender(policies: number, polling = false): Contender {
  const what =
    policies === 0
      ? 'weft without policies: supervisor, switch and agent with their defaults'
      : `weft with ${policies.toLocaleString('en')} policies, ${policiesUnderTest} of which select the pods under test`;
  return {
    name: `weft-${policies}${polling ? '-polling' : ''}`,
    description: polling ? `${what}; its worker polls for ${pollTime} before it sleeps.` : `${what}.`,
    policies,
    enforces: policies > 0,
    packages: [],
    unavailable: async () => null,
    start: (site) => start(site, policies, polling ? { pollTime } : {}),
  };
}

function start(site: Site, policies: number, options: object): Promise<Running> {
  return onStage(site, async (stage) => {
    const { node: netns, client, server } = await ground(stage);
    const world = benchWorld(policies);
    const node = await WeftNode.start(stage, {
      netns,
      podCidr: addresses.podRange,
      objects: worldObjects(world),
      config: {
        switch: { connections: { capacity: connections, quotaPerPort: connections / 2 }, ...options },
      },
    });
    await node.attach({ ...world.client, ...client });
    await node.attach({ ...world.server, ...server });
    const inForce = await node.policiesInForce();
    if (inForce !== policies) throw new Error(`the image holds ${inForce} policies instead of ${policies}`);
    const { switch: known, counts } = await node.status();
    site.say(
      `${inForce} policies in an image of ${Math.round((known?.imageBytes ?? 0) / 1024)} KB, ${counts.programs} programs`,
    );
    return {
      client,
      server,
      clusterIP: { ipv4: addresses.clusterIP, ports: servicePorts },
      processes: () => Object.values(node.processes),
      stop: () => stage.end(),
    };
  });
}

/** weft with options of the section `switch` of its configuration, for comparing settings. */
export function weftWith(
  name: string,
  policies: number,
  options: Readonly<Record<string, unknown>>,
): Contender {
  return { ...contender(policies), name, start: (site) => start(site, policies, options) };
}

export const weft: readonly Contender[] = [
  ...[0, 100, 1_000, 10_000].map((policies) => contender(policies)),
  contender(10_000, true),
  ...(['prompt', 'fifo'] as const).map((scheduling) => ({
    ...weftWith(`weft-10000-${scheduling}`, 10_000, { scheduling, nice: scheduling === 'prompt' ? -20 : 0 }),
    description: `weft with 10,000 policies, its worker in the scheduling class ${scheduling}.`,
  })),
];
