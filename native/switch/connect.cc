// A packet of no connection: where it leads, whether it may, and the entry that lets the rest of its
// connection follow.
#include "packet/rewrite.h"
#include "switch/forwarder.h"

namespace weft {
namespace {

DropReason reason_of(InsertStatus status) {
  switch (status) {
    case InsertStatus::invalid:
      return DropReason::conntrack_invalid;
    case InsertStatus::full:
      return DropReason::conntrack_full;
    case InsertStatus::quota:
      return DropReason::conntrack_quota;
    case InsertStatus::nat_exhausted:
      return DropReason::nat_port_exhausted;
    case InsertStatus::port_closed:
      return DropReason::port_closed;
    case InsertStatus::ok:
    case InsertStatus::exists:
      break;
  }
  return DropReason::internal;
}

bool is_v4_link_local(const Address& address) {
  return address.is_v4() && address.v4_value() >> 16 == 0xa9fe;
}

}  // namespace

// Which port has way.backend's destination. Pods' addresses are known by their ports; everything else is
// behind the host port.
DropReason Forwarder::locate(Passage& way) noexcept {
  const Image& image = *way.view.image;
  const uint8_t family = way.sent.family;
  way.source = image.classify(way.sent.source, family);
  way.destination = image.classify(way.backend.destination, family);
  way.out = way.view.routes.find(way.backend.destination);
  if (way.out == nullptr) {
    // A Service's address that no Service answers on at this port: refused, as a host refuses a closed port.
    if ((way.destination.flags & kEndpointService) != 0) {
      refuse(way, Unreachable::port);
      return DropReason::no_route;
    }
    // A pod of this node whose port is not there (yet, after a restart): nobody else has it, and the host
    // would only send it back. An ICMP error and not a reset: a connection survives it.
    if ((way.destination.flags & kEndpointLocal) != 0) {
      tell_unreachable(way, Unreachable::address);
      return DropReason::no_route;
    }
    if (is_v4_link_local(way.backend.destination) && (way.destination.flags & kEndpointOwnNode) == 0)
      return DropReason::link_local;
    if (way.in.spec.kind == PortKind::host || way.view.host == nullptr) {
      tell_unreachable(way, Unreachable::no_route);
      return DropReason::no_route;
    }
    way.out = way.view.host;
  } else if (way.out == &way.in && way.in.spec.kind == PortKind::host) {
    tell_unreachable(way, Unreachable::no_route);
    return DropReason::no_route;
  }
  // A pod of this node whose address came in by the host port: not its packet.
  if (way.in.spec.kind == PortKind::host && (way.source.flags & kEndpointLocal) != 0)
    return DropReason::spoof_ip;
  return DropReason::none;
}

DropReason Forwarder::connect(Passage& way, const FlowTuple& key) noexcept {
  way.connection = {};
  const Observed observed(way.packet);
  if (observed.malformed) return DropReason::sctp_malformed;
  if (way.view.image == nullptr) return DropReason::no_image;
  if (!observed.can_begin(way.packet)) return DropReason::conntrack_invalid;

  // Only pods' Services are ours; what starts on the host or outside has been through kube-proxy.
  Translation translation;
  uint32_t service_id = kNoService;
  Service service;
  if (way.in.spec.kind == PortKind::pod &&
      way.view.image->services().find(key.protocol, key.destination, way.sent.destination_port, service)) {
    const Choice choice =
        balancer_.choose(way.sent, service.backends, service.affinity_seconds, next_random(), way.now_ns);
    if (choice.status == BalanceStatus::no_endpoint) {
      refuse(way, Unreachable::port);
      return DropReason::service_no_endpoint;
    }
    service_id = service.id;
    way.backend.destination = choice.address;
    way.backend.destination_port = choice.port;
    translation = {.destination = true, .hairpin = false, .to_port = choice.port, .to = choice.address};
  }

  if (const DropReason reason = locate(way); reason != DropReason::none) return reason;
  // The client's own port, not only its own address: a dual-stack pod has two.
  if (translation.destination && way.out == &way.in) translation.hairpin = true;
  if (const DropReason reason = judge(way, way.in, *way.out, way.backend); reason != DropReason::none) {
    if (way.view.shadow != nullptr) [[unlikely]]
      compare(way, way.in, *way.out, way.sent, way.backend, reason, false);
    return deny(way, reason);
  }
  if (const DropReason reason = check_leave(way, *way.out); reason != DropReason::none) return reason;

  NewConnection wanted;
  wanted.original = key;
  wanted.translation = translation;
  wanted.initiator = {way.in.index, way.in.instance};
  wanted.responder = {way.out->index, way.out->instance};
  wanted.generation = way.view.generation;
  wanted.egress_rule = way.egress_rule;
  wanted.ingress_rule = way.ingress_rule;
  wanted.service = service_id;
  wanted.bytes = observed.bytes;
  wanted.tcp = observed.is_tcp ? &observed.tcp : nullptr;
  wanted.sctp = observed.is_sctp ? &observed.sctp : nullptr;
  const InsertResult inserted = table_.insert(wanted, way.now_ns);
  if (inserted.status != InsertStatus::ok && inserted.status != InsertStatus::exists)
    return reason_of(inserted.status);
  way.connection = inserted.lookup;
  if (inserted.status == InsertStatus::exists) return follow(way, key);
  counters(way.in).connections.add(1);
  tell_connection(way);
  if (way.view.shadow != nullptr) [[unlikely]]
    compare(way, way.in, *way.out, way.sent, way.backend, DropReason::none, false);
  if (inserted.lookup.translates())
    if (const DropReason reason = rewrite(way.packet, wire_form(inserted.lookup.translated, Side::original));
        reason != DropReason::none) {
      table_.kill(inserted.lookup);
      return reason;
    }
  return transmit(way, *way.out);
}

}  // namespace weft
