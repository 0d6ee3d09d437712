/**
 * The one nft table of weft, as text: a pure function of what the node is and carries. It has no part in policy or in pod-to-pod traffic;
 * it does what has to happen where the host's own stack and the switch's port to it (`weft0`) meet:
 *
 * - `local-only`: with route_localnet a pod could send to the host's 127.0.0.1; nothing on the wire ever goes there.
 * - `ports-in`, `ports-own`: hostPort, for what arrives and for the host's own sockets. After kube-proxy's chains, as portmap's are and as the
 *   switch has it for pods: where a load balancer answers at the node's address by host ports of its own (K3s), its Service's endpoints get
 *   the client itself. Only for addresses that are the host's own, so that nobody else's traffic is caught.
 * - `unforged`: what the host forwards is not the host. Only its own sockets have its addresses, and the switch takes them for the node's, so
 *   a forwarded packet with one of those as its source is forged (IPv6 has no check for it; IPv4's depends on settings).
 * - `unmark`: kube-proxy marks what it means to masquerade. Towards pods of this node that would hide the client from their policy,
 *   and is not needed: the switch returns replies to where the connection came in. The host's own sockets have a source to reply to.
 *   Towards pods elsewhere the mark stays.
 * - `leaving`: pods leave the cluster with the host's address. Own sockets that speak from 127.0.0.1 or from weft0's own address get the
 *   node's, by which the switch knows them; whatever else is masqueraded towards pods comes from weft0's address and is a stranger's.
 *
 * Of the chains of one hook with NAT the first that translates has the connection (nf_nat_inet_fn), so priorities
 * are all the order that is needed. The table is replaced whole in one transaction; connections keep their translations.
 */
import { type Address, compareAddresses, type Family } from '../net/address.js';
import { type Cidr, compareBlocks } from '../net/cidr.js';
import { compareHostPorts, type HostPort } from './host-port.js';

export const tableName = 'weft';
/** kube-proxy's default `--iptables-masquerade-bit` 14. */
const masqueradeMark = 0x4000;

export interface HostState {
  /** The switch's port to the host: `weft0`. */
  readonly interface: string;
  /** What pods of this node have their addresses from, single addresses of former CIDRs included. */
  readonly pods: readonly Cidr[];
  /** The interface's own addresses. */
  readonly own: readonly Address[];
  /** The node's addresses; the first of each family is the one that its sockets are seen with. */
  readonly node: readonly Address[];
  /** Not masqueraded: addresses of the cluster's pods. */
  readonly cluster: readonly Cidr[];
  /** Addresses of all nodes; outside, even where a block of `cluster` has them. */
  readonly nodes: readonly Address[];
  readonly masquerade: boolean;
  readonly hostPorts: readonly HostPort[];
}

const keyword: Readonly<Record<Family, 'ip' | 'ip6'>> = { 4: 'ip', 6: 'ip6' };
const type: Readonly<Record<Family, string>> = { 4: 'ipv4_addr', 6: 'ipv6_addr' };
const transport = 'meta l4proto { tcp, udp, sctp }';

/** For `nft -f`: replaces the table, or makes it. */
export function tableText(state: HostState): string {
  const lines = [
    ...([4, 6] as const).flatMap((family) => setLines(state, family)),
    ...dnatLines(state),
    ...chain('local-only', 'filter hook prerouting priority raw', [
      `iifname "${state.interface}" ip daddr 127.0.0.0/8 drop`,
    ]),
    ...chain('unforged', 'filter hook forward priority -5', [
      `oifname "${state.interface}" fib saddr type local drop`,
    ]),
    ...chain('unmark', 'filter hook postrouting priority 94', unmarkRules(state)),
    ...chain('leaving', 'nat hook postrouting priority 95', snatRules(state)),
  ];
  const body = lines.map((line) => `  ${line}\n`).join('');
  return `table inet ${tableName}\ndelete table inet ${tableName}\ntable inet ${tableName} {\n${body}}\n`;
}

/** For `nft -f`: no table, whether there is one or not. */
export const noTableText = `table inet ${tableName}\ndelete table inet ${tableName}\n`;

/** Whether some port of the host is to answer at 127.0.0.1, which the kernel routes elsewhere only with route_localnet. */
export function needsLocalnet({ hostPorts }: HostState): boolean {
  return hostPorts.some(({ at, to }) => to.family === 4 && (at === null || at.words[3] >>> 24 === 127));
}

function chain(name: string, hook: string, rules: readonly string[]): string[] {
  if (rules.length === 0) return [];
  return [`chain ${name} {`, `  type ${hook}; policy accept;`, ...rules.map((rule) => `  ${rule}`), '}'];
}

const blocks = <T extends { readonly family: Family }>(list: readonly T[], family: Family): readonly T[] =>
  list.filter((one) => one.family === family);

