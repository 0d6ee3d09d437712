#include "packet/rewrite.h"

#include <cstring>

#include "base/crc32c.h"
#include "header/icmp.h"
#include "header/ipv4.h"
#include "header/ipv6.h"
#include "header/sctp.h"
#include "header/tcp.h"
#include "header/udp.h"
#include "packet/checksum.h"

namespace weft {

namespace {

void update(uint8_t* field, const ChecksumDelta& delta) {
  store_native(field, delta.apply(load_native<uint16_t>(field)));
}

// A UDP checksum: 0 means "none" and stays; a computed 0 is written as its other form.
void update_udp(uint8_t* field, const ChecksumDelta& delta) {
  const auto old = load_native<uint16_t>(field);
  if (old == 0) return;
  const uint16_t updated = delta.apply(old);
  store_native<uint16_t>(field, updated == 0 ? uint16_t{0xffff} : updated);
}

// Writes the two addresses of an IP header at `l3` and returns what that changed.
inline ChecksumDelta write_addresses(uint8_t* l3, const FlowTuple& to) {
  ChecksumDelta delta;
  if (to.family == 4) {
    // An IPv4 address is the tail of its 16-byte form.
    uint8_t* const at = Ipv4Header(l3).source();
    const auto source = load_native<uint32_t>(to.source.bytes.data() + 12);
    const auto destination = load_native<uint32_t>(to.destination.bytes.data() + 12);
    delta.replace32(load_native<uint32_t>(at), source);
    delta.replace32(load_native<uint32_t>(at + 4), destination);
    store_native(at, source);
    store_native(at + 4, destination);
    return delta;
  }
  uint8_t* const at = Ipv6Header(l3).source();
  const auto replace = [&](uint8_t* field, const Address& address) {
    const auto words = address.words();
    for (size_t i = 0; i < 2; ++i) {
      delta.replace64(load_native<uint64_t>(field + 8 * i), words[i]);
      store_native(field + 8 * i, words[i]);
    }
  };
  replace(at, to.source);
  replace(at + 16, to.destination);
  return delta;
}

// Writes the two ports that start a TCP, UDP or SCTP header and returns what that changed.
ChecksumDelta write_ports(uint8_t* l4, const FlowTuple& to) {
  const uint32_t ports = big_endian(uint32_t{to.source_port} << 16 | to.destination_port);
  ChecksumDelta delta;
  delta.replace32(load_native<uint32_t>(l4), ports);
  store_native(l4, ports);
  return delta;
}

// The identifier of an echo. An unchanged one makes no difference at all: an echo reply can be all zeros with
// checksum 0xffff, the one message in which one's complement tells its two zeros apart and RFC 1624's sum
// would turn one into the other. (All else that is summed here has a type, a protocol or a version that is
// not zero.)
ChecksumDelta write_identifier(uint8_t* l4, uint16_t id) {
  ChecksumDelta delta;
  if (load_be16(l4 + 4) == id) return delta;
  uint8_t bytes[2];
  store_be16(bytes, id);
  delta.replace(l4 + 4, bytes, 2);
  std::memcpy(l4 + 4, bytes, 2);
  return delta;
}

void write_sctp_ports(Packet& packet, const FlowTuple& to) {
  uint8_t* l4 = packet.frame + packet.l4_offset;
  const uint32_t old_ports = load_le32(l4);
  SctpHeader sctp(l4);
  sctp.set_ports(to.source_port, to.destination_port);
  const size_t after = packet.length - packet.l4_offset - 4u;
  sctp.set_checksum(sctp.checksum() ^ crc32c_difference(old_ports ^ load_le32(l4), after));
}

bool same_ports(const FlowTuple& a, const FlowTuple& b) {
  return a.source_port == b.source_port && a.destination_port == b.destination_port;
}

bool is_echo(const Packet& packet) {
  if (packet.tuple.family == 4)
    return packet.icmp_type == icmp_type::kEchoRequest || packet.icmp_type == icmp_type::kEchoReply;
  return packet.icmp_type == icmpv6_type::kEchoRequest || packet.icmp_type == icmpv6_type::kEchoReply;
}

// TCP and UDP. Addresses are written; `addresses` is what that changed.
inline void rewrite_ports(Packet& packet, const FlowTuple& to, ChecksumDelta addresses) {
  uint8_t* l4 = packet.frame + packet.l4_offset;
  const bool tcp = to.protocol == static_cast<uint8_t>(Protocol::tcp);
  uint8_t* field = l4 + (tcp ? kTcpChecksumOffset : kUdpChecksumOffset);
  const ChecksumDelta ports = write_ports(l4, to);
  if (packet.needs_checksum()) {
    // The field holds the sum of the pseudo-header, in which there are no ports.
    store_native(field, addresses.apply_to_sum(load_native<uint16_t>(field)));
    return;
  }
  addresses.add(ports);
  tcp ? update(field, addresses) : update_udp(field, addresses);
}

// The same for the other protocols. Returns whether the packet's ports are now those
// of `to`.
bool rewrite_transport(Packet& packet, const FlowTuple& to, ChecksumDelta addresses) {
  uint8_t* l4 = packet.frame + packet.l4_offset;
  switch (static_cast<Protocol>(to.protocol)) {
    case Protocol::tcp:
    case Protocol::udp:
      break;
    case Protocol::sctp:
      if (!same_ports(packet.tuple, to)) write_sctp_ports(packet, to);
      return true;
    case Protocol::icmp:
      if (to.family != 4 || !is_echo(packet)) return false;
      update(l4 + kIcmpChecksumOffset, write_identifier(l4, to.source_port));
      return true;
    case Protocol::icmpv6: {
      if (to.family != 6) return false;
      const bool echo = is_echo(packet);
      if (echo) addresses.add(write_identifier(l4, to.source_port));
      update(l4 + kIcmpChecksumOffset, addresses);
      return echo;
    }
  }
  return false;
}

// Rewrites the quoted transport header as far as it was quoted; adds every change, checksums too, to `outer`.
void rewrite_quoted_transport(Packet& packet, const FlowTuple& to, ChecksumDelta addresses,
                              ChecksumDelta& outer) {
  const QuotedPacket& quoted = packet.quoted;
  uint8_t* l4 = packet.frame + quoted.l4_offset;
  uint8_t* field = nullptr;
  bool udp = false;
  ChecksumDelta change;
  switch (static_cast<Protocol>(to.protocol)) {
    case Protocol::tcp:
      change = write_ports(l4, to);
      if (quoted.l4_offset + kTcpChecksumOffset + 2 <= packet.length) field = l4 + kTcpChecksumOffset;
      break;
    case Protocol::udp:
      change = write_ports(l4, to);
      field = l4 + kUdpChecksumOffset;
      udp = true;
      break;
    case Protocol::sctp:
      outer.add(write_ports(l4, to));
      return;
    case Protocol::icmp:
      if (!quoted.has_ports) return;
      change = write_identifier(l4, to.source_port);
      addresses = ChecksumDelta{};  // no pseudo-header
      field = l4 + kIcmpChecksumOffset;
      break;
    case Protocol::icmpv6:
      if (quoted.has_ports) change = write_identifier(l4, to.source_port);
      field = l4 + kIcmpChecksumOffset;
      break;
  }
  outer.add(change);
  if (field == nullptr) return;
  addresses.add(change);
  const auto old = load_native<uint16_t>(field);
  udp ? update_udp(field, addresses) : update(field, addresses);
  outer.replace16(old, load_native<uint16_t>(field));
}

}  // namespace

DropReason rewrite(Packet& packet, const FlowTuple& to) {
  if (packet.kind != PacketKind::ip || to.family != packet.tuple.family ||
      to.protocol != packet.tuple.protocol || to.source.is_v4() != (to.family == 4) ||
      to.destination.is_v4() != (to.family == 4))
    return DropReason::internal;
  const bool later = packet.fragment == Fragment::later;
  if (packet.fragment == Fragment::first && to.protocol == static_cast<uint8_t>(Protocol::sctp) &&
      !same_ports(packet.tuple, to))
    return DropReason::sctp_fragment;

  uint8_t* l3 = packet.frame + packet.l3_offset;
  const ChecksumDelta addresses = write_addresses(l3, to);
  if (to.family == 4) update(l3 + 10, addresses);
  packet.tuple.source = to.source;
  packet.tuple.destination = to.destination;
  if (later) return DropReason::none;
  if (to.protocol == static_cast<uint8_t>(Protocol::tcp) ||
      to.protocol == static_cast<uint8_t>(Protocol::udp)) [[likely]] {
    rewrite_ports(packet, to, addresses);
    packet.tuple.source_port = to.source_port;
    packet.tuple.destination_port = to.destination_port;
    return DropReason::none;
  }
  if (!rewrite_transport(packet, to, addresses)) return DropReason::none;
  packet.tuple.source_port = to.source_port;
  const bool icmp = to.protocol == static_cast<uint8_t>(Protocol::icmp) ||
                    to.protocol == static_cast<uint8_t>(Protocol::icmpv6);
  packet.tuple.destination_port = icmp ? to.source_port : to.destination_port;
  if (icmp) packet.icmp_rest = (packet.icmp_rest & 0xffffu) | static_cast<uint32_t>(to.source_port) << 16;
  return DropReason::none;
}

EndChange change_of(const FlowTuple& from, const FlowTuple& to, uint32_t end) {
  const auto before = (end == 0 ? from.source : from.destination).words();
  EndChange change{.address = (end == 0 ? to.source : to.destination).words(),
                   .port = end == 0 ? to.source_port : to.destination_port};
  ChecksumDelta delta;
  for (size_t i = 0; i < before.size(); ++i) delta.replace64(before[i], change.address[i]);
  change.addresses = delta.folded();
  delta.replace16(big_endian(end == 0 ? from.source_port : from.destination_port), big_endian(change.port));
  change.all = delta.folded();
  return change;
}

DropReason rewrite_connection(Packet& packet, const FlowTuple& to) {
  const bool ports = to.protocol == static_cast<uint8_t>(Protocol::tcp) ||
                     to.protocol == static_cast<uint8_t>(Protocol::udp);
  if (!ports || packet.fragment == Fragment::later) [[unlikely]]
    return rewrite(packet, to);
  uint8_t* const l3 = packet.frame + packet.l3_offset;
  const ChecksumDelta addresses = write_addresses(l3, to);
  if (to.family == 4) update(l3 + 10, addresses);
  rewrite_ports(packet, to, addresses);
  packet.tuple = to;
  return DropReason::none;
}

DropReason rewrite_quoted(Packet& packet, const FlowTuple& to) {
  QuotedPacket& quoted = packet.quoted;
  if (packet.kind != PacketKind::ip || !packet.icmp_error || to.family != quoted.tuple.family ||
      to.protocol != quoted.tuple.protocol || to.source.is_v4() != (to.family == 4) ||
      to.destination.is_v4() != (to.family == 4))
    return DropReason::internal;
  uint8_t* l3 = packet.frame + quoted.l3_offset;
  const ChecksumDelta addresses = write_addresses(l3, to);
  ChecksumDelta outer = addresses;
  if (to.family == 4) {
    const auto old = load_native<uint16_t>(l3 + 10);
    update(l3 + 10, addresses);
    outer.replace16(old, load_native<uint16_t>(l3 + 10));
  }
  if (quoted.has_transport) rewrite_quoted_transport(packet, to, addresses, outer);
  update(packet.frame + packet.l4_offset + kIcmpChecksumOffset, outer);
  quoted.tuple.source = to.source;
  quoted.tuple.destination = to.destination;
  if (!quoted.has_ports) return DropReason::none;
  quoted.tuple.source_port = to.source_port;
  const bool icmp = to.protocol == static_cast<uint8_t>(Protocol::icmp) ||
                    to.protocol == static_cast<uint8_t>(Protocol::icmpv6);
  quoted.tuple.destination_port = icmp ? to.source_port : to.destination_port;
  return DropReason::none;
}

}  // namespace weft
