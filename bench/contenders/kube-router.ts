/**
 * The rules and sets of K3s' network policy controller (kube-router v2.6, pkg/controllers/netpol, which K3s embeds with its
 * defaults, IPv4): a chain for every policy of the cluster, a firewall chain for every pod of the node, four rules for every such pod in
 * KUBE-ROUTER-FORWARD, which a packet walks until its connection is found to be established or to its end.
 *
 * On routed pods, not in a bridge as K3s has them: that spares it br_netfilter. The
 * controller emits pods in random order; here the pods under test stand at a third and at two thirds of the list, where two drawn at
 * random stand on average. `iptables` is what the system's alternative says: nf_tables on Debian 12, which K3s uses too.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import type { Contender, Site } from './contender.js';
import {
  chainName,
  filterChains,
  kubeProxyFilter,
  kubeProxyNat,
  natChains,
  restoreText,
  type TableText,
} from './kube-proxy.js';
import { onStage, run } from './site.js';
import { type KernelRunning, missing, routedPods, standing } from './veth.js';
import { type BenchWorld, benchWorld, type WorldPod, type WorldPolicy } from './world.js';

/** One ipset of type hash:ip. */
export interface AddressSet {
  readonly name: string;
  readonly members: readonly string[];
}

/** What a full sync puts in place. */
export interface KubeRouterState {
  readonly sets: readonly AddressSet[];
  /** In the order in which the controller writes them, with its insertions (-I) as they are. */
  readonly filter: TableText;
}

const topLevel = { INPUT: 'KUBE-ROUTER-INPUT', FORWARD: 'KUBE-ROUTER-FORWARD', OUTPUT: 'KUBE-ROUTER-OUTPUT' };
/** The comment of the rule that ends each top-level chain, and that every sync moves to the end again. */
export const acceptComment = '"rule to explicitly ACCEPT traffic that comply to network policies"';

/** Chains that are made once, by single commands, and checked at every sync. */
export function standingChains(): TableText {
  return {
    chains: [...Object.values(topLevel), 'KUBE-NWPLCY-DEFAULT', 'KUBE-NWPLCY-COMMON'],
    rules: standingRules().map(({ chain, rule }) => `-A ${chain} ${rule}`),
  };
}

/** The rules in those chains, in order; each is looked up by itself at every sync. */
export function standingRules(): readonly { readonly chain: string; readonly rule: string }[] {
  const jumps = Object.entries(topLevel).map(([builtIn, chain]) => {
    const words = ['-m', 'comment', '--comment', 'kube-router netpol', '-j', chain];
    return { chain: builtIn, rule: positioned(builtIn, words) };
  });
  const input = [
    [
      '-m',
      'comment',
      '--comment',
      'allow traffic to primary/secondary cluster IP range',
      '-d',
      '10.43.0.0/16',
    ],
    ...['tcp', 'udp'].map((protocol) => [
      ...['-p', protocol, '-m', 'comment', '--comment'],
      `allow LOCAL ${protocol.toUpperCase()} traffic to node ports`,
      ...['-m', 'addrtype', '--dst-type', 'LOCAL', '-m', 'multiport', '--dports', '30000:32767'],
    ]),
  ].map((words) => ({ chain: topLevel.INPUT, rule: positioned(topLevel.INPUT, [...words, '-j', 'RETURN']) }));
  const common = [
    '-m comment --comment "rule to drop invalid state for pod" -m conntrack --ctstate INVALID -j DROP',
    '-m comment --comment "rule for stateful firewall for pod" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT',
    '-m comment --comment "allow icmp echo requests" -p icmp --icmp-type echo-request -j ACCEPT',
    '-m comment --comment "allow icmp destination unreachable messages" -p icmp --icmp-type destination-unreachable -j ACCEPT',
    '-m comment --comment "allow icmp time exceeded messages" -p icmp --icmp-type time-exceeded -j ACCEPT',
  ].map((rule) => ({ chain: 'KUBE-NWPLCY-COMMON', rule }));
  const mark =
    '-m comment --comment "rule to mark traffic matching a network policy" -j MARK --set-xmark 0x10000/0x10000';
  return [...jumps, ...input, ...common, { chain: 'KUBE-NWPLCY-DEFAULT', rule: mark }];
}

