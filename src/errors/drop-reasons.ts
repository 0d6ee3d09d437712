/**
 * The one list of drop reasons. A dropped packet has exactly one of these; the name is the metric label, the word
 * in `weft drops` and the C++ enumerator. `native/generated/drop_reason.h` is generated from this table.
 *
 * kind: `policy` a rule's absence denied it, `malformed` the frame is not what it claims to be, `spoof` the port sent what is not
 * its own, `limit` a bound was reached, `route` there is nowhere to send it, `noise` expected chatter that is nobody's fault.
 * Append only: numbers are part of the flow-event and counter formats.
 */
export type DropKind = 'policy' | 'malformed' | 'spoof' | 'limit' | 'route' | 'noise';

export interface DropReason {
  readonly name: string;
  readonly kind: DropKind;
  readonly help: string;
}

const reason = (name: string, kind: DropKind, help: string): DropReason => ({ name, kind, help });

export const dropReasons = [
  // policy
  reason(
    'policy-egress',
    'policy',
    'A policy isolates the source pod for egress and no rule allows this destination and port.',
  ),
  reason(
    'policy-ingress',
    'policy',
    'A policy isolates the destination pod for ingress and no rule allows this source and port.',
  ),
  reason(
    'no-image',
    'policy',
    'No policy has been published to this switch yet; nothing passes before the first state.',
  ),
  reason(
    'unknown-port-address',
    'policy',
    'The pod is not in the published policy state, so its traffic cannot be judged.',
  ),
  // malformed: link
  reason('frame-short', 'malformed', 'The frame is shorter than an Ethernet header.'),
  reason('vnet-header', 'malformed', 'The vnet header in front of the frame is inconsistent with the frame.'),
  reason(
    'vnet-gso-type',
    'malformed',
    "The vnet header's segmentation type is not that of the transport in the frame.",
  ),
  reason(
    'vnet-gso-size',
    'malformed',
    'The vnet header asks for segments that are implausibly small or large.',
  ),
  reason(
    'vnet-gso-fragment',
    'malformed',
    'The vnet header asks to segment a packet that is itself a fragment.',
  ),
  reason(
    'vnet-checksum-start',
    'malformed',
    "The vnet header's checksum start is not at the transport header.",
  ),
  reason(
    'ethertype',
    'noise',
    'The EtherType is none that pods are forwarded with (IPv4, IPv6, ARP, 802.1Q).',
  ),
  reason('vlan', 'malformed', 'The frame carries a VLAN tag other than priority tag 0.'),
  reason('arp-malformed', 'malformed', 'The ARP packet is too short or not for IPv4 over Ethernet.'),
  // malformed: network
  reason('ipv4-malformed', 'malformed', 'The IPv4 header is truncated or its lengths do not fit the frame.'),
  reason('ipv4-checksum', 'malformed', 'The IPv4 header checksum is wrong.'),
  reason('ipv4-options', 'malformed', 'An IPv4 option is malformed or is source routing.'),
  reason('ipv6-malformed', 'malformed', 'The IPv6 header is truncated or its length does not fit the frame.'),
  reason(
    'ipv6-extension',
    'malformed',
    'An IPv6 extension header is malformed, repeated too often or a routing header type 0.',
  ),
  reason(
    'address-invalid',
    'malformed',
    'A source or destination address is one that no forwarded packet may carry.',
  ),
  // malformed: transport
  reason(
    'tcp-malformed',
    'malformed',
    'The TCP header is truncated or its data offset is outside the packet.',
  ),
  reason('tcp-flags', 'malformed', 'The TCP flags are a combination that no TCP sends.'),
  reason('udp-malformed', 'malformed', 'The UDP header is truncated or its length does not fit the packet.'),
  reason('sctp-malformed', 'malformed', 'The SCTP header or its first chunk is truncated.'),
  reason('icmp-malformed', 'malformed', 'The ICMP or ICMPv6 header is truncated.'),
  reason(
    'transport-checksum',
    'malformed',
    'The transport checksum is wrong where the switch had to check it.',
  ),
  reason('port-zero', 'malformed', 'A transport port number is 0.'),
  // fragments
  reason('fragment-malformed', 'malformed', 'A fragment has an impossible offset or length.'),
  reason('fragment-first-short', 'malformed', 'The first fragment does not hold the whole transport header.'),
  reason(
    'fragment-overlap',
    'malformed',
    'A fragment overlaps another or starts inside the transport header.',
  ),
  reason('fragment-no-first', 'limit', 'A later fragment waited too long for its first fragment.'),
  reason('fragment-limit', 'limit', 'The port or the switch already holds as many fragments as configured.'),
  // anti-spoofing
  reason('spoof-mac', 'spoof', "The source MAC is not the port's own."),
  // The second case, seen: a proxy on the host sends a pod's connection back to a pod, or a pod speaks to an address of the node's pod CIDR that
  // nobody has and the host routes it back. Nothing tells either from a forged packet.
  reason(
    'spoof-ip',
    'spoof',
    "The source address is not one of the port's own. On the host's port: it is that of a pod of this node, whose packet the host has sent back unmasqueraded.",
  ),
  reason('spoof-arp', 'spoof', "The sender in an ARP packet is not the port's own MAC and address."),
  reason(
    'spoof-nd',
    'spoof',
    "A neighbour discovery packet speaks for an address that is not the port's own.",
  ),
  reason('router-advertisement', 'spoof', 'A pod sent a router advertisement or redirect.'),
  // expected noise
  reason('router-solicitation', 'noise', 'A router solicitation; pods are configured, nothing answers it.'),
  reason(
    'multicast-listener',
    'noise',
    'A multicast listener report (MLD/IGMP); the switch forwards no multicast.',
  ),
  reason('multicast', 'noise', 'The destination is multicast, which is not forwarded.'),
  reason('broadcast', 'noise', 'The destination is broadcast, which is not forwarded.'),
  reason('not-for-gateway', 'noise', "The frame's destination MAC is not the gateway's."),
  reason('neighbour-other', 'noise', 'ARP or neighbour solicitation for an address that is not the gateway.'),
  // routing
  reason('ttl-exceeded', 'route', 'TTL or hop limit reached zero; time exceeded was sent back.'),
  reason('no-route', 'route', 'No port, node or host has the destination address.'),
  reason('port-closed', 'route', 'The destination port is down or being removed.'),
  reason(
    'packet-too-big',
    'route',
    "The packet is larger than the destination's MTU and must not be fragmented.",
  ),
  reason('gateway-service', 'route', 'The gateway address itself serves nothing but ICMP echo.'),
  reason('service-no-endpoint', 'route', 'The Service has no ready endpoint; the client was told at once.'),
  reason('link-local', 'route', 'A link-local address does not leave its link.'),
  // connections
  reason('conntrack-invalid', 'malformed', 'The packet belongs to no connection and cannot start one.'),
  reason('conntrack-full', 'limit', 'The connection table is full and nothing in it may be evicted.'),
  reason('conntrack-quota', 'limit', 'The port has reached its quota of connections.'),
  reason('tcp-out-of-window', 'malformed', 'A TCP segment, often a reset, lies far outside of the window.'),
  reason('icmp-unrelated', 'malformed', 'An ICMP error quotes a packet of no known connection.'),
  reason('nat-port-exhausted', 'limit', 'No free source port was left to translate the connection to.'),
  // transmit and limits
  reason('tx-full', 'limit', "The destination's queue was full."),
  reason('tx-error', 'route', 'The kernel refused the write to the destination device.'),
  reason(
    'segment-failed',
    'malformed',
    'A large packet could not be segmented for a destination without offloads.',
  ),
  reason(
    'icmp-rate-limit',
    'limit',
    'An answer by the switch (ICMP, ARP, ND) was suppressed by its rate limit.',
  ),
  reason('internal', 'limit', 'A state that cannot be; the packet was dropped rather than guessed about.'),
  reason(
    'sctp-fragment',
    'limit',
    'A fragmented SCTP packet would need another port, and a fragment alone does not allow to renew its checksum.',
  ),
  reason('bandwidth', 'limit', "The destination pod's ingress bandwidth is used up."),
  // services
  reason(
    'service-port',
    'route',
    "The address is a Service's, which has no such port; the client was told at once.",
  ),
  reason(
    'service-no-local-endpoint',
    'route',
    'The Service has endpoints, but its traffic policy is Local and none is on the node asked.',
  ),
  reason(
    'service-source-range',
    'policy',
    "The client is in none of the Service's loadBalancerSourceRanges, so its load balancer's address takes nothing from it.",
  ),
  reason(
    'service-endpoint-gone',
    'route',
    "The connection's endpoint is gone; the client was told that the connection is closed.",
  ),
] as const satisfies readonly DropReason[];

export type DropReasonName = (typeof dropReasons)[number]['name'];

/** Names of the reasons that every pod's chatter has: no sign of anything wrong. */
export const noise: ReadonlySet<string> = new Set(
  dropReasons.filter(({ kind }) => kind === 'noise').map(({ name }) => name),
);
