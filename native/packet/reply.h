// Answers that the switch itself gives. Each builds a whole frame in the caller's buffer, addressed to the
// port that `packet` came from (its source MAC), and returns the frame's length; its vnet header is all zeros
// (checksums are complete). 0 means: no answer may be sent, or `out` is too small (kMaxReplyLength bytes are
// always enough).
//
// When an error may be sent (RFC 1812 section 4.3.2.7, RFC 4443 section 2.4 (e)): never about an ICMP error
// or redirect, a later fragment, a packet whose source names no single node, one sent to a multicast or
// broadcast address (IP or link layer); IPv6 allows "packet too big" for a multicast destination. Rate limits
// are the caller's.
//
// Build an answer from the packet as it was received, before NAT and TTL: the sender must recognise what is
// quoted.
#pragma once

#include <cstdint>
#include <span>

#include "base/address.h"
#include "base/mac.h"
#include "packet/packet.h"

namespace weft {

// The longest error: Ethernet header and 1280 bytes of IPv6 (RFC 4443 section 2.4 (c)). An echo reply is as
// long as its request.
inline constexpr uint32_t kMaxReplyLength = 14 + 1280;

// "target is at mac", to the sender of an ARP request (packet.kind arp, operation request).
[[nodiscard]] uint32_t build_arp_reply(const Packet& packet, const MacAddress& mac, std::span<uint8_t> out);

// Answers a neighbour solicitation for its target: solicited, override, router. To a DAD probe: all-nodes,
// not solicited (the switch does not do that for a pod's own address).
[[nodiscard]] uint32_t build_neighbour_advertisement(const Packet& packet, const MacAddress& mac,
                                                     std::span<uint8_t> out);

// ICMP or ICMPv6 echo reply from the request's destination. 0 too where the request is a fragment or its
// checksum is wrong.
[[nodiscard]] uint32_t build_echo_reply(const Packet& packet, const MacAddress& mac, std::span<uint8_t> out);

// ICMP errors, from the switch's address `from` (of the packet's family).
enum class Unreachable : uint8_t { no_route, address, port, admin_prohibited };
[[nodiscard]] uint32_t build_unreachable(const Packet& packet, Unreachable what, const Address& from,
                                         const MacAddress& mac, std::span<uint8_t> out);
[[nodiscard]] uint32_t build_time_exceeded(const Packet& packet, const Address& from, const MacAddress& mac,
                                           std::span<uint8_t> out);
// Fragmentation needed (IPv4, code 4) or packet too big (IPv6); mtu in bytes of IP packet.
[[nodiscard]] uint32_t build_packet_too_big(const Packet& packet, uint32_t mtu, const Address& from,
                                            const MacAddress& mac, std::span<uint8_t> out);

// TCP reset from the packet's destination (RFC 9293 section 3.5.2). 0 for a reset, a fragment, and what is
// not TCP.
[[nodiscard]] uint32_t build_tcp_reset(const Packet& packet, const MacAddress& mac, std::span<uint8_t> out);

// SCTP ABORT from the packet's destination (RFC 9260 section 8.4). 0 for ABORT, SHUTDOWN COMPLETE, a
// fragment, and what is not SCTP.
[[nodiscard]] uint32_t build_sctp_abort(const Packet& packet, const MacAddress& mac, std::span<uint8_t> out);

}  // namespace weft
