/**
 * kube-proxy's rules in iptables mode, as they stand for one Service with one endpoint, the server pod, on `servicePorts`, TCP and UDP. Only a
 * connection's first packet walks the nat table. In the filter table its chains come after a policy controller's jump, which accepts or refuses before
 * them. Source of chains and order: kubernetes pkg/proxy/iptables/proxier.go.
 */
import { createHash } from 'node:crypto';
import { addresses, run } from './site.js';
import { servicePorts } from './world.js';

const clusterRange = '10.42.0.0/16';

/** Lines of a table for iptables-restore: chains to create, then rules in order. */
export interface TableText {
  readonly chains: readonly string[];
  readonly rules: readonly string[];
}

/** The text that loads a table whole, with its built-in chains accepting. */
export function restoreText(
  table: string,
  builtIn: readonly string[],
  ...parts: readonly TableText[]
): string {
  return `${[
    `*${table}`,
    ...builtIn.map((chain) => `:${chain} ACCEPT [0:0]`),
    ...parts.flatMap(({ chains }) => chains.map((chain) => `:${chain} - [0:0]`)),
    ...parts.flatMap(({ rules }) => rules),
    'COMMIT',
  ].join('\n')}\n`;
}

export const filterChains = ['INPUT', 'FORWARD', 'OUTPUT'] as const;
export const natChains = ['PREROUTING', 'INPUT', 'OUTPUT', 'POSTROUTING'] as const;

/** What kube-proxy has in the filter table. */
export function kubeProxyFilter(): TableText {
  const fresh = '-m conntrack --ctstate NEW';
  return {
    chains: [
      'KUBE-EXTERNAL-SERVICES',
      'KUBE-FIREWALL',
      'KUBE-FORWARD',
      'KUBE-NODEPORTS',
      'KUBE-PROXY-FIREWALL',
      'KUBE-SERVICES',
    ],
    rules: [
      `-A INPUT ${fresh} -m comment --comment "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL`,
      '-A INPUT -m comment --comment "kubernetes health check service ports" -j KUBE-NODEPORTS',
      `-A INPUT ${fresh} -m comment --comment "kubernetes externally-visible service portals" -j KUBE-EXTERNAL-SERVICES`,
      '-A INPUT -j KUBE-FIREWALL',
      `-A FORWARD ${fresh} -m comment --comment "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL`,
      '-A FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD',
      `-A FORWARD ${fresh} -m comment --comment "kubernetes service portals" -j KUBE-SERVICES`,
      `-A FORWARD ${fresh} -m comment --comment "kubernetes externally-visible service portals" -j KUBE-EXTERNAL-SERVICES`,
      `-A OUTPUT ${fresh} -m comment --comment "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL`,
      `-A OUTPUT ${fresh} -m comment --comment "kubernetes service portals" -j KUBE-SERVICES`,
      '-A OUTPUT -j KUBE-FIREWALL',
      '-A KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m comment --comment "block incoming localnet connections" -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP',
      '-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP',
      '-A KUBE-FORWARD -m comment --comment "kubernetes forwarding rules" -m mark --mark 0x4000/0x4000 -j ACCEPT',
      '-A KUBE-FORWARD -m comment --comment "kubernetes forwarding conntrack rule" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT',
    ],
  };
}

/** What kube-proxy has in the nat table. */
export function kubeProxyNat(): TableText {
  const chains = ['KUBE-MARK-MASQ', 'KUBE-NODEPORTS', 'KUBE-POSTROUTING', 'KUBE-SERVICES'];
  const entries: string[] = [];
  const services: string[] = [];
  for (const protocol of ['tcp', 'udp']) {
    for (const port of servicePorts) {
      const name = `bench/server:${protocol}-${port}`;
      const service = chainName('KUBE-SVC-', `${name}${protocol}`);
      const endpoint = chainName('KUBE-SEP-', `${name}${protocol}${addresses.server}:${port}`);
      const match = `-d ${addresses.clusterIP}/32 -p ${protocol} -m comment --comment "${name} cluster IP" -m ${protocol} --dport ${port}`;
      chains.push(service, endpoint);
      services.push(`-A KUBE-SERVICES ${match} -j ${service}`);
      entries.push(
        `-A ${service} ! -s ${clusterRange} ${match} -j KUBE-MARK-MASQ`,
        `-A ${service} -m comment --comment "${name} -> ${addresses.server}:${port}" -j ${endpoint}`,
        `-A ${endpoint} -s ${addresses.server}/32 -m comment --comment "${name}" -j KUBE-MARK-MASQ`,
        `-A ${endpoint} -p ${protocol} -m comment --comment "${name}" -m ${protocol} -j DNAT --to-destination ${addresses.server}:${port}`,
      );
    }
  }
  return {
    chains,
    rules: [
      '-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
      '-A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
      '-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING',
      '-A KUBE-MARK-MASQ -j MARK --or-mark 0x4000',
      '-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN',
      '-A KUBE-POSTROUTING -j MARK --xor-mark 0x4000',
      '-A KUBE-POSTROUTING -m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE --random-fully',
      ...services,
      '-A KUBE-SERVICES -m comment --comment "kubernetes service nodeports; NOTE: this must be the last rule in this chain" -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS',
      ...entries,
    ],
  };
}

/** Loads kube-proxy's tables, and nothing beside them, on a node. */
export async function loadKubeProxy(node: string): Promise<void> {
  const input =
    restoreText('filter', filterChains, kubeProxyFilter()) + restoreText('nat', natChains, kubeProxyNat());
  await run('iptables-restore', [], { netns: node, input });
}

/** Chain names of Kubernetes' components: a prefix and 16 characters of the base32 of a SHA-256. */
export function chainName(prefix: string, of: string): string {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
  const digest = createHash('sha256').update(of).digest();
  let name = prefix;
  let bits = 0;
  let held = 0;
  for (const byte of digest.subarray(0, 10)) {
    held = (held << 8) | byte;
    bits += 8;
    while (bits >= 5) {
      bits -= 5;
      name += alphabet[(held >> bits) & 31];
    }
    held &= (1 << bits) - 1;
  }
  return name;
}