function set(name: string, of: string, flags: string, elements: readonly string[]): string[] {
  return [
    `set ${name} {`,
    `  type ${of}`,
    ...(flags === '' ? [] : [`  ${flags}`]),
    `  elements = { ${elements.join(', ')} }`,
    '}',
  ];
}

function setLines(state: HostState, family: Family): string[] {
  const intervals = (name: string, list: readonly Cidr[]) => {
    const own = [...blocks(list, family)].sort(compareBlocks);
    const texts = [...new Set(own.map(({ text }) => text))];
    return texts.length === 0
      ? []
      : set(`${name}${family}`, type[family], 'flags interval; auto-merge', texts);
  };
  const nodes = [...new Set([...blocks(state.nodes, family)].sort(compareAddresses).map(({ text }) => text))];
  return [
    ...intervals('pods', state.pods),
    ...intervals('cluster', state.cluster),
    ...(nodes.length === 0 ? [] : set(`nodes${family}`, type[family], '', nodes)),
  ];
}

function dnatLines({ hostPorts }: HostState): string[] {
  if (hostPorts.length === 0) return [];
  const sorted = [...hostPorts].sort(compareHostPorts);
  const lines: string[] = [];
  const rules: string[] = [];
  for (const family of [4, 6] as const) {
    // The narrower first.
    for (const one of [true, false]) {
      const own = sorted.filter(({ to, at }) => to.family === family && (at !== null) === one);
      if (own.length === 0) continue;
      const name = `ports${family}${one ? '_at' : ''}`;
      const elements = new Map(
        own.map(({ protocol, port, at, to, toPort }) => [
          `${at === null ? '' : `${at.text} . `}${protocol.toLowerCase()} . ${port}`,
          `${to.text} . ${toPort}`,
        ]),
      );
      lines.push(
        `map ${name} {`,
        `  type ${one ? `${type[family]} . ` : ''}inet_proto . inet_service : ${type[family]} . inet_service`,
        `  elements = { ${[...elements].map(([key, value]) => `${key} : ${value}`).join(', ')} }`,
        '}',
      );
      const key = `${one ? `${keyword[family]} daddr . ` : ''}meta l4proto . th dport`;
      // ::1 cannot be routed to anywhere else.
      const match = family === 4 ? 'meta nfproto ipv4' : 'meta nfproto ipv6 ip6 daddr != ::1';
      rules.push(`${match} ${transport} dnat ${keyword[family]} addr . port to ${key} map @${name}`);
    }
  }
  return [
    ...lines,
    'chain ports {',
    ...rules.map((rule) => `  ${rule}`),
    '}',
    ...chain('ports-in', 'nat hook prerouting priority -95', [
      // What comes from a link for 127.0.0.1 is refused by the kernel where it routes. Led to a pod before that, it would not be.
      'ip daddr 127.0.0.0/8 return',
      'fib daddr type local jump ports',
    ]),
    ...chain('ports-own', 'nat hook output priority -95', ['fib daddr type local jump ports']),
  ];
}

function unmarkRules(state: HostState): string[] {
  const marked = `oifname "${state.interface}" meta mark & ${hex(masqueradeMark)} == ${hex(masqueradeMark)}`;
  const clear = `meta mark set meta mark & ${hex(~masqueradeMark >>> 0)}`;
  return [
    ...([4, 6] as const)
      .filter((family) => blocks(state.pods, family).length > 0)
      .map((family) => `${marked} ${keyword[family]} daddr @pods${family} ${clear}`),
    `${marked} fib saddr type local ${clear}`,
  ];
}

function snatRules(state: HostState): string[] {
  const rules: string[] = [];
  for (const family of [4, 6] as const) {
    const [node] = blocks(state.node, family);
    const own = [...blocks(state.own, family)].sort(compareAddresses).map(({ text }) => text);
    const sources = family === 4 ? ['127.0.0.0/8', ...own] : own;
    if (node !== undefined && sources.length > 0)
      rules.push(
        `oifname "${state.interface}" ${keyword[family]} saddr { ${sources.join(', ')} } snat ${keyword[family]} to ${node.text}`,
      );
  }
  if (!state.masquerade) return rules;
  for (const family of [4, 6] as const) {
    if (blocks(state.pods, family).length === 0) continue;
    const ip = keyword[family];
    const leaves = `oifname != { "${state.interface}", "lo" } ${ip} saddr @pods${family}`;
    if (blocks(state.nodes, family).length > 0)
      rules.push(`${leaves} ${ip} daddr @nodes${family} masquerade fully-random`);
    const outside = blocks(state.cluster, family).length > 0 ? ` ${ip} daddr != @cluster${family}` : '';
    rules.push(`${leaves}${outside} masquerade fully-random`);
  }
  return rules;
}

function hex(value: number): string {
  return `0x${value.toString(16).padStart(8, '0')}`;
}
