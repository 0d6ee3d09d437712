/**
 * Calico in iptables mode, as Felix renders it (felix/rules: endpoints.go, dispatch.go, policy.go, static.go), without tunnels, flow logs, DSCP
 * and host endpoints, IPv4: the least that it can have. For each pod of the node two chains, `cali-tw-` to it and `cali-fw-` from it, reached through a
 * shallow tree over interface names, each beginning with the accepting of established connections; the policies of a pod that share a selector are
 * a group; policies refer to ipsets by selector, so that policies with the same peers share one.
 */
import { createHash } from 'node:crypto';
import type { Contender, Site } from './contender.js';
import {
  filterChains,
  kubeProxyFilter,
  kubeProxyNat,
  natChains,
  restoreText,
  type TableText,
} from './kube-proxy.js';
import { onStage, run } from './site.js';
import { type KernelRunning, missing, routedPods, standing } from './veth.js';
import {
  type BenchWorld,
  benchWorld,
  type Direction,
  type WorldPod,
  type WorldPolicy,
  type WorldRule,
} from './world.js';

// Felix takes its bits from 0xffff0000 in this order: accept, pass, two to work with.
const accept = '0x10000/0x10000';
const isAccepted = `-m mark --mark ${accept}`;
const setAccept = `-j MARK --set-xmark ${accept}`;
const notPassed = '-m mark --mark 0/0x20000';
const noVerdict = '-m mark --mark 0/0x30000';

/** The tables and sets of a node. */
export interface CalicoState {
  /** Text for `ipset restore`. */
  readonly sets: string;
  /** Text for `iptables-restore`, kube-proxy's tables included. */
  readonly tables: string;
}

function calicoState(world: BenchWorld): CalicoState {
  const filter = new Table();
  const sets = new Map<string, readonly string[]>();
  forward(filter);
  dispatch(filter, world.local);
  for (const policy of world.policies) policyChains(filter, policy, sets);
  const policiesOfPod = new Map<WorldPod, WorldPolicy[]>();
  for (const policy of world.policies) {
    for (const pod of policy.targets) policiesOfPod.set(pod, [...(policiesOfPod.get(pod) ?? []), policy]);
  }
  for (const namespace of new Set(world.local.map(({ namespace }) => namespace)))
    profileChains(filter, namespace);
  for (const pod of world.local) {
    const policies = [...(policiesOfPod.get(pod) ?? [])].sort((a, b) => (a.name < b.name ? -1 : 1));
    endpointChain(filter, pod, 'ingress', policies);
    endpointChain(filter, pod, 'egress', policies);
  }
  sets.set('cali40all-ipam-pools', ['10.42.0.0/16']);
  sets.set('cali40masq-ipam-pools', ['10.42.0.0/16']);
  const text = [...sets].flatMap(([name, members]) => [
    `create ${name} hash:net family inet maxelem 1048576`,
    ...members.map((member) => `add ${name} ${member}`),
  ]);
  const tail = new Table();
  tail.rule('FORWARD', `${isAccepted} -j ACCEPT`, 'Policy explicitly accepted packet.');
  tail.rule('FORWARD', setAccept);
  const tables = [
    restoreText('raw', ['PREROUTING', 'OUTPUT'], rawTable()),
    restoreText('mangle', ['PREROUTING', 'INPUT', 'FORWARD', 'OUTPUT', 'POSTROUTING'], mangleTable()),
    restoreText('filter', filterChains, filter, kubeProxyFilter(), tail),
    restoreText('nat', natChains, natTable(), kubeProxyNat()),
  ];
  return { sets: `${text.join('\n')}\n`, tables: tables.join('') };
}

/** Collects rules; every rule carries Felix's comment with the hash by which it knows its own. */
class Table implements TableText {
  readonly chains: string[] = [];
  readonly rules: string[] = [];

  chain(name: string): void {
    this.chains.push(name);
  }

  rule(chain: string, rule: string, comment?: string): void {
    const told = comment === undefined ? '' : `-m comment --comment "${comment}" `;
    const hash = digest(`${chain} ${this.rules.length} ${rule}`).slice(0, 16);
    this.rules.push(`-A ${chain} -m comment --comment "cali:${hash}" ${told}${rule}`);
  }
}

