// Ties a frame to its sender. A pod sends only from its own MAC and addresses; whatever else policy decides
// rests on that.
#include "header/icmp.h"
#include "switch/address_kind.h"
#include "switch/forwarder.h"

namespace weft {
namespace {

// Neither multicast, nor broadcast, nor, in IPv6, link-local: none of the questions below is about it. In
// IPv4 224.0.0.0 and what follows is left to them, though most of it is ordinary.
bool is_ordinary(const Address& address, uint8_t family) {
  return family == 4 ? address.v4_value() < 0xe0000000u : address.bytes[0] < 0xfe;
}
constexpr MacAddress kBroadcastMac = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

}  // namespace

DropReason Forwarder::check_link(const Passage& way) const noexcept {
  const EthernetHeader ethernet = way.packet.ethernet();
  if (!ethernet.source_is(way.in.spec.mac)) return DropReason::spoof_mac;
  if (ethernet.destination_is(settings_.gateway_mac)) return DropReason::none;
  if (!ethernet.destination_is_group()) return DropReason::not_for_gateway;
  // ARP and neighbour discovery speak to groups; for the rest check_addresses has the words.
  return DropReason::none;
}

DropReason Forwarder::check_addresses(const Passage& way) const noexcept {
  const Packet& packet = way.packet;
  const Address& source = packet.tuple.source;
  const Address& destination = packet.tuple.destination;

  // A pod's own address to somewhere that is neither a group nor on its link: nearly every packet.
  const bool group = packet.ethernet().destination_is_group();
  if (!group && way.in.spec.kind == PortKind::pod && is_ordinary(destination, packet.tuple.family) &&
      way.view.routes.find(source) == &way.in && !is_gateway(source)) [[likely]]
    return DropReason::none;

  // Expected chatter first: its source may be :: or link-local, which is no spoofing.
  if (group || is_multicast(destination)) {
    constexpr uint8_t kIgmp = 2;
    const uint8_t type = packet.icmp_type;
    const bool listener =
        packet.tuple.family == 4
            ? packet.tuple.protocol == kIgmp
            : packet.tuple.protocol == static_cast<uint8_t>(Protocol::icmpv6) &&
                  (type == icmpv6_type::kListenerQuery || type == icmpv6_type::kListenerReport ||
                   type == icmpv6_type::kListenerDone || type == icmpv6_type::kListenerReport2);
    if (listener) return DropReason::multicast_listener;
    return packet.ethernet().destination() == kBroadcastMac ? DropReason::broadcast : DropReason::multicast;
  }
  if (destination == Address::v4(0xffffffff)) return DropReason::broadcast;

  if (is_gateway(source)) return DropReason::spoof_ip;
  const Port* owner = way.view.routes.find(source);
  if (way.in.spec.kind == PortKind::pod) {
    // A pod's own link-local address may speak to the gateway (echo), and nobody else is on that link.
    if (owner != &way.in) {
      if (packet.tuple.family == 4 || !is_link_local(source)) return DropReason::spoof_ip;
      if (!is_gateway(destination)) return DropReason::link_local;
    }
  } else if (owner != nullptr && owner != &way.in) {
    // What the host forwards keeps its client's address, so a pod's address on the host port is somebody
    // else's claim.
    return DropReason::spoof_ip;
  }
  if (packet.tuple.family == 6 && is_link_local(destination) && !is_gateway(destination))
    return DropReason::link_local;
  return DropReason::none;
}

}  // namespace weft