/** What a full sync builds for the world; `version` is the time of the sync and part of every chain's name. */
export function kubeRouterState(world: BenchWorld, version: string): KubeRouterState {
  const chains: string[] = [];
  const rules: string[] = [];
  const sets: AddressSet[] = [];
  const policiesOfPod = new Map<WorldPod, WorldPolicy[]>();
  for (const policy of world.policies) {
    chains.push(policyChain(policy, version));
    addPolicy(policy, version, rules, sets);
    for (const pod of policy.targets) {
      const policies = policiesOfPod.get(pod);
      if (policies === undefined) policiesOfPod.set(pod, [policy]);
      else policies.push(policy);
    }
  }
  for (const pod of world.local) {
    chains.push(podChain(pod, version));
    addPod(pod, version, policiesOfPod.get(pod) ?? [], rules);
  }
  for (const chain of Object.values(topLevel)) {
    rules.push(`-A ${chain} -m comment --comment ${acceptComment} -m mark --mark 0x20000/0x20000 -j ACCEPT`);
  }
  return { sets, filter: { chains, rules } };
}

function addPolicy(policy: WorldPolicy, version: string, rules: string[], sets: AddressSet[]): void {
  const id = policy.namespace + policy.name;
  const members = policy.targets.map(({ ipv4 }) => ipv4);
  const target = {
    ingress: chainName('KUBE-DST-', `${id}IPv4`),
    egress: chainName('KUBE-SRC-', `${id}IPv4`),
  };
  for (const direction of policy.directions) sets.push({ name: target[direction], members });
  const { rule } = policy;
  if (rule === null) return;
  const ingress = rule.direction === 'ingress';
  const peers = chainName(ingress ? 'KUBE-SRC-' : 'KUBE-DST-', `${id}${rule.direction}rule0IPv4pod`);
  sets.push({ name: peers, members: rule.peers.map(({ ipv4 }) => ipv4) });
  const [from, to] = ingress ? [peers, target.ingress] : [target.egress, peers];
  const comment = `"rule to ACCEPT traffic from source pods to dest pods selected by policy name ${policy.name} namespace ${policy.namespace}"`;
  const start = `-A ${policyChain(policy, version)} -m comment --comment ${comment} -m set --match-set ${from} src -m set --match-set ${to} dst`;
  for (const { protocol, first, last } of rule.ports) {
    const match = `${start} -p ${protocol} --dport ${first === last ? first : `${first}:${last}`}`;
    rules.push(`${match} -j MARK --set-xmark 0x10000/0x10000`);
    rules.push(`${match} -m mark --mark 0x10000/0x10000 -j RETURN`);
  }
}

function addPod(pod: WorldPod, version: string, policies: readonly WorldPolicy[], rules: string[]): void {
  const chain = podChain(pod, version);
  const first = `-I ${chain} 1`;
  for (const policy of policies) {
    const both = policy.directions.length === 2;
    const side = both ? '' : policy.directions[0] === 'ingress' ? `-d ${pod.ipv4} ` : `-s ${pod.ipv4} `;
    rules.push(
      `${first} ${side}-m comment --comment "run through nw policy ${policy.name}" -j ${policyChain(policy, version)}`,
    );
  }
  for (const [direction, side] of [
    ['ingress', '-d'],
    ['egress', '-s'],
  ] as const) {
    if (policies.some(({ directions }) => directions.includes(direction))) continue;
    const comment = `"run through default ${direction} network policy chain"`;
    rules.push(`${first} ${side} ${pod.ipv4} -m comment --comment ${comment} -j KUBE-NWPLCY-DEFAULT`);
  }
  rules.push(
    `${first} -m comment --comment "rule to permit the traffic traffic to pods when source is the pod's local node" -m addrtype --src-type LOCAL -d ${pod.ipv4} -j ACCEPT`,
    `${first} -m comment --comment "common bi-directional traffic policy rules" -j KUBE-NWPLCY-COMMON`,
  );
  const label = `POD name:${pod.name} namespace: ${pod.namespace}`;
  const inward = `-m comment --comment "rule to jump traffic destined to ${label} to chain ${chain}" -d ${pod.ipv4} -j ${chain}`;
  const outward = `-m comment --comment "rule to jump traffic from ${label} to chain ${chain}" -s ${pod.ipv4} -j ${chain}`;
  const bridged = '-m physdev --physdev-is-bridged';
  rules.push(
    `-A ${topLevel.FORWARD} ${inward}`,
    `-A ${topLevel.OUTPUT} ${inward}`,
    `-A ${topLevel.FORWARD} ${bridged} ${inward}`,
    ...Object.values(topLevel).map((chain) => `-A ${chain} ${outward}`),
    `-A ${topLevel.FORWARD} ${bridged} ${outward}`,
    `-A ${chain} -m comment --comment "rule to log dropped traffic ${label}" -m mark ! --mark 0x10000/0x10000 -j NFLOG --nflog-group 100 -m limit --limit 10/minute --limit-burst 10`,
    `-A ${chain} -m comment --comment "rule to REJECT traffic destined for ${label}" -m mark ! --mark 0x10000/0x10000 -j REJECT`,
    `-A ${chain} -j MARK --set-mark 0/0x10000`,
    `-A ${chain} -m comment --comment "set mark to ACCEPT traffic that comply to network policies" -j MARK --set-mark 0x20000/0x20000`,
  );
}