function forward(filter: Table): void {
  for (const name of ['cali-FORWARD', 'cali-from-hep-forward', 'cali-to-hep-forward', 'cali-cidr-block'])
    filter.chain(name);
  filter.rule('FORWARD', '-j cali-FORWARD');
  filter.rule('cali-FORWARD', '-j MARK --set-xmark 0/0xe0000');
  filter.rule('cali-FORWARD', '-m mark --mark 0/0x10000 -j cali-from-hep-forward');
  filter.rule('cali-FORWARD', '-i cali+ -j cali-from-wl-dispatch');
  filter.rule('cali-FORWARD', '-o cali+ -j cali-to-wl-dispatch');
  filter.rule('cali-FORWARD', '-j cali-to-hep-forward');
  filter.rule('cali-FORWARD', '-j cali-cidr-block');
}

/** The tree over interface names, by the first character after `cali`. */
function dispatch(filter: Table, pods: readonly WorldPod[]): void {
  const names = pods.map(interfaceName).sort();
  for (const [root, option, prefix] of [
    ['cali-from-wl-dispatch', '-i', 'cali-fw-'],
    ['cali-to-wl-dispatch', '-o', 'cali-tw-'],
  ] as const) {
    filter.chain(root);
    const letters = [...new Set(names.map((name) => name.charAt(4)))];
    for (const letter of letters) {
      const those = names.filter((name) => name.charAt(4) === letter);
      if (those.length === 1) {
        filter.rule(root, `${option} ${those[0]} -g ${prefix}${those[0]}`);
        continue;
      }
      filter.chain(`${root}-${letter}`);
      filter.rule(root, `${option} cali${letter}+ -g ${root}-${letter}`);
      for (const name of those) filter.rule(`${root}-${letter}`, `${option} ${name} -g ${prefix}${name}`);
      filter.rule(`${root}-${letter}`, '-j DROP', 'Unknown interface');
    }
    filter.rule(root, '-j DROP', 'Unknown interface');
  }
}

/** Both chains of a policy; the one of a direction without rules holds a comment only. */
function policyChains(filter: Table, policy: WorldPolicy, sets: Map<string, readonly string[]>): void {
  for (const direction of ['ingress', 'egress'] as const) {
    const chain = policyChain(policy, direction);
    const comment = `NetworkPolicy ${policy.namespace}/${policy.name} ${direction}`;
    filter.chain(chain);
    const { rule } = policy;
    if (rule === null || rule.direction !== direction) {
      filter.rule(chain, '', comment);
      continue;
    }
    const name = setName(policy.namespace, rule);
    if (!sets.has(name))
      sets.set(
        name,
        rule.peers.map(({ ipv4 }) => ipv4),
      );
    const end = direction === 'ingress' ? 'src' : 'dst';
    rule.ports.forEach(({ protocol, first, last }, index) => {
      const ports = first === last ? first : `${first}:${last}`;
      const match = `-p ${protocol.toLowerCase()} -m set --match-set ${name} ${end} -m multiport --destination-ports ${ports}`;
      filter.rule(chain, `${match} ${setAccept}`, index === 0 ? comment : undefined);
      // A RETURN at the end of a chain is left out.
      if (index < rule.ports.length - 1) filter.rule(chain, `${isAccepted} -j RETURN`);
    });
  }
}

/** A namespace's and its default service account's profile; the first allows everything. */
function profileChains(filter: Table, namespace: string): void {
  for (const prefix of ['cali-pri-', 'cali-pro-']) {
    filter.chain(`${prefix}kns.${namespace}`);
    filter.rule(`${prefix}kns.${namespace}`, setAccept, `Profile kns.${namespace}`);
    filter.chain(`${prefix}ksa.${namespace}`);
    filter.rule(`${prefix}ksa.${namespace}`, '', `Profile ksa.${namespace}.default`);
  }
}

