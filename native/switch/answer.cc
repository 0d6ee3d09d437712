// What the switch says itself: it is the gateway of every pod, and tells senders why a packet does not get
// through. Every answer goes back to the port that the packet came from, so a port can only use up its own
// rate.
#include "header/arp.h"
#include "header/icmp.h"
#include "packet/neighbour.h"
#include "switch/forwarder.h"

namespace weft {

template <class Build>
DropReason Forwarder::answer(Passage& way, DropReason unanswerable, Build&& build) noexcept {
  if (!way.in.answers.take(way.now_ns, way.view.live.answers_per_second, way.view.live.answer_burst))
    return DropReason::icmp_rate_limit;
  uint8_t* frame = scratch_.data() + kVnetHeaderLength;
  const uint32_t length = build(std::span<uint8_t>(frame, scratch_.size() - kVnetHeaderLength));
  if (length == 0) return unanswerable;
  if (const SendStatus status = send(way.in, frame, length, VnetHeader{}); status != SendStatus::sent)
    return reason_of(status);
  counters(way.in).answers.add(1);
  if (way.in.capture.load(std::memory_order_relaxed) == CaptureMode::all) [[unlikely]]
    capture(way, way.in, CaptureSide::to_pod, DropReason::none, length, {frame, length});
  return DropReason::none;
}

DropReason Forwarder::answer_arp(Passage& way) noexcept {
  const ArpMessage message = arp_message(way.packet);
  if (message.sender_mac != way.in.spec.mac) return DropReason::spoof_arp;
  // A probe (RFC 5227) has no sender address and speaks for nobody; any other sender must be the port's own.
  if (!message.is_probe() && way.view.routes.find(message.sender) != &way.in &&
      way.in.spec.kind == PortKind::pod)
    return DropReason::spoof_arp;
  if (message.sender == settings_.gateway_v4) return DropReason::spoof_arp;
  if (message.operation != ArpHeader::kRequest || message.is_probe() ||
      message.target != settings_.gateway_v4)
    return DropReason::neighbour_other;
  const DropReason reason = answer(way, DropReason::arp_malformed, [&](std::span<uint8_t> out) {
    return build_arp_reply(way.packet, settings_.gateway_mac, out);
  });
  way.answered = reason == DropReason::none;
  return reason;
}

DropReason Forwarder::answer_neighbour(Passage& way) noexcept {
  const NeighbourMessage message = neighbour_message(way.packet);
  const bool pod = way.in.spec.kind == PortKind::pod;
  const Address& source = way.packet.tuple.source;
  // Its own addresses, and whatever link-local address its stack gave itself, but not the gateway's.
  const auto own = [&](const Address& address) {
    if (address == settings_.gateway_v6) return false;
    const bool link_local = address.bytes[0] == 0xfe && (address.bytes[1] & 0xc0) == 0x80;
    return !pod || link_local || way.view.routes.find(address) == &way.in;
  };
  switch (message.type) {
    case icmpv6_type::kRouterAdvertisement:
    case icmpv6_type::kRedirect:
      return DropReason::router_advertisement;
    case icmpv6_type::kRouterSolicitation:
      return DropReason::router_solicitation;
    case icmpv6_type::kNeighbourAdvertisement:
      if (!own(message.target) || !own(source)) return DropReason::spoof_nd;
      if (message.has_link_address && message.link_address != way.in.spec.mac) return DropReason::spoof_nd;
      return DropReason::neighbour_other;
    default:
      break;
  }
  // A DAD probe is never answered: for the pod's own address it would take the address away, and nobody else
  // is on the link.
  if (message.is_probe) return DropReason::neighbour_other;
  if (!own(source)) return DropReason::spoof_nd;
  if (message.has_link_address && message.link_address != way.in.spec.mac) return DropReason::spoof_nd;
  if (message.target != settings_.gateway_v6) return DropReason::neighbour_other;
  const DropReason reason = answer(way, DropReason::neighbour_other, [&](std::span<uint8_t> out) {
    return build_neighbour_advertisement(way.packet, settings_.gateway_mac, out);
  });
  way.answered = reason == DropReason::none;
  return reason;
}

DropReason Forwarder::answer_gateway(Passage& way) noexcept {
  const Packet& packet = way.packet;
  const bool echo =
      packet.fragment == Fragment::none &&
      (packet.tuple.family == 4 ? packet.tuple.protocol == static_cast<uint8_t>(Protocol::icmp) &&
                                      packet.icmp_type == icmp_type::kEchoRequest
                                : packet.tuple.protocol == static_cast<uint8_t>(Protocol::icmpv6) &&
                                      packet.icmp_type == icmpv6_type::kEchoRequest);
  if (!echo) {
    refuse(way, Unreachable::port);
    return DropReason::gateway_service;
  }
  const DropReason unanswerable =
      packet.icmp_code != 0 ? DropReason::icmp_malformed : DropReason::transport_checksum;
  const DropReason reason = answer(way, unanswerable, [&](std::span<uint8_t> out) {
    return build_echo_reply(way.packet, settings_.gateway_mac, out);
  });
  way.answered = reason == DropReason::none;
  return reason;
}

void Forwarder::refuse(Passage& way, Unreachable what) noexcept {
  (void)answer(way, DropReason::none, [&](std::span<uint8_t> out) {
    if (way.packet.tuple.protocol == static_cast<uint8_t>(Protocol::tcp))
      return build_tcp_reset(way.packet, settings_.gateway_mac, out);
    return build_unreachable(way.packet, what, gateway(way), settings_.gateway_mac, out);
  });
}

void Forwarder::end(Passage& way) noexcept {
  (void)answer(way, DropReason::none, [&](std::span<uint8_t> out) {
    return way.packet.tuple.protocol == static_cast<uint8_t>(Protocol::tcp)
               ? build_tcp_reset(way.packet, settings_.gateway_mac, out)
               : build_sctp_abort(way.packet, settings_.gateway_mac, out);
  });
}

void Forwarder::tell_unreachable(Passage& way, Unreachable what) noexcept {
  (void)answer(way, DropReason::none, [&](std::span<uint8_t> out) {
    return build_unreachable(way.packet, what, gateway(way), settings_.gateway_mac, out);
  });
}

void Forwarder::tell_too_big(Passage& way, uint32_t mtu) noexcept {
  (void)answer(way, DropReason::none, [&](std::span<uint8_t> out) {
    return build_packet_too_big(way.packet, mtu, gateway(way), settings_.gateway_mac, out);
  });
}

void Forwarder::tell_time_exceeded(Passage& way) noexcept {
  (void)answer(way, DropReason::none, [&](std::span<uint8_t> out) {
    return build_time_exceeded(way.packet, gateway(way), settings_.gateway_mac, out);
  });
}

}  // namespace weft
