#include "packet/transport.h"

#include <array>

#include "header/icmp.h"
#include "header/sctp.h"
#include "header/tcp.h"
#include "header/udp.h"

namespace weft {

namespace {

// Flag combinations that a TCP sends, without PSH, ECE and CWR (the list of Linux' connection tracking, plus
// nothing).
constexpr std::array<bool, 64> make_valid_flags() {
  using namespace tcp_flag;
  std::array<bool, 64> valid{};
  for (const int flags : {kSyn + 0, kSyn | kUrg, kSyn | kAck, kRst + 0, kRst | kAck, kFin | kAck,
                          kFin | kAck | kUrg, kAck + 0, kAck | kUrg})
    valid[static_cast<size_t>(flags)] = true;
  return valid;
}
constexpr std::array<bool, 64> kValidFlags = make_valid_flags();

DropReason too_short(const Packet& packet, DropReason whole) {
  return packet.fragment == Fragment::first ? DropReason::fragment_first_short : whole;
}

// Sets ports and says whether both are real ones.
bool take_ports(Packet& packet, const uint8_t* l4) {
  packet.tuple.source_port = load_be16(l4);
  packet.tuple.destination_port = load_be16(l4 + 2);
  return packet.tuple.source_port != 0 && packet.tuple.destination_port != 0;
}

void set_payload(Packet& packet, uint32_t header_length) {
  packet.payload_offset = static_cast<uint16_t>(packet.l4_offset + header_length);
  packet.payload_length = packet.length - packet.payload_offset;
}

// The window scale option of a SYN (RFC 7323), 0xff where there is none. Malformed options end the search:
// they are the end points' business.
uint8_t window_scale(const uint8_t* options, uint32_t length) {
  for (uint32_t at = 0; at < length;) {
    const uint8_t kind = options[at];
    if (kind == 0) break;
    if (kind == 1) {
      ++at;
      continue;
    }
    if (at + 2 > length || options[at + 1] < 2 || options[at + 1] > length - at) break;
    if (kind == 3 && options[at + 1] == 3) return options[at + 2] > 14 ? 14 : options[at + 2];
    at += options[at + 1];
  }
  return 0xff;
}

DropReason parse_tcp(Packet& packet, uint32_t available) {
  if (available < kTcpMinLength) return too_short(packet, DropReason::tcp_malformed);
  uint8_t* l4 = packet.frame + packet.l4_offset;
  const TcpHeader tcp(l4);
  const uint32_t header_length = tcp.header_length();
  if (header_length < kTcpMinLength) return DropReason::tcp_malformed;
  if (header_length > available) return too_short(packet, DropReason::tcp_malformed);
  packet.tcp_flags = tcp.flags();
  if (!kValidFlags[packet.tcp_flags & 0x37]) return DropReason::tcp_flags;
  if (!take_ports(packet, l4)) return DropReason::port_zero;
  packet.tcp_sequence = tcp.sequence();
  packet.tcp_acknowledgement = tcp.acknowledgement();
  packet.tcp_window = tcp.window();
  packet.tcp_window_scale = (packet.tcp_flags & tcp_flag::kSyn) != 0
                                ? window_scale(l4 + kTcpMinLength, header_length - kTcpMinLength)
                                : uint8_t{0xff};
  set_payload(packet, header_length);
  return DropReason::none;
}

DropReason parse_udp(Packet& packet, uint32_t available) {
  if (available < kUdpLength) return too_short(packet, DropReason::udp_malformed);
  uint8_t* l4 = packet.frame + packet.l4_offset;
  const uint32_t length = UdpHeader(l4).length();
  if (length < kUdpLength || (packet.fragment == Fragment::none && length > available))
    return DropReason::udp_malformed;
  if (!take_ports(packet, l4)) return DropReason::port_zero;
  set_payload(packet, kUdpLength);
  // Bytes behind the datagram but inside of the IP packet are not its payload (RFC 768 gives the length its
  // say).
  if (length < available) packet.payload_length = length - kUdpLength;
  return DropReason::none;
}

DropReason parse_sctp(Packet& packet, uint32_t available) {
  if (available < kSctpLength + kSctpChunkLength) return too_short(packet, DropReason::sctp_malformed);
  uint8_t* l4 = packet.frame + packet.l4_offset;
  const SctpHeader sctp(l4);
  const uint32_t chunk_length = sctp.first_chunk_length();
  if (chunk_length < kSctpChunkLength ||
      (packet.fragment == Fragment::none && chunk_length > available - kSctpLength))
    return DropReason::sctp_malformed;
  if (!take_ports(packet, l4)) return DropReason::port_zero;
  packet.sctp_tag = sctp.verification_tag();
  packet.sctp_chunk = sctp.first_chunk_type();
  packet.sctp_chunk_flags = sctp.first_chunk_flags();
  packet.sctp_initiate_tag = 0;
  if (packet.sctp_chunk == sctp_chunk::kInit || packet.sctp_chunk == sctp_chunk::kInitAck) {
    if (chunk_length < 20) return DropReason::sctp_malformed;
    if (available < kSctpLength + 20) return too_short(packet, DropReason::sctp_malformed);
    packet.sctp_initiate_tag = sctp.initiate_tag();
  }
  set_payload(packet, kSctpLength);
  return DropReason::none;
}

}  // namespace

DropReason parse_transport(Packet& packet) {
  const uint32_t available = packet.length - packet.l4_offset;
  if (packet.fragment != Fragment::later) {
    const bool v4 = packet.tuple.family == 4;
    switch (static_cast<Protocol>(packet.tuple.protocol)) {
      case Protocol::tcp:
        return parse_tcp(packet, available);
      case Protocol::udp:
        return parse_udp(packet, available);
      case Protocol::sctp:
        return parse_sctp(packet, available);
      case Protocol::icmp:
      case Protocol::icmpv6:
        // ICMP over IPv6 and ICMPv6 over IPv4 are not these protocols: no stack reads them as such.
        if (v4 != (packet.tuple.protocol == static_cast<uint8_t>(Protocol::icmp))) break;
        if (available < kIcmpLength) return too_short(packet, DropReason::icmp_malformed);
        return parse_icmp(packet);
    }
  }
  set_payload(packet, 0);
  return DropReason::none;
}

}  // namespace weft