function endpointChain(
  filter: Table,
  pod: WorldPod,
  direction: Direction,
  policies: readonly WorldPolicy[],
): void {
  const ingress = direction === 'ingress';
  const chain = `${ingress ? 'cali-tw-' : 'cali-fw-'}${interfaceName(pod)}`;
  filter.chain(chain);
  filter.rule(chain, '-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT');
  filter.rule(chain, '-m conntrack --ctstate INVALID -j DROP');
  filter.rule(chain, '-j MARK --set-xmark 0/0x30000');
  if (!ingress) {
    filter.rule(
      chain,
      '-p udp -m multiport --destination-ports 4789 -j DROP',
      'Drop VXLAN encapped packets originating in workloads',
    );
    filter.rule(chain, '-p 4 -j DROP', 'Drop IPinIP encapped packets originating in workloads');
  }
  const selecting = policies.filter(({ directions }) => directions.includes(direction));
  if (selecting.length > 0) {
    filter.rule(chain, '-j MARK --set-xmark 0/0x20000', 'Start of tier default');
    const target =
      selecting.length === 1
        ? policyChain(selecting[0]!, direction)
        : groupChain(filter, pod, direction, selecting);
    filter.rule(chain, `${notPassed} -j ${target}`);
    filter.rule(chain, `${isAccepted} -j RETURN`, 'Return if policy accepted');
    filter.rule(chain, `${notPassed} -j DROP`, 'End of tier default. Drop if no policies passed packet');
  }
  for (const profile of [`kns.${pod.namespace}`, `ksa.${pod.namespace}`]) {
    filter.rule(chain, `-j ${ingress ? 'cali-pri-' : 'cali-pro-'}${profile}`);
    filter.rule(chain, `${isAccepted} -j RETURN`, 'Return if profile accepted');
  }
  filter.rule(chain, '-j DROP', 'Drop if no profiles matched');
}

/** Policies with one selector: a look at the verdict before every one, a return after every five. */
function groupChain(
  filter: Table,
  pod: WorldPod,
  direction: Direction,
  policies: readonly WorldPolicy[],
): string {
  const name = `${direction === 'ingress' ? 'cali-gi-' : 'cali-go-'}${digest(`group ${interfaceName(pod)} ${direction}`).slice(0, 20)}`;
  filter.chain(name);
  policies.forEach((policy, index) => {
    if (index > 0 && index % 5 === 0)
      filter.rule(name, '-m mark ! --mark 0/0x30000 -j RETURN', 'Return on verdict');
    filter.rule(name, `${index % 5 === 0 ? '' : `${noVerdict} `}-j ${policyChain(policy, direction)}`);
  });
  return name;
}

function rawTable(): Table {
  const raw = new Table();
  for (const name of ['cali-PREROUTING', 'cali-OUTPUT', 'cali-rpf-skip']) raw.chain(name);
  for (const name of ['cali-from-host-endpoint', 'cali-to-host-endpoint']) raw.chain(name);
  raw.rule('PREROUTING', '-j cali-PREROUTING');
  raw.rule('OUTPUT', '-j cali-OUTPUT');
  raw.rule('cali-PREROUTING', '-j MARK --set-xmark 0/0xf0000');
  raw.rule('cali-PREROUTING', '-i cali+ -j MARK --set-xmark 0x40000/0x40000');
  raw.rule('cali-PREROUTING', '-m mark --mark 0x40000/0x40000 -j cali-rpf-skip');
  raw.rule('cali-PREROUTING', '-m mark --mark 0x40000/0x40000 -m rpfilter --validmark --invert -j DROP');
  raw.rule('cali-PREROUTING', '-m mark --mark 0/0x40000 -j cali-from-host-endpoint');
  raw.rule('cali-PREROUTING', `${isAccepted} -j ACCEPT`);
  raw.rule('cali-OUTPUT', '-j MARK --set-xmark 0/0xf0000');
  raw.rule('cali-OUTPUT', '-j cali-to-host-endpoint');
  raw.rule('cali-OUTPUT', `${isAccepted} -j ACCEPT`);
  return raw;
}

