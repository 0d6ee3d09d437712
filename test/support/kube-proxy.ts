/**
 * kube-proxy's rules for NodePort Services with one endpoint each, as its iptables and its nftables mode write them (1.21 to 1.33): the same
 * chains, marks and order, without what a single endpoint does not need (sessions, statistics). One family at a time, as kube-proxy.
 */
export interface NodePort {
  readonly nodePort: number;
  readonly clusterIP: string;
  readonly port: number;
  readonly to: string;
  readonly toPort: number;
}

/** For `iptables-restore --noflush`, or `ip6tables-restore`. */
export function kubeProxyIptables(ports: readonly NodePort[], clusterCidr: string): string {
  const whole = isSix(ports) ? 128 : 32;
  const end = (to: string, port: number) => (isSix(ports) ? `[${to}]:${port}` : `${to}:${port}`);
  const names = ports.map((_, index) => `X${index}`);
  const chains = names.flatMap((name) => [`KUBE-EXT-${name}`, `KUBE-SVC-${name}`, `KUBE-SEP-${name}`]);
  return `*filter
:KUBE-FORWARD - [0:0]
:KUBE-PROXY-FIREWALL - [0:0]
-A FORWARD -m conntrack --ctstate NEW -m comment --comment "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL
-A FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD
-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
-A KUBE-FORWARD -m comment --comment "kubernetes forwarding rules" -m mark --mark 0x4000/0x4000 -j ACCEPT
-A KUBE-FORWARD -m comment --comment "kubernetes forwarding conntrack rule" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
COMMIT
*nat
:KUBE-SERVICES - [0:0]
:KUBE-NODEPORTS - [0:0]
:KUBE-POSTROUTING - [0:0]
:KUBE-MARK-MASQ - [0:0]
${chains.map((chain) => `:${chain} - [0:0]`).join('\n')}
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING
-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0
-A KUBE-POSTROUTING -m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE --random-fully
${ports
  .map(({ nodePort, clusterIP, port, to, toPort }, index) => {
    const name = names[index];
    return `-A KUBE-SERVICES -d ${clusterIP}/${whole} -p tcp -m tcp --dport ${port} -j KUBE-SVC-${name}
-A KUBE-NODEPORTS -p tcp -m tcp --dport ${nodePort} -j KUBE-EXT-${name}
-A KUBE-EXT-${name} -m comment --comment "masquerade traffic for test/${name} external destinations" -j KUBE-MARK-MASQ
-A KUBE-EXT-${name} -j KUBE-SVC-${name}
-A KUBE-SVC-${name} ! -s ${clusterCidr} -d ${clusterIP}/${whole} -p tcp -m tcp --dport ${port} -j KUBE-MARK-MASQ
-A KUBE-SVC-${name} -j KUBE-SEP-${name}
-A KUBE-SEP-${name} -s ${to}/${whole} -j KUBE-MARK-MASQ
-A KUBE-SEP-${name} -p tcp -m tcp -j DNAT --to-destination ${end(to, toPort)}`;
  })
  .join('\n')}
-A KUBE-SERVICES -m comment --comment "kubernetes service nodeports" -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS
COMMIT
`;
}

/** For `nft -f`. */
export function kubeProxyNft(ports: readonly NodePort[], clusterCidr: string): string {
  const six = isSix(ports);
  const ip = six ? 'ip6' : 'ip';
  const end = (to: string, port: number) => (six ? `[${to}]:${port}` : `${to}:${port}`);
  const elements = (of: (port: NodePort, index: number) => string) => ports.map(of).join(', ');
  return `table ${ip} kube-proxy {
  map service-ips {
    type ${six ? 'ipv6_addr' : 'ipv4_addr'} . inet_proto . inet_service : verdict
    elements = { ${elements(({ clusterIP, port }, i) => `${clusterIP} . tcp . ${port} : goto service-X${i}`)} }
  }
  map service-nodeports {
    type inet_proto . inet_service : verdict
    elements = { ${elements(({ nodePort }, i) => `tcp . ${nodePort} : goto external-X${i}`)} }
  }
  chain mark-for-masquerade { meta mark set meta mark or 0x4000
  }
  chain masquerading {
    meta mark and 0x4000 == 0 return
    meta mark set meta mark xor 0x4000
    masquerade fully-random
  }
${ports
  .map(
    ({ clusterIP, port, to, toPort }, i) => `  chain endpoint-X${i} {
    ${ip} saddr ${to} jump mark-for-masquerade
    meta l4proto tcp dnat to ${end(to, toPort)}
  }
  chain service-X${i} {
    ${ip} daddr ${clusterIP} tcp dport ${port} ${ip} saddr != ${clusterCidr} jump mark-for-masquerade
    goto endpoint-X${i}
  }
  chain external-X${i} {
    jump mark-for-masquerade
    goto service-X${i}
  }`,
  )
  .join('\n')}
  chain services {
    ${ip} daddr . meta l4proto . th dport vmap @service-ips
    fib daddr type local ${six ? 'ip6 daddr != ::1' : 'ip daddr != 127.0.0.0/8'} meta l4proto . th dport vmap @service-nodeports
  }
  chain nat-prerouting {
    type nat hook prerouting priority dstnat; policy accept;
    jump services
  }
  chain nat-output {
    type nat hook output priority -100; policy accept;
    jump services
  }
  chain nat-postrouting {
    type nat hook postrouting priority srcnat; policy accept;
    jump masquerading
  }
}
`;
}

const isSix = (ports: readonly NodePort[]): boolean => ports[0]?.to.includes(':') === true;
