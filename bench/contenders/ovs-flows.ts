/**
 * Network policy as OpenFlow: what a controller for Open vSwitch (Antrea, OVN) builds in outline. One connection tracking zone; packets of
 * an established connection go straight out; a new one is judged by egress and then by ingress policy, each a table, and committed. A rule
 * is a conjunctive match (ovs-fields(7)): pod, peer and port are three dimensions, so a policy costs the sum of its addresses and
 * ports, not their product. Flows that several rules share are one flow with an action for each.
 */
import type { BenchWorld, Direction, WorldPolicy, WorldPorts } from './world.js';

/** Tables of the pipeline. */
const table = { track: 0, state: 1, egress: 2, ingress: 3, out: 4 } as const;
const zone = 1;
/** OpenFlow port numbers of the two pods under test. */
export const podPorts = { client: 1, server: 2 } as const;

/** Lines for `ovs-ofctl add-flows`, sorted by table. The same world gives the same lines. */
export function policyFlows(world: BenchWorld): readonly string[] {
  const allowed = `ct(commit,zone=${zone}),goto_table:${table.out}`;
  return [
    `table=${table.track},priority=10,arp,actions=NORMAL`,
    `table=${table.track},priority=10,ip,actions=ct(zone=${zone},table=${table.state})`,
    `table=${table.state},priority=30,ct_state=+inv+trk,ip,actions=drop`,
    `table=${table.state},priority=20,ct_state=+est+trk,ip,actions=goto_table:${table.out}`,
    `table=${table.state},priority=20,ct_state=+rel+trk,ip,actions=goto_table:${table.out}`,
    `table=${table.state},priority=10,ct_state=+new+trk,ip,actions=goto_table:${table.egress}`,
    ...directionFlows(world.policies, 'egress', `goto_table:${table.ingress}`),
    ...directionFlows(world.policies, 'ingress', allowed),
    `table=${table.out},priority=10,ip,nw_dst=${world.client.ipv4},actions=output:${podPorts.client}`,
    `table=${table.out},priority=10,ip,nw_dst=${world.server.ipv4},actions=output:${podPorts.server}`,
  ];
}

/** One table: rules, then what isolates, then what lets pods pass that no policy isolates. */
function directionFlows(
  policies: readonly WorldPolicy[],
  direction: Direction,
  allowed: string,
): readonly string[] {
  const prefix = `table=${table[direction]}`;
  const [ofPod, ofPeer] = direction === 'egress' ? ['nw_src', 'nw_dst'] : ['nw_dst', 'nw_src'];
  const clauses = new Map<string, string[]>();
  const add = (match: string, clause: string): void => {
    const actions = clauses.get(match);
    if (actions === undefined) clauses.set(match, [clause]);
    else actions.push(clause);
  };
  const verdicts: string[] = [];
  const isolated = new Set<string>();
  let id = 0;
  for (const { targets, directions, rule } of policies) {
    if (directions.includes(direction)) for (const pod of targets) isolated.add(pod.ipv4);
    if (rule === null || rule.direction !== direction) continue;
    id++;
    for (const pod of targets) add(`ip,${ofPod}=${pod.ipv4}`, `conjunction(${id},1/3)`);
    for (const pod of rule.peers) add(`ip,${ofPeer}=${pod.ipv4}`, `conjunction(${id},2/3)`);
    for (const ports of rule.ports)
      for (const match of portMatches(ports)) add(match, `conjunction(${id},3/3)`);
    verdicts.push(`${prefix},priority=20,conj_id=${id},ip,actions=${allowed}`);
  }
  return [
    ...[...clauses].map(([match, actions]) => `${prefix},priority=20,${match},actions=${actions.join(',')}`),
    ...verdicts,
    ...[...isolated].map((ipv4) => `${prefix},priority=10,ip,${ofPod}=${ipv4},actions=drop`),
    `${prefix},priority=0,ip,actions=${allowed}`,
  ];
}

/** A range of ports as the fewest matches with a mask: `tcp,tp_dst=0x1388/0xfff8`. */
export function portMatches({ protocol, first, last }: WorldPorts): readonly string[] {
  const matches: string[] = [];
  for (let port = first; port <= last; ) {
    // The largest aligned block that starts here and does not go beyond the end.
    let size = port === 0 ? 65536 : port & -port;
    while (port + size - 1 > last) size /= 2;
    const mask = 65536 - size;
    matches.push(`${protocol.toLowerCase()},tp_dst=0x${port.toString(16)}/0x${mask.toString(16)}`);
    port += size;
  }
  return matches;
}
