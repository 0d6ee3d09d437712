// ARP and IPv6 neighbour discovery (RFC 826, 4861, 4862) as the switch needs them: who speaks, for which
// address, with which MAC. parse() has checked lengths, hop limit 255, checksum and option framing; these
// only read.
#pragma once

#include "base/address.h"
#include "base/mac.h"
#include "packet/packet.h"

namespace weft {

struct ArpMessage {
  uint16_t operation = 0;  // ArpHeader::kRequest or kReply
  MacAddress sender_mac{};
  Address sender;  // 0.0.0.0 in a probe (RFC 5227)
  MacAddress target_mac{};
  Address target;
  [[nodiscard]] bool is_probe() const { return sender.is_unspecified(); }
};

struct NeighbourMessage {
  uint8_t type = 0;  // icmpv6_type::kRouterSolicitation .. kRedirect
  Address target;    // of neighbour messages and redirects, else ::
  bool has_link_address = false;
  MacAddress link_address{};   // source link-layer option of RS, RA and NS, target's of NA and redirect
  bool solicited = false;      // NA flag
  bool override_flag = false;  // NA flag
  bool is_probe = false;       // NS from :: (duplicate address detection)
};

// packet.kind must be arp.
[[nodiscard]] ArpMessage arp_message(const Packet& packet);
// packet.kind must be neighbour.
[[nodiscard]] NeighbourMessage neighbour_message(const Packet& packet);

}  // namespace weft
