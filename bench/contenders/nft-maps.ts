/**
 * The best nftables ruleset that we know for network policy: the hardest kernel competitor. Nothing in it is a list that grows.
 *
 * - A connection that was judged carries it in its conntrack mark, so that the policy of a packet of a known connection is one lookup of `ct state`
 *   or, while nobody answered yet (one-way UDP never becomes established), one comparison of `ct mark`.
 * - What is new goes through two verdict maps, from the source's and from the destination's address, to the chain of an isolated pod; there one
 *   lookup of address and port in that pod's set says whether any of its policies allows it. The set of a pod holds the union of what its policies
 *   allow, as a compiler would make it: one element for each peer and port range.
 * - The ClusterIP is a map from address, protocol and port to the pod's, as kube-proxy's nftables mode has it.
 *
 * A flowtable would let established packets pass round the forward hook. The kernels of small boards and cloud images often lack it (NF_FLOW_TABLE),
 * and what it forwards no policy change reaches before the flow ends, so it is not part of the ruleset.
 */
import type { Contender, Site } from './contender.js';
import { addresses, onStage, run } from './site.js';
import { type KernelRunning, missing, routedPods, standing } from './veth.js';
import { type BenchWorld, benchWorld, type Direction, servicePorts, type WorldPod } from './world.js';

/** Text for `nft -f -`. */
function nftRuleset(world: BenchWorld): string {
  const sets: string[] = [];
  const chains: string[] = [];
  const maps = { ingress: [] as string[], egress: [] as string[] };
  for (const direction of ['ingress', 'egress'] as const) {
    const allowed = allowedByPod(world, direction);
    for (const [pod, elements] of allowed) {
      const name = `${direction}-${pod.ipv4.replaceAll('.', '-')}`;
      const ranges = [...elements].some((element) => element.includes('-'));
      if (elements.size > 0)
        sets.push(
          `set ${name} { typeof ip saddr . meta l4proto . th dport; ${ranges ? 'flags interval; ' : ''}elements = { ${[...elements].join(', ')} }; }`,
        );
      const peer = direction === 'ingress' ? 'saddr' : 'daddr';
      const look =
        elements.size > 0
          ? `ip ${peer} . meta l4proto . th dport @${name} return; counter drop;`
          : 'counter drop;';
      chains.push(`chain ${name} { ${look} }`);
      maps[direction].push(`${pod.ipv4} : jump ${name}`);
    }
  }
  const services = ['tcp', 'udp'].flatMap((protocol) =>
    servicePorts.map(
      (port) => `${addresses.clusterIP} . ${protocol} . ${port} : ${addresses.server} . ${port}`,
    ),
  );
  const map = (direction: Direction) =>
    `map ${direction} { type ipv4_addr : verdict; elements = { ${maps[direction].join(', ')} }; }`;
  return [
    'table ip bench {',
    ...sets,
    ...chains,
    map('ingress'),
    map('egress'),
    `map services { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; elements = { ${services.join(', ')} }; }`,
    'chain forward {',
    'type filter hook forward priority filter; policy accept;',
    'ct state vmap { established : accept, related : accept, invalid : drop }',
    'ct mark 1 accept',
    'ip saddr vmap @egress',
    'ip daddr vmap @ingress',
    'ct mark set 1',
    '}',
    'chain services {',
    'type nat hook prerouting priority dstnat; policy accept;',
    'dnat to ip daddr . meta l4proto . th dport map @services',
    '}',
    '}',
    '',
  ].join('\n');
}

/** For every pod that a policy isolates in this direction: what its policies allow, one element a peer and port range. */
function allowedByPod(world: BenchWorld, direction: Direction): ReadonlyMap<WorldPod, ReadonlySet<string>> {
  const allowed = new Map<WorldPod, Set<string>>();
  for (const { directions, targets, rule } of world.policies) {
    if (!directions.includes(direction)) continue;
    for (const pod of targets) {
      const elements = allowed.get(pod) ?? new Set<string>();
      allowed.set(pod, elements);
      if (rule?.direction !== direction) continue;
      for (const { protocol, first, last } of rule.ports) {
        const ports = first === last ? first : `${first}-${last}`;
        for (const peer of rule.peers) elements.add(`${peer.ipv4} . ${protocol.toLowerCase()} . ${ports}`);
      }
    }
  }
  return allowed;
}

function start(site: Site, policies: number): Promise<KernelRunning> {
  return onStage(site, async (stage) => {
    const place = await routedPods(stage);
    await run('nft', ['-f', '-'], { netns: place.node, input: nftRuleset(benchWorld(policies)) });
    return standing(stage, place, true);
  });
}

export const nftMapsContenders: readonly Contender[] = [10, 1_000, 10_000].map((policies) => ({
  name: `nft-maps-${policies}`,
  description: `The best nftables ruleset we know for ${policies.toLocaleString('en')} policies: verdict maps, sets, verdicts kept in the conntrack mark`,
  policies,
  enforces: true,
  packages: ['nftables'],
  unavailable: async () => missing('ip', 'nft'),
  start: (site: Site) => start(site, policies),
}));
