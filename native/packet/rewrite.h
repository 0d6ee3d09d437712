// In-place rewriting of a parsed packet: NAT, TTL, MAC. Checksums are updated from the difference alone (RFC
// 1624, CRC linearity): the payload is not touched, a partial checksum stays partial, and a checksum that was
// wrong stays wrong, so that the receiver still sees damage that happened before the switch.
//
// What is rewritten where:
//   * addresses: every packet, later fragments too (their transport header is not there).
//   * ports: TCP, UDP, SCTP, and the identifier of an ICMP echo, in whole packets and first fragments. A
//   first fragment's transport
//     checksum covers the whole packet, but the difference is in this fragment, so the update is right.
//   * UDP checksum 0 ("none") stays 0; a computed 0 is written as 0xffff (RFC 768).
//   * SCTP: the CRC32c does not cover addresses; for new ports it is updated, which needs the length of the
//   whole SCTP packet.
//     A first fragment does not tell it: refused with DropReason::sctp_fragment (SCTP avoids IP
//     fragmentation, RFC 9260 6.9).
//   * an ICMP error: outer addresses by rewrite(), the quoted packet by rewrite_quoted(), each updating the
//   checksums that cover it.
#pragma once

#include "base/bytes.h"
#include "base/mac.h"
#include "generated/drop_reason.h"
#include "header/tcp.h"
#include "header/udp.h"
#include "packet/checksum.h"
#include "packet/packet.h"

namespace weft {

// Makes the packet's addresses and ports those of `to` (same family and protocol as packet.tuple; anything
// else is a bug and returns DropReason::internal). packet.tuple is `to` afterwards. On a later fragment the
// ports of `to` are ignored; on an ICMP error and any protocol without ports, too. For an echo,
// to.source_port is the new identifier. Returns none, or a reason and then nothing was changed.
[[nodiscard]] DropReason rewrite(Packet& packet, const FlowTuple& to);

// The same for a tuple that the connection table holds for this packet: family and protocol are the packet's
// by its rules, and are not looked at again.
[[nodiscard]] DropReason rewrite_connection(Packet& packet, const FlowTuple& to);

// What becomes of one end of every packet of one direction of a connection of TCP or UDP, known from its
// beginning: the new end, and by how much the one's complement sums change.
struct EndChange {
  std::array<uint64_t, 2> address{};  // words of an Address
  uint16_t port = 0;                  // host order
  uint16_t addresses = 0;             // change of the sum of the addresses
  uint16_t all = 0;                   // of addresses and ports
  friend bool operator==(const EndChange&, const EndChange&) = default;
};
// `end`: the one (0 source, 1 destination) at which `to` differs from `from`.
[[nodiscard]] EndChange change_of(const FlowTuple& from, const FlowTuple& to, uint32_t end);

// Writes the new end into the frame: the destination (`end` 1) of what a client of a Service sends, the
// source (0) of what it is answered. A whole packet of TCP or UDP. packet.tuple stays what it was. Inlined
// and made for each end: with a choice for each field it would be half as much again.
template <uint32_t end>
[[gnu::always_inline]] inline void rewrite_end(Packet& packet, const EndChange& change) {
  uint8_t* const l3 = packet.frame + kEthernetHeaderLength;
  uint8_t* const l4 = packet.frame + packet.l4_offset;
  if (packet.tuple.family == 4) {
    // An IPv4 address is the tail of its 16-byte form.
    store_native(l3 + 12 + 4 * end, static_cast<uint32_t>(change.address[1] >> 32));
    store_native(l3 + 10, apply_change(load_native<uint16_t>(l3 + 10), change.addresses));
  } else {
    store_native(l3 + 8 + 16 * end, change.address[0]);
    store_native(l3 + 16 + 16 * end, change.address[1]);
  }
  store_be16(l4 + 2 * end, change.port);
  const bool tcp = packet.tuple.protocol == static_cast<uint8_t>(Protocol::tcp);
  uint8_t* const field = l4 + (tcp ? kTcpChecksumOffset : kUdpChecksumOffset);
  const auto old = load_native<uint16_t>(field);
  if (packet.needs_checksum()) {
    // The field holds the sum of the pseudo-header, in which there are no ports.
    store_native(field, apply_change_to_sum(old, change.addresses));
    return;
  }
  // UDP: 0 means "none" and stays; a computed 0 is written as its other form.
  if (!tcp && old == 0) return;
  const uint16_t updated = apply_change(old, change.all);
  store_native<uint16_t>(field, !tcp && updated == 0 ? uint16_t{0xffff} : updated);
}

// Makes the quoted packet's addresses and ports those of `to`: quoted IPv4 header checksum, quoted transport
// checksum where the quote reaches that far, and the ICMP checksum around them. A quoted SCTP CRC is left as
// it is: the quote is cut, and nobody can verify it. packet.icmp_error must be true (else
// DropReason::internal).
[[nodiscard]] DropReason rewrite_quoted(Packet& packet, const FlowTuple& to);

// Takes one from TTL or hop limit. False, and nothing changed, where that would leave 0 (RFC 1812
// section 5.3.1).
[[nodiscard]] inline bool decrement_ttl(Packet& packet) {
  if (packet.kind != PacketKind::ip || packet.ttl <= 1) return false;
  uint8_t* l3 = packet.frame + packet.l3_offset;
  packet.ttl = static_cast<uint8_t>(packet.ttl - 1);
  if (packet.tuple.family == 6) {
    l3[7] = packet.ttl;
    return true;
  }
  l3[8] = packet.ttl;
  // RFC 1624 for a word that became smaller by one in its upper octet: the checksum grows by as much, and
  // both 0xffff and what is beyond it go once around.
  const uint32_t grown = uint32_t{load_native<uint16_t>(l3 + 10)} + big_endian(uint16_t{0x0100});
  store_native(l3 + 10, static_cast<uint16_t>(grown + (grown >= 0xffff ? 1 : 0)));
  return true;
}

inline void set_macs(Packet& packet, const MacAddress& source, const MacAddress& destination) {
  EthernetHeader ethernet = packet.ethernet();
  ethernet.set_source(source);
  ethernet.set_destination(destination);
}

}  // namespace weft
