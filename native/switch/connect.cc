// A packet of no connection: where it leads, whether it may, and the entry that lets the rest of its
// connection follow.
#include "packet/rewrite.h"
#include "switch/decide.h"
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

}  // namespace

DropReason Forwarder::locate(Passage& way) noexcept {
  const Image& image = *way.view.image;
  const uint8_t family = way.sent.family;
  const Address& destination = way.backend->destination;
  way.source = image.classify(way.sent.source, family);
  way.destination = image.classify(destination, family);
  const Located found = weft::locate(way.view, way.in, way.source, way.destination, destination);
  way.out = found.out;
  switch (found.notice) {
    case Notice::nothing:
      break;
    case Notice::port_closed:
      refuse(way, Unreachable::port);
      break;
    case Notice::address_unreachable:
      tell_unreachable(way, Unreachable::address);
      break;
    case Notice::no_route:
      tell_unreachable(way, Unreachable::no_route);
      break;
  }
  return found.reason;
}

DropReason Forwarder::connect(Passage& way, const FlowTuple& key) noexcept {
  way.connection = {};
  FlowTuple& backend = way.backend.emplace(way.sent);
  const Observed observed(way.packet);
  if (observed.malformed) return DropReason::sctp_malformed;
  if (way.view.image == nullptr) return DropReason::no_image;
  if (!observed.can_begin(way.packet)) return DropReason::conntrack_invalid;

  Translation translation;
  uint32_t service_id = kNoService;
  Service service;
  if (find_service(way.view, way.in, key.protocol, key.destination, way.sent.destination_port, service)) {
    if (const DropReason reason = admit(service, way.sent.source); reason != DropReason::none) {
      if (reason == DropReason::service_no_endpoint) refuse(way, Unreachable::port);
      return reason;
    }
    const Backend& chosen = service.backends[balancer_.choose(
        way.sent.source, service.key, service.backends, service.affinity_seconds, next_random(), way.now_ns)];
    service_id = service.id;
    backend.destination = chosen.address;
    backend.destination_port = chosen.port;
    translation = {.destination = true, .hairpin = false, .to_port = chosen.port, .to = chosen.address};
  }

  if (const DropReason reason = locate(way); reason != DropReason::none) return reason;
  // The client's own port, not only its own address: a dual-stack pod has two.
  if (translation.destination && way.out == &way.in) translation.hairpin = true;
  if (const DropReason reason = judge(way, way.in, *way.out, backend); reason != DropReason::none) {
    if (way.view.shadow != nullptr) [[unlikely]]
      compare(way, way.in, *way.out, way.sent, backend, reason, false);
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
    compare(way, way.in, *way.out, way.sent, backend, DropReason::none, false);
  if (inserted.lookup.translates())
    if (const DropReason reason = rewrite(way.packet, wire_form(inserted.lookup.translated, Side::original));
        reason != DropReason::none) {
      table_.kill(inserted.lookup);
      return reason;
    }
  return transmit(way, *way.out);
}

}  // namespace weft
