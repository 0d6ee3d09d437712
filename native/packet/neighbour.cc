#include "packet/neighbour.h"

#include "header/arp.h"
#include "header/icmp.h"

namespace weft {

namespace {

constexpr uint8_t kOptionSourceLinkAddress = 1;
constexpr uint8_t kOptionTargetLinkAddress = 2;

// Where options start: after the fixed part of each message (RFC 4861 section 4).
uint32_t fixed_length(uint8_t type) {
  switch (type) {
    case icmpv6_type::kRouterAdvertisement:
      return 16;
    case icmpv6_type::kNeighbourSolicitation:
    case icmpv6_type::kNeighbourAdvertisement:
      return 24;
    case icmpv6_type::kRedirect:
      return 40;
    default:
      return 8;
  }
}

}  // namespace

ArpMessage arp_message(const Packet& packet) {
  const ArpHeader arp(packet.frame + packet.l3_offset);
  return {arp.operation(), arp.sender_mac(), Address::v4_from(arp.sender_ip()), arp.target_mac(),
          Address::v4_from(arp.target_ip())};
}

NeighbourMessage neighbour_message(const Packet& packet) {
  const uint8_t* icmp = packet.frame + packet.l4_offset;
  const uint32_t length = packet.length - packet.l4_offset;
  NeighbourMessage message;
  message.type = packet.icmp_type;
  const uint32_t fixed = fixed_length(message.type);
  if (fixed >= 24) message.target = Address::v6_from(icmp + 8);
  const bool solicitation = message.type == icmpv6_type::kNeighbourSolicitation;
  const bool advertisement = message.type == icmpv6_type::kNeighbourAdvertisement;
  if (advertisement) {
    message.solicited = (icmp[4] & 0x40) != 0;
    message.override_flag = (icmp[4] & 0x20) != 0;
  }
  message.is_probe = solicitation && packet.tuple.source.is_unspecified();
  const uint8_t wanted = advertisement || message.type == icmpv6_type::kRedirect ? kOptionTargetLinkAddress
                                                                                 : kOptionSourceLinkAddress;
  // parse() checked that every option has a length and ends inside the message; the bound is repeated because
  // it costs nothing.
  for (uint32_t at = fixed; at + 8 <= length && icmp[at + 1] != 0; at += uint32_t{icmp[at + 1]} * 8) {
    if (icmp[at] != wanted) continue;
    message.has_link_address = true;
    std::memcpy(message.link_address.data(), icmp + at + 2, 6);
    break;
  }
  return message;
}

}  // namespace weft
