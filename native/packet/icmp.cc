// ICMP and ICMPv6: echo, errors with the packet that they quote, neighbour discovery.
#include "header/icmp.h"

#include "header/ipv4.h"
#include "header/ipv6.h"
#include "packet/checksum.h"
#include "packet/extension.h"
#include "packet/transport.h"

namespace weft {

namespace {

bool is_error(uint8_t family, uint8_t type) {
  using namespace icmp_type;
  if (family == 6) return type >= icmpv6_type::kUnreachable && type < icmpv6_type::kEchoRequest;
  return type == kUnreachable || type == kSourceQuench || type == kRedirect || type == kTimeExceeded ||
         type == kParameterProblem;
}

bool is_echo(uint8_t family, uint8_t type) {
  if (family == 6) return type == icmpv6_type::kEchoRequest || type == icmpv6_type::kEchoReply;
  return type == icmp_type::kEchoRequest || type == icmp_type::kEchoReply;
}

// Ports (or echo identifier) of the quoted transport. False where 8 bytes are not there or it is itself an
// error, which nobody may answer with an error (RFC 1122 section 3.2.2, RFC 4443 section 2.4 (e.1)).
bool take_quoted_transport(const uint8_t* l4, uint32_t available, QuotedPacket& quoted) {
  FlowTuple& tuple = quoted.tuple;
  switch (static_cast<Protocol>(tuple.protocol)) {
    case Protocol::tcp:
    case Protocol::udp:
    case Protocol::sctp:
      if (available < 8) return false;
      tuple.source_port = load_be16(l4);
      tuple.destination_port = load_be16(l4 + 2);
      quoted.has_ports = quoted.has_transport = true;
      return true;
    case Protocol::icmp:
    case Protocol::icmpv6:
      if ((tuple.family == 4) != (tuple.protocol == static_cast<uint8_t>(Protocol::icmp))) return true;
      if (available < 8 || is_error(tuple.family, l4[0])) return false;
      quoted.has_transport = true;
      if (is_echo(tuple.family, l4[0])) {
        tuple.source_port = tuple.destination_port = load_be16(l4 + 4);
        quoted.has_ports = true;
      }
      return true;
  }
  return true;
}

// The quoted packet is cut off anywhere after its first 8 transport bytes; its own lengths say nothing about
// what is here.
bool parse_quoted(Packet& packet, uint32_t at) {
  QuotedPacket& quoted = packet.quoted;
  quoted = QuotedPacket{};
  quoted.l3_offset = static_cast<uint16_t>(at);
  quoted.tuple.family = packet.tuple.family;
  const uint32_t available = packet.length - at;
  uint32_t l4 = 0;
  bool later = false;
  if (packet.tuple.family == 4) {
    if (available < kIpv4MinLength) return false;
    const Ipv4Header ip(packet.frame + at);
    const uint32_t header_length = ip.header_length();
    if (ip.version() != 4 || header_length < kIpv4MinLength || header_length > available) return false;
    quoted.tuple.source = Address::v4_from(ip.source());
    quoted.tuple.destination = Address::v4_from(ip.destination());
    quoted.tuple.protocol = ip.protocol();
    later = (ip.fragment_field() & Ipv4Header::kOffsetMask) != 0;
    l4 = at + header_length;
  } else {
    if (available < kIpv6HeaderLength) return false;
    const Ipv6Header ip(packet.frame + at);
    if (ip.version() != 6) return false;
    quoted.tuple.source = Address::v6_from(ip.source());
    quoted.tuple.destination = Address::v6_from(ip.destination());
    if (quoted.tuple.source.is_v4() || quoted.tuple.destination.is_v4()) return false;
    ExtensionChain chain;
    if (walk_extensions(packet.frame, at + kIpv6HeaderLength, packet.length, ip.next(), chain) !=
        ChainEnd::ok)
      return false;
    quoted.tuple.protocol = chain.protocol;
    later = chain.fragment_offset != 0;
    l4 = chain.end;
  }
  quoted.l4_offset = static_cast<uint16_t>(l4);
  return later || take_quoted_transport(packet.frame + l4, packet.length - l4, quoted);
}

// RFC 4861 sections 6.1, 7.1 and 8.1: what a node must check before it believes a message; RFC 6980 forbids
// fragments.
DropReason parse_neighbour(Packet& packet, uint32_t length) {
  if (packet.ttl != 255 || packet.icmp_code != 0 || packet.fragment != Fragment::none ||
      packet.atomic_fragment)
    return DropReason::icmp_malformed;
  uint32_t fixed = 8;
  if (packet.icmp_type == icmpv6_type::kRouterAdvertisement) fixed = 16;
  if (packet.icmp_type == icmpv6_type::kNeighbourSolicitation ||
      packet.icmp_type == icmpv6_type::kNeighbourAdvertisement)
    fixed = 24;
  if (packet.icmp_type == icmpv6_type::kRedirect) fixed = 40;
  if (length < fixed) return DropReason::icmp_malformed;
  const uint8_t* icmp = packet.frame + packet.l4_offset;
  if (fixed >= 24 && icmp[8] == 0xff) return DropReason::icmp_malformed;
  const bool unspecified = packet.tuple.source.is_unspecified();
  for (uint32_t at = fixed; at < length;) {
    if (length - at < 8) return DropReason::icmp_malformed;
    const uint8_t type = icmp[at];
    const uint32_t size = uint32_t{icmp[at + 1]} * 8;
    if (size == 0 || size > length - at) return DropReason::icmp_malformed;
    if ((type == 1 || type == 2) && size != 8) return DropReason::icmp_malformed;  // a MAC is 6 bytes
    if (type == 1 && unspecified) return DropReason::icmp_malformed;
    at += size;
  }
  if (packet.icmp_type == icmpv6_type::kNeighbourSolicitation && unspecified) {
    static constexpr uint8_t kSolicitedNode[13] = {0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff};
    if (std::memcmp(packet.tuple.destination.bytes.data(), kSolicitedNode, sizeof kSolicitedNode) != 0)
      return DropReason::icmp_malformed;
  }
  if (!transport_checksum_valid(packet)) return DropReason::transport_checksum;
  packet.kind = PacketKind::neighbour;
  return DropReason::none;
}

}  // namespace

DropReason parse_icmp(Packet& packet) {
  const uint8_t* l4 = packet.frame + packet.l4_offset;
  const uint32_t length = packet.length - packet.l4_offset;
  const uint8_t family = packet.tuple.family;
  packet.icmp_type = l4[0];
  packet.icmp_code = l4[1];
  packet.icmp_rest = load_be32(l4 + 4);
  packet.payload_offset = static_cast<uint16_t>(packet.l4_offset + kIcmpLength);
  packet.payload_length = length - kIcmpLength;
  if (is_echo(family, packet.icmp_type)) {
    packet.tuple.source_port = packet.tuple.destination_port = load_be16(l4 + 4);
    return DropReason::none;
  }
  if (is_error(family, packet.icmp_type)) {
    // Errors are kept short enough never to be fragmented (576 and 1280 bytes).
    if (packet.fragment != Fragment::none || !parse_quoted(packet, packet.payload_offset))
      return DropReason::icmp_malformed;
    packet.icmp_error = true;
    return DropReason::none;
  }
  if (family == 6 && packet.icmp_type >= icmpv6_type::kRouterSolicitation &&
      packet.icmp_type <= icmpv6_type::kRedirect)
    return parse_neighbour(packet, length);
  return DropReason::none;
}

}  // namespace weft