/** The rule with the 16 characters that the controller adds to its comment, to find the rule again. */
function positioned(chain: string, words: readonly string[]): string {
  const id = chainName('', chain + words.join(''));
  const at = words.indexOf('--comment') + 1;
  return words.map((word, index) => (index === at ? `"${word} - ${id}"` : word)).join(' ');
}

const policyChain = (policy: WorldPolicy, version: string): string =>
  chainName('KUBE-NWPLCY-', `${policy.namespace}${policy.name}${version}IPv4`);
const podChain = (pod: WorldPod, version: string): string =>
  chainName('KUBE-POD-FW-', `${pod.namespace}${pod.name}${version}`);

/** What a set is created with at the first time. */
export const firstSetOptions = 'hash:ip timeout 0';

/** The same sets as after a sync, loaded without the swaps: each waits for the kernel’s grace period, seconds at 10,000 policies. */
function plainSets(sets: readonly AddressSet[]): string {
  return `${sets
    .flatMap(({ name, members }) => [
      `create ${name} ${firstSetOptions}`,
      ...members.map((member) => `add ${name} ${member} timeout 0`),
    ])
    .join('\n')}\n`;
}

/** The version of the first sync. */
const firstVersion = '1700000000000000000';

const mostSets = '/sys/module/ip_set/parameters/max_sets';
const room = '32768';

/**
 * A namespace begins with room for 256 sets; the kernel makes more 64 at a time and waits for a grace period each time, which for 10,000 sets on a
 * busy machine was 12 of 20 seconds. What a new namespace begins with is a setting of the machine, raised while `make` makes one. No packet
 * notices.
 */
async function withRoomForSets<T>(make: () => Promise<T>): Promise<T> {
  if (!existsSync(mostSets)) return make();
  const before = readFileSync(mostSets, 'utf8').trim();
  writeFileSync(mostSets, room);
  try {
    return await make();
  } finally {
    // Two that overlap must not leave the first one's value behind.
    writeFileSync(mostSets, before === room ? '0' : before);
  }
}

function start(site: Site, policies: number): Promise<KernelRunning> {
  return onStage(site, async (stage) => {
    const place = await withRoomForSets(() => routedPods(stage));
    const { sets, filter } = kubeRouterState(benchWorld(policies), firstVersion);
    site.say(`${sets.length} ipsets, ${filter.rules.length} rules`);
    await run('ipset', ['restore'], { netns: place.node, input: plainSets(sets) });
    const input =
      restoreText('filter', filterChains, standingChains(), kubeProxyFilter(), filter) +
      restoreText('nat', natChains, kubeProxyNat());
    await run('iptables-restore', [], { netns: place.node, input });
    return standing(stage, place, true);
  });
}

export const kubeRouterContenders: readonly Contender[] = [10, 1_000, 10_000].map((policies) => ({
  name: `kube-router-${policies}`,
  description: `The iptables chains and ipsets of K3s’ policy controller for ${policies.toLocaleString('en')} policies, on routed veth pairs, with kube-proxy`,
  policies,
  enforces: true,
  packages: ['iptables', 'ipset'],
  unavailable: async () => missing('ip', 'iptables-restore', 'ipset'),
  start: (site: Site) => start(site, policies),
}));
