#include "packet/reply.h"

#include <algorithm>
#include <cstring>

#include "base/crc32c.h"
#include "header/arp.h"
#include "header/icmp.h"
#include "header/ipv4.h"
#include "header/ipv6.h"
#include "header/sctp.h"
#include "header/tcp.h"
#include "packet/checksum.h"
#include "packet/neighbour.h"

namespace weft {

namespace {

constexpr uint8_t kTtl = 64;
constexpr uint8_t kInternetworkControl = 0xc0;  // precedence of errors, RFC 1812 section 4.3.2.5

// Network-layer header of an answer; addresses in the 16-byte form, both of `family`.
struct AnswerHeader {
  Address source;
  Address destination;
  uint8_t family = 4;
  uint8_t protocol = 0;
  uint8_t tos = 0;
  uint8_t ttl = kTtl;
  uint16_t id = 0;
};

uint32_t network_header_length(uint8_t family) {
  return family == 4 ? kIpv4MinLength : kIpv6HeaderLength;
}

void write_ethernet(uint8_t* out, const MacAddress& to, const MacAddress& from, uint16_t type) {
  EthernetHeader ethernet(out);
  ethernet.set_destination(to);
  ethernet.set_source(from);
  ethernet.set_type(type);
}

// Ethernet and IP header for `transport_length` bytes that follow. Returns the pseudo-header sum (0 for ICMP
// over IPv4, which has none).
uint64_t write_headers(uint8_t* out, const Packet& packet, const MacAddress& mac, const AnswerHeader& header,
                       uint32_t transport_length) {
  const bool v4 = header.family == 4;
  write_ethernet(out, packet.ethernet().source(), mac, v4 ? ethertype::kIpv4 : ethertype::kIpv6);
  uint8_t* l3 = out + kEthernetHeaderLength;
  if (v4) {
    Ipv4Header ip(l3);
    ip.set_version_and_length(kIpv4MinLength);
    ip.set_tos(header.tos);
    ip.set_total_length(static_cast<uint16_t>(kIpv4MinLength + transport_length));
    ip.set_id(header.id);
    ip.set_fragment_field(header.id == 0 ? Ipv4Header::kDontFragment : uint16_t{0});
    ip.set_ttl(header.ttl);
    ip.set_protocol(header.protocol);
    ip.set_checksum(0);
    std::memcpy(ip.source(), header.source.bytes.data() + 12, 4);
    std::memcpy(ip.destination(), header.destination.bytes.data() + 12, 4);
    store_native(l3 + 10, finish_checksum(sum_bytes(l3, kIpv4MinLength)));
    if (header.protocol == static_cast<uint8_t>(Protocol::icmp)) return 0;
    return pseudo_header_sum(ip.source(), ip.destination(), 4, header.protocol, transport_length);
  }
  Ipv6Header ip(l3);
  ip.set_version_and_class(header.tos);
  ip.set_payload_length(static_cast<uint16_t>(transport_length));
  ip.set_next(header.protocol);
  ip.set_hop_limit(header.ttl);
  std::memcpy(ip.source(), header.source.bytes.data(), 16);
  std::memcpy(ip.destination(), header.destination.bytes.data(), 16);
  return pseudo_header_sum(ip.source(), ip.destination(), 6, header.protocol, transport_length);
}

bool names_one_node(const Address& address) {
  if (address.is_unspecified()) return false;
  if (!address.is_v4()) return address.bytes[0] != 0xff;
  const uint32_t value = address.v4_value();
  return value >> 28 != 0xe && value != 0xffffffffu;
}

// Whether the packet's sender may be told anything at all about it.
bool may_answer(const Packet& packet, bool group_allowed) {
  if (packet.kind == PacketKind::arp || !names_one_node(packet.tuple.source)) return false;
  if (group_allowed) return true;
  return names_one_node(packet.tuple.destination) && !packet.ethernet().destination_is_group();
}

bool may_send_error(const Packet& packet, bool group_allowed) {
  if (packet.kind != PacketKind::ip || packet.icmp_error || packet.fragment == Fragment::later) return false;
  return may_answer(packet, group_allowed);
}

uint32_t build_error(const Packet& packet, uint8_t type, uint8_t code, uint32_t rest, const Address& from,
                     const MacAddress& mac, std::span<uint8_t> out, bool group_allowed = false) {
  const uint8_t family = packet.tuple.family;
  if (!may_send_error(packet, group_allowed) || from.is_v4() != (family == 4)) return 0;
  const uint32_t network = network_header_length(family);
  // RFC 1812 section 4.3.2.3 and RFC 4443 section 3: as much as fits without the error exceeding what every
  // path carries.
  const uint32_t room = (family == 4 ? 576u : 1280u) - network - kIcmpLength;
  const uint32_t quote = std::min(packet.length - packet.l3_offset, room);
  const uint32_t l4 = kEthernetHeaderLength + network;
  const uint32_t length = l4 + kIcmpLength + quote;
  if (out.size() < length) return 0;
  const auto protocol = static_cast<uint8_t>(family == 4 ? Protocol::icmp : Protocol::icmpv6);
  const AnswerHeader header{from, packet.tuple.source, family, protocol,
                            family == 4 ? kInternetworkControl : uint8_t{0}};
  const uint64_t sum = write_headers(out.data(), packet, mac, header, kIcmpLength + quote);
  uint8_t* bytes = out.data() + l4;
  IcmpHeader icmp(bytes);
  icmp.set_type_and_code(type, code);
  icmp.set_checksum(0);
  icmp.set_rest(rest);
  std::memcpy(bytes + kIcmpLength, packet.frame + packet.l3_offset, quote);
  store_native(bytes + kIcmpChecksumOffset, finish_checksum(sum_bytes(bytes, kIcmpLength + quote, sum)));
  return length;
}

uint8_t unreachable_code(Unreachable what, uint8_t family) {
  const bool v4 = family == 4;
  switch (what) {
    case Unreachable::no_route:
      return v4 ? icmp_code::kNetUnreachable : icmpv6_code::kNoRoute;
    case Unreachable::address:
      return v4 ? icmp_code::kHostUnreachable : icmpv6_code::kAddressUnreachable;
    case Unreachable::port:
      return v4 ? icmp_code::kPortUnreachable : icmpv6_code::kPortUnreachable;
    case Unreachable::admin_prohibited:
      break;
  }
  return v4 ? icmp_code::kAdminProhibited : icmpv6_code::kAdminProhibited;
}

// From the packet's destination to its source.
AnswerHeader back_to_sender(const Packet& packet) {
  return {packet.tuple.destination, packet.tuple.source, packet.tuple.family, packet.tuple.protocol};
}

bool is_whole(const Packet& packet, Protocol protocol) {
  return packet.kind == PacketKind::ip && packet.fragment == Fragment::none &&
         packet.tuple.protocol == static_cast<uint8_t>(protocol);
}

}  // namespace

uint32_t build_arp_reply(const Packet& packet, const MacAddress& mac, std::span<uint8_t> out) {
  constexpr uint32_t length = kEthernetHeaderLength + kArpLength;
  if (packet.kind != PacketKind::arp || out.size() < length) return 0;
  const ArpHeader request(packet.frame + packet.l3_offset);
  if (request.operation() != ArpHeader::kRequest) return 0;
  write_ethernet(out.data(), packet.ethernet().source(), mac, ethertype::kArp);
  ArpHeader reply(out.data() + kEthernetHeaderLength);
  reply.set_fixed(ArpHeader::kReply);
  reply.set_sender(mac, request.target_ip());
  reply.set_target(request.sender_mac(), request.sender_ip());
  return length;
}

uint32_t build_neighbour_advertisement(const Packet& packet, const MacAddress& mac, std::span<uint8_t> out) {
  constexpr uint32_t kMessage = 32;  // fixed part and one target link-layer address option
  constexpr uint32_t l4 = kEthernetHeaderLength + kIpv6HeaderLength;
  if (packet.kind != PacketKind::neighbour || packet.icmp_type != icmpv6_type::kNeighbourSolicitation ||
      out.size() < l4 + kMessage)
    return 0;
  const NeighbourMessage request = neighbour_message(packet);
  AnswerHeader header{request.target, packet.tuple.source, 6, static_cast<uint8_t>(Protocol::icmpv6)};
  header.ttl = 255;
  static constexpr uint8_t kAllNodes[16] = {0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
  if (request.is_probe) header.destination = Address::v6_from(kAllNodes);
  const uint64_t sum = write_headers(out.data(), packet, mac, header, kMessage);
  if (request.is_probe) EthernetHeader(out.data()).set_destination({0x33, 0x33, 0, 0, 0, 1});
  uint8_t* bytes = out.data() + l4;
  IcmpHeader icmp(bytes);
  icmp.set_type_and_code(icmpv6_type::kNeighbourAdvertisement, 0);
  icmp.set_checksum(0);
  constexpr uint32_t kRouter = 0x80000000u, kSolicited = 0x40000000u, kOverride = 0x20000000u;
  icmp.set_rest(kRouter | kOverride | (request.is_probe ? 0 : kSolicited));
  std::memcpy(bytes + 8, request.target.bytes.data(), 16);
  bytes[24] = 2;  // target link-layer address
  bytes[25] = 1;  // in units of 8 bytes
  std::memcpy(bytes + 26, mac.data(), 6);
  store_native(bytes + kIcmpChecksumOffset, finish_checksum(sum_bytes(bytes, kMessage, sum)));
  return l4 + kMessage;
}

uint32_t build_echo_reply(const Packet& packet, const MacAddress& mac, std::span<uint8_t> out) {
  const uint8_t family = packet.tuple.family;
  const Protocol protocol = family == 4 ? Protocol::icmp : Protocol::icmpv6;
  const uint8_t request = family == 4 ? icmp_type::kEchoRequest : icmpv6_type::kEchoRequest;
  if (!is_whole(packet, protocol) || packet.icmp_type != request || packet.icmp_code != 0 ||
      !may_answer(packet, false) || !transport_checksum_valid(packet))
    return 0;
  const uint32_t l4 = kEthernetHeaderLength + network_header_length(family);
  const uint32_t message = packet.length - packet.l4_offset;
  if (out.size() < l4 + message) return 0;
  AnswerHeader header = back_to_sender(packet);
  header.tos = packet.tos;
  if (family == 4) header.id = Ipv4Header(packet.frame + packet.l3_offset).id();
  const uint64_t sum = write_headers(out.data(), packet, mac, header, message);
  uint8_t* bytes = out.data() + l4;
  std::memcpy(bytes, packet.frame + packet.l4_offset, message);
  IcmpHeader icmp(bytes);
  icmp.set_type_and_code(family == 4 ? icmp_type::kEchoReply : icmpv6_type::kEchoReply, 0);
  icmp.set_checksum(0);
  store_native(bytes + kIcmpChecksumOffset, finish_checksum(sum_bytes(bytes, message, sum)));
  return l4 + message;
}

uint32_t build_unreachable(const Packet& packet, Unreachable what, const Address& from, const MacAddress& mac,
                           std::span<uint8_t> out) {
  const uint8_t family = packet.tuple.family;
  const uint8_t type = family == 4 ? icmp_type::kUnreachable : icmpv6_type::kUnreachable;
  return build_error(packet, type, unreachable_code(what, family), 0, from, mac, out);
}

uint32_t build_time_exceeded(const Packet& packet, const Address& from, const MacAddress& mac,
                             std::span<uint8_t> out) {
  const uint8_t type = packet.tuple.family == 4 ? icmp_type::kTimeExceeded : icmpv6_type::kTimeExceeded;
  return build_error(packet, type, 0, 0, from, mac, out);
}

uint32_t build_packet_too_big(const Packet& packet, uint32_t mtu, const Address& from, const MacAddress& mac,
                              std::span<uint8_t> out) {
  if (packet.tuple.family == 4)
    return build_error(packet, icmp_type::kUnreachable, icmp_code::kFragmentationNeeded,
                       std::min(mtu, 0xffffu), from, mac, out);
  return build_error(packet, icmpv6_type::kPacketTooBig, 0, mtu, from, mac, out, true);
}

uint32_t build_tcp_reset(const Packet& packet, const MacAddress& mac, std::span<uint8_t> out) {
  if (!is_whole(packet, Protocol::tcp) || (packet.tcp_flags & tcp_flag::kRst) != 0 ||
      !may_answer(packet, false))
    return 0;
  const uint32_t l4 = kEthernetHeaderLength + network_header_length(packet.tuple.family);
  if (out.size() < l4 + kTcpMinLength) return 0;
  const uint64_t sum = write_headers(out.data(), packet, mac, back_to_sender(packet), kTcpMinLength);
  uint8_t* bytes = out.data() + l4;
  std::memset(bytes, 0, kTcpMinLength);
  TcpHeader tcp(bytes);
  tcp.set_ports(packet.tuple.destination_port, packet.tuple.source_port);
  tcp.set_header_length(kTcpMinLength);
  if ((packet.tcp_flags & tcp_flag::kAck) != 0) {
    tcp.set_sequence(packet.tcp_acknowledgement);
    tcp.set_flags(tcp_flag::kRst);
  } else {
    tcp.set_acknowledgement(packet.tcp_sequence + packet.tcp_sequence_length());
    tcp.set_flags(tcp_flag::kRst | tcp_flag::kAck);
  }
  store_native(bytes + kTcpChecksumOffset, finish_checksum(sum_bytes(bytes, kTcpMinLength, sum)));
  return l4 + kTcpMinLength;
}

uint32_t build_sctp_abort(const Packet& packet, const MacAddress& mac, std::span<uint8_t> out) {
  constexpr uint32_t kMessage = kSctpLength + kSctpChunkLength;
  if (!is_whole(packet, Protocol::sctp) || !may_answer(packet, false)) return 0;
  if (packet.sctp_chunk == sctp_chunk::kAbort || packet.sctp_chunk == sctp_chunk::kShutdownComplete) return 0;
  const uint32_t l4 = kEthernetHeaderLength + network_header_length(packet.tuple.family);
  if (out.size() < l4 + kMessage) return 0;
  // An INIT says which tag its sender expects; of any other packet the tag is reflected, marked by the T bit.
  const bool init = packet.sctp_chunk == sctp_chunk::kInit;
  const uint32_t tag = init ? packet.sctp_initiate_tag : packet.sctp_tag;
  if (init && tag == 0) return 0;
  write_headers(out.data(), packet, mac, back_to_sender(packet), kMessage);
  uint8_t* bytes = out.data() + l4;
  std::memset(bytes, 0, kMessage);
  SctpHeader sctp(bytes);
  sctp.set_ports(packet.tuple.destination_port, packet.tuple.source_port);
  sctp.set_verification_tag(tag);
  bytes[kSctpLength] = sctp_chunk::kAbort;
  bytes[kSctpLength + 1] = init ? 0 : 1;
  store_be16(bytes + kSctpLength + 2, kSctpChunkLength);
  sctp.set_checksum(crc32c(bytes, kMessage));
  return l4 + kMessage;
}

}  // namespace weft