function mangleTable(): Table {
  const mangle = new Table();
  for (const name of ['cali-PREROUTING', 'cali-POSTROUTING']) mangle.chain(name);
  for (const name of ['cali-from-host-endpoint', 'cali-to-host-endpoint']) mangle.chain(name);
  mangle.rule('PREROUTING', '-j cali-PREROUTING');
  mangle.rule('POSTROUTING', '-j cali-POSTROUTING');
  mangle.rule('cali-PREROUTING', '-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT');
  mangle.rule('cali-PREROUTING', `${isAccepted} -j ACCEPT`);
  mangle.rule('cali-PREROUTING', '-j cali-from-host-endpoint');
  mangle.rule('cali-PREROUTING', `${isAccepted} -j ACCEPT`, 'Host endpoint policy accepted packet.');
  mangle.rule('cali-POSTROUTING', `${isAccepted} -j RETURN`);
  mangle.rule('cali-POSTROUTING', '-j MARK --set-xmark 0/0xf0000');
  mangle.rule('cali-POSTROUTING', '-m conntrack --ctstate DNAT -j cali-to-host-endpoint');
  mangle.rule('cali-POSTROUTING', `${isAccepted} -j RETURN`, 'Host endpoint policy accepted packet.');
  return mangle;
}

function natTable(): Table {
  const nat = new Table();
  for (const name of ['cali-PREROUTING', 'cali-POSTROUTING', 'cali-OUTPUT']) nat.chain(name);
  for (const name of ['cali-fip-dnat', 'cali-fip-snat', 'cali-nat-outgoing']) nat.chain(name);
  nat.rule('PREROUTING', '-j cali-PREROUTING');
  nat.rule('OUTPUT', '-j cali-OUTPUT');
  nat.rule('POSTROUTING', '-j cali-POSTROUTING');
  nat.rule('cali-PREROUTING', '-j cali-fip-dnat');
  nat.rule('cali-OUTPUT', '-j cali-fip-dnat');
  nat.rule('cali-POSTROUTING', '-j cali-fip-snat');
  nat.rule('cali-POSTROUTING', '-j cali-nat-outgoing');
  nat.rule(
    'cali-nat-outgoing',
    '-m set --match-set cali40masq-ipam-pools src -m set ! --match-set cali40all-ipam-pools dst -j MASQUERADE --random-fully',
  );
  return nat;
}

const digest = (of: string): string =>
  createHash('sha256').update(of).digest('base64url').replaceAll('-', '_');
const interfaceName = ({ namespace, name }: WorldPod): string =>
  `cali${createHash('sha1').update(`${namespace}.${name}`).digest('hex').slice(0, 11)}`;
const setName = (namespace: string, { peerLabels }: WorldRule): string =>
  `cali40s:${digest(`set ${namespace} ${JSON.stringify(peerLabels)}`).slice(0, 23)}`;
const policyChain = ({ namespace, name }: WorldPolicy, direction: Direction): string =>
  `${direction === 'ingress' ? 'cali-pi-' : 'cali-po-'}${digest(`policy ${namespace}/${name}`).slice(0, 20)}`;

function start(site: Site, policies: number): Promise<KernelRunning> {
  return onStage(site, async (stage) => {
    const world = benchWorld(policies);
    const place = await routedPods(stage, {
      client: interfaceName(world.client),
      server: interfaceName(world.server),
    });
    const { sets, tables } = calicoState(world);
    await run('ipset', ['restore'], { netns: place.node, input: sets });
    await run('iptables-restore', [], { netns: place.node, input: tables });
    return standing(stage, place, true);
  });
}

export const calicoContenders: readonly Contender[] = [10, 1_000, 10_000].map((policies) => ({
  name: `calico-${policies}`,
  description: `Calico’s iptables chains and ipsets for ${policies.toLocaleString('en')} policies, on its routed veth pairs, with kube-proxy`,
  policies,
  enforces: true,
  packages: ['iptables', 'ipset'],
  unavailable: async () => missing('ip', 'iptables-restore', 'ipset'),
  start: (site: Site) => start(site, policies),
}));
