// Link and network layer; see parse.h for the whole.
#include "packet/parse.h"

#include <cstring>

#include "header/arp.h"
#include "header/ipv4.h"
#include "header/ipv6.h"
#include "packet/checksum.h"
#include "packet/extension.h"
#include "packet/offload.h"
#include "packet/transport.h"

namespace weft {

namespace {

DropReason parse_arp(Packet& packet, const VnetHeader& hostile) {
  packet.kind = PacketKind::arp;
  if (packet.length < packet.l3_offset + kArpLength) return DropReason::arp_malformed;
  const ArpHeader arp(packet.frame + packet.l3_offset);
  if (arp.hardware_type() != 1 || arp.protocol_type() != ethertype::kIpv4 || arp.hardware_length() != 6 ||
      arp.protocol_length() != 4)
    return DropReason::arp_malformed;
  if (arp.operation() != ArpHeader::kRequest && arp.operation() != ArpHeader::kReply)
    return DropReason::arp_malformed;
  if (hostile.gso_type != VnetHeader::kGsoNone) return DropReason::vnet_gso_type;
  if ((hostile.flags & VnetHeader::kNeedsChecksum) != 0) return DropReason::vnet_checksum_start;
  packet.length = packet.l3_offset + kArpLength;
  return DropReason::none;
}

// Addresses that no forwarded packet may carry (RFC 1122 section 3.2.1.3, RFC 1812 section 5.3.7). 0.0.0.0 is
// a source only for packets that stay on the link (DHCP, IGMP), which the switch drops as broadcast or
// multicast. 240.0.0.0/4 passes: clusters use it.
bool ipv4_addresses_valid(uint32_t source, uint32_t destination) {
  const bool to_many = destination == 0xffffffffu || destination >> 28 == 0xe;
  if (source >> 24 == 0) {
    if (source != 0 || !to_many) return false;
  }
  if (source >> 24 == 127 || source >> 28 == 0xe || source == 0xffffffffu) return false;
  return destination >> 24 != 0 && destination >> 24 != 127;
}

// In ::/64 lie the unspecified and the loopback address and the deprecated compatible and the mapped ones
// (RFC 4291 2.5).
bool ipv6_addresses_valid(const uint8_t* source, const uint8_t* destination) {
  if (source[0] == 0xff) return false;
  const bool to_many = destination[0] == 0xff;
  if (load_native<uint64_t>(source) == 0) {
    const uint32_t upper = load_be32(source + 8);
    if (upper == 0 || upper == 0xffff) {
      const bool unspecified = upper == 0 && load_be32(source + 12) == 0;
      if (!unspecified || !to_many) return false;
    }
  }
  if (load_native<uint64_t>(destination) == 0) {
    const uint32_t upper = load_be32(destination + 8);
    if (upper == 0 || upper == 0xffff) return false;
  }
  return true;
}

// RFC 791 section 3.1: each option but the two one-byte ones has a length that counts itself.
bool ipv4_options_valid(const uint8_t* p, uint32_t length) {
  for (uint32_t at = 0; at < length;) {
    if (p[at] == Ipv4Header::kOptionEnd) return true;
    if (p[at] == Ipv4Header::kOptionNop) {
      ++at;
      continue;
    }
    if (p[at] == Ipv4Header::kOptionLooseSourceRoute || p[at] == Ipv4Header::kOptionStrictSourceRoute)
      return false;
    if (at + 2 > length || p[at + 1] < 2 || p[at + 1] > length - at) return false;
    at += p[at + 1];
  }
  return true;
}

// Fills what fragments have in common. `room` is the largest payload that a reassembled packet may have.
DropReason classify_fragment(Packet& packet, uint32_t room) {
  packet.fragment = packet.fragment_offset == 0 ? Fragment::first : Fragment::later;
  const uint32_t length = packet.fragment_length;
  if (length == 0 || (packet.more_fragments && length % 8 != 0) || packet.fragment_offset + length > room)
    return DropReason::fragment_malformed;
  // RFC 1858: a fragment that starts inside the transport header could overwrite the flags that the first one
  // was judged by.
  const uint8_t protocol = packet.tuple.protocol;
  const uint32_t header = protocol == static_cast<uint8_t>(Protocol::tcp)    ? 20
                          : protocol == static_cast<uint8_t>(Protocol::sctp) ? 16
                                                                             : 8;
  if (packet.fragment_offset != 0 && packet.fragment_offset < header) return DropReason::fragment_overlap;
  return DropReason::none;
}

DropReason parse_ipv4(Packet& packet) {
  const uint32_t available = packet.length - kEthernetHeaderLength;
  if (available < kIpv4MinLength) return DropReason::ipv4_malformed;
  const Ipv4Header ip(packet.frame + kEthernetHeaderLength);
  const uint32_t header_length = ip.header_length();
  const uint32_t total_length = ip.total_length();
  if (ip.version() != 4 || header_length < kIpv4MinLength || total_length < header_length ||
      total_length > available)
    return DropReason::ipv4_malformed;
  const uint8_t* const bytes = packet.frame + kEthernetHeaderLength;
  const uint64_t sum =
      header_length == kIpv4MinLength ? sum_ipv4_header(bytes) : sum_bytes(bytes, header_length);
  if (fold(sum) != 0xffff) return DropReason::ipv4_checksum;
  if (header_length > kIpv4MinLength &&
      !ipv4_options_valid(packet.frame + kEthernetHeaderLength + kIpv4MinLength,
                          header_length - kIpv4MinLength))
    return DropReason::ipv4_options;
  if (!ipv4_addresses_valid(load_be32(ip.source()), load_be32(ip.destination())))
    return DropReason::address_invalid;

  packet.length = kEthernetHeaderLength + total_length;
  packet.l4_offset = static_cast<uint16_t>(kEthernetHeaderLength + header_length);
  packet.ttl = ip.ttl();
  packet.tos = ip.tos();
  packet.tuple.source = Address::v4_from(ip.source());
  packet.tuple.destination = Address::v4_from(ip.destination());
  packet.tuple.protocol = ip.protocol();
  packet.tuple.family = 4;
  const uint16_t field = ip.fragment_field();
  packet.dont_fragment = (field & Ipv4Header::kDontFragment) != 0;
  packet.fragment_id = ip.id();
  packet.fragment_offset = static_cast<uint32_t>(field & Ipv4Header::kOffsetMask) * 8;
  packet.more_fragments = (field & Ipv4Header::kMoreFragments) != 0;
  packet.fragment_length = total_length - header_length;
  if (packet.fragment_offset == 0 && !packet.more_fragments) return DropReason::none;
  return classify_fragment(packet, 0xffff - header_length);
}

DropReason parse_ipv6_extensions(Packet& packet) {
  ExtensionChain chain;
  const ChainEnd end =
      walk_extensions(packet.frame, packet.l4_offset, packet.length, packet.tuple.protocol, chain);
  packet.tuple.protocol = chain.protocol;
  packet.l4_offset = static_cast<uint16_t>(chain.end);
  if (end == ChainEnd::malformed) return DropReason::ipv6_extension;
  const bool whole = !chain.fragmented || (chain.fragment_offset == 0 && !chain.more);
  // RFC 7112: the first fragment holds the entire header chain.
  if (end == ChainEnd::truncated)
    return whole ? DropReason::ipv6_extension : DropReason::fragment_first_short;
  if (!chain.fragmented) return DropReason::none;
  packet.fragment_id = chain.fragment_id;
  packet.fragment_offset = chain.fragment_offset;
  packet.more_fragments = chain.more;
  packet.fragment_length = packet.length - chain.fragment_start;
  packet.atomic_fragment = whole;
  if (whole) return DropReason::none;
  const uint32_t unfragmentable =
      chain.fragment_start - kIpv6FragmentLength - kEthernetHeaderLength - kIpv6HeaderLength;
  return classify_fragment(packet, 0xffff - unfragmentable);
}

DropReason parse_ipv6(Packet& packet) {
  const uint32_t available = packet.length - kEthernetHeaderLength;
  if (available < kIpv6HeaderLength) return DropReason::ipv6_malformed;
  const Ipv6Header ip(packet.frame + kEthernetHeaderLength);
  const uint32_t payload_length = ip.payload_length();
  if (ip.version() != 6 || payload_length > available - kIpv6HeaderLength) return DropReason::ipv6_malformed;
  if (!ipv6_addresses_valid(ip.source(), ip.destination())) return DropReason::address_invalid;

  packet.length = kEthernetHeaderLength + kIpv6HeaderLength + payload_length;
  packet.l4_offset = kEthernetHeaderLength + kIpv6HeaderLength;
  packet.ttl = ip.hop_limit();
  packet.tos = ip.traffic_class();
  packet.tuple.source = Address::v6_from(ip.source());
  packet.tuple.destination = Address::v6_from(ip.destination());
  packet.tuple.protocol = ip.next();
  packet.tuple.family = 6;
  packet.dont_fragment = true;
  packet.fragment_id = 0;
  packet.fragment_offset = 0;
  packet.more_fragments = false;
  packet.fragment_length = payload_length;
  return is_extension_header(ip.next()) ? parse_ipv6_extensions(packet) : DropReason::none;
}

}  // namespace

DropReason parse(Packet& packet, const VnetHeader& hostile) {
  if (packet.length < kEthernetHeaderLength) return DropReason::frame_short;
  if (packet.capacity < packet.length) return DropReason::internal;
  if ((hostile.flags & ~(VnetHeader::kNeedsChecksum | VnetHeader::kDataValid)) != 0 ||
      hostile.hdr_len > packet.length)
    return DropReason::vnet_header;

  uint32_t removed = 0;  // bytes of VLAN tag taken off, which the vnet header's offsets still count
  uint16_t type = packet.ethernet().type();
  if (type == ethertype::kVlan) {
    if (packet.length < kEthernetHeaderLength + kVlanTagLength) return DropReason::frame_short;
    const uint16_t id = load_be16(packet.frame + kEthernetHeaderLength) & 0x0fff;
    type = load_be16(packet.frame + kEthernetHeaderLength + 2);
    if (id != 0 || type == ethertype::kVlan || type == ethertype::kServiceVlan) return DropReason::vlan;
    std::memmove(packet.frame + kVlanTagLength, packet.frame, 12);
    packet.frame += kVlanTagLength;
    packet.length -= kVlanTagLength;
    packet.capacity -= kVlanTagLength;
    removed = kVlanTagLength;
  } else if (type == ethertype::kServiceVlan) {
    return DropReason::vlan;
  }

  packet.vnet = VnetHeader{};
  packet.kind = PacketKind::ip;
  packet.fragment = Fragment::none;
  packet.atomic_fragment = false;
  packet.icmp_error = false;
  packet.l3_offset = kEthernetHeaderLength;
  packet.tuple.source_port = 0;
  packet.tuple.destination_port = 0;
  packet.tuple.reserved = 0;

  DropReason reason = DropReason::ethertype;
  if (type == ethertype::kIpv4) {
    reason = parse_ipv4(packet);
  } else if (type == ethertype::kIpv6) {
    reason = parse_ipv6(packet);
  } else if (type == ethertype::kArp) {
    return parse_arp(packet, hostile);
  }
  if (reason != DropReason::none) return reason;
  reason = parse_transport(packet);
  if (reason != DropReason::none) return reason;
  if ((hostile.flags & VnetHeader::kNeedsChecksum) == 0 && hostile.gso_type == VnetHeader::kGsoNone)
    return DropReason::none;
  return rebuild_offload(packet, hostile, removed);
}

bool addresses_valid(const FlowTuple& tuple) {
  const Address& source = tuple.source;
  const Address& destination = tuple.destination;
  return tuple.family == 4 ? ipv4_addresses_valid(source.v4_value(), destination.v4_value())
                           : ipv6_addresses_valid(source.bytes.data(), destination.bytes.data());
}

}  // namespace weft
