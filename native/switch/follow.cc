// A packet of a known connection, in either direction, and the ICMP errors about one.
#include "packet/checksum.h"
#include "packet/rewrite.h"
#include "switch/forwarder.h"

namespace weft {
namespace {

Port* port_of(const View& view, const PortLife& life) {
  return view.port(life.index, life.instance);
}

// Only an echo's tuple differs from its wire form; the others are not copied for that.
DropReason translate(Packet& packet, const Lookup& found) {
  if (has_identifier(found.translated)) return rewrite(packet, wire_form(found.translated, found.side));
  return rewrite_connection(packet, found.translated);
}

// In every plain way through a Service. False: the connection is gone meanwhile.
template <Side side>
[[gnu::always_inline]] inline bool translate_end(const ConnectionTable& table, const Found& found,
                                                 Packet& packet) {
  EndChange change;
  if (!table.end_change<side>(found, change)) return false;
  rewrite_end<1 - at(side)>(packet, change);
  return true;
}

}  // namespace

DropReason Forwarder::follow(Passage& way, const FlowTuple& key) noexcept {
  const Found& found = way.connection;
  // Another worker may end or begin the connection between two looks; a packet that meets that again and
  // again is given up.
  if (++way.attempts > 4) return DropReason::internal;
  // An entry is a permission for its ports, and the source check has tied this address to the port it came
  // from: so the address has moved since (a remote pod's is now a local one's, or a port gave it up). What it
  // sends begins anew and is judged anew.
  if (found.from.index != way.in.index || found.from.instance != way.in.instance) {
    table_.kill(found);
    return connect(way, key);
  }
  Port* out = port_of(way.view, found.to);
  if (found.generation != way.view.generation) [[unlikely]] {
    DropReason reason = DropReason::none;
    const std::optional<Lookup> whole = table_.complete(found, key);
    switch (whole ? judge_again(way, *whole, reason) : Standing::changed) {
      case Standing::allowed:
        break;
      case Standing::denied: {
        // The other end may begin a connection of its own on these ports; that is judged by itself. Not so
        // the end that was denied: its SYN must not make the switch forget.
        const bool begins = Observed(way.packet).begins();
        if (begins && found.side == Side::reply) {
          way.told.reset();
          way.initiator = nullptr;
          table_.kill(found);
          return connect(way, key);
        }
        if (!begins) table_.refuse(found, way.now_ns);
        return deny(way, reason);
      }
      case Standing::changed:
        return connect(way, key);
      case Standing::ended:
        end(way);
        return DropReason::service_endpoint_gone;
      case Standing::closed:
        return DropReason::port_closed;
    }
  }
  way.out = out;
  if (out == nullptr) return DropReason::port_closed;
  if (const DropReason reason = check_leave(way, *out); reason != DropReason::none) return reason;

  const Observed observed(way.packet);
  if (observed.malformed) return DropReason::sctp_malformed;
  // What ends the connection here must end it at the receiver, too: a connection that only the switch takes
  // for closed would be forgotten alive (see conntrack/tcp.h).
  if (observed.ends() && !transport_checksum_valid(way.packet)) return DropReason::transport_checksum;
  switch (table_.update(found, observed.observation(), way.now_ns)) {
    case Update::pass:
      break;
    case Update::invalid:
      return DropReason::conntrack_invalid;
    case Update::out_of_window:
      return DropReason::tcp_out_of_window;
    case Update::restart:
      table_.kill(found);
      return connect(way, key);
  }
  if (found.translates()) {
    if (found.changes_end() && way.packet.fragment == Fragment::none) [[likely]] {
      if (found.side == Side::original ? !translate_end<Side::original>(table_, found, way.packet)
                                       : !translate_end<Side::reply>(table_, found, way.packet))
        return connect(way, key);
    } else {
      const std::optional<Lookup> whole = table_.complete(found, key);
      if (!whole) return connect(way, key);
      if (const DropReason reason = translate(way.packet, *whole); reason != DropReason::none) return reason;
    }
  }
  return transmit(way, *out);
}

// What a Service's change does to a flow of a pod, as kube-proxy has it where that does anything:
//  - Datagrams move on from an endpoint that no longer serves (the image keeps those that do), and from a
//  Service's address from before there was the Service: their client would never learn of it. So does an
//  attempt to connect without an answer, from an endpoint that gets no new flows.
//  - A connection that was answered stays with an endpoint that is only not ready, leaving, or deselected: a
//  pod or a host that lives ends its connections itself, and an endpoint on its way from one slice to another
//  must not cost them. kube-proxy leaves it also where the endpoint is gone, and its client to wait for
//  minutes; it ends here.
Forwarder::Tie Forwarder::tie_of(const View& view, const Port& from, const Lookup& found) noexcept {
  if (from.spec.kind != PortKind::pod) return Tie::holds;
  const FlowTuple sent = found.side == Side::original ? found.key : found.translated.reversed();
  const FlowTuple judged = found.judged();
  const bool attempt = found.state == State::tcp_syn_sent || found.state == State::sctp_cookie_wait;
  const bool light = attempt || sent.protocol == static_cast<uint8_t>(Protocol::udp);
  Service service;
  const bool exists =
      view.image->services().find(sent.protocol, sent.destination, sent.destination_port, service);
  if ((found.flags & kDestinationTranslated) == 0) return exists && light ? Tie::moves : Tie::holds;
  if (exists) {
    const Address& to = judged.destination;
    const uint16_t port = judged.destination_port;
    const bool stays = attempt ? find_backend(service.backends, to, port) != service.backends.size()
                               : service.keeps(to, port);
    if (stays) return Tie::holds;
  }
  if (light) return Tie::moves;
  constexpr uint32_t kLives = kAddressPod | kAddressOwnNode | kAddressOtherNode;
  const bool lives = (view.image->classify(judged.destination, judged.family).flags & kLives) != 0;
  // Of a Service that is gone nobody knows which endpoints it would have.
  return exists && !lives ? Tie::ends : Tie::holds;
}

// A policy change, or a restart, is applied to a connection at its next packet, of whichever side: as its
// initiator, on the translated tuple, without choosing a backend again.
Forwarder::Standing Forwarder::judge_again(Passage& way, const Lookup& found, DropReason& reason) noexcept {
  const View& view = way.view;
  const bool original = found.side == Side::original;
  Port* from = port_of(view, original ? found.from : found.to);
  Port* to = port_of(view, original ? found.to : found.from);
  // Not ended here: after a restart the other end's port may be yet to come, and a port that is released ends
  // its connections itself.
  if (from == nullptr || to == nullptr) return Standing::closed;
  const FlowTuple judged = found.judged();
  const auto still_has = [&](const Port& port, const Address& address) {
    const Port* owner = view.routes.find(address);
    return owner == &port || (owner == nullptr && port.spec.kind == PortKind::host);
  };
  if (!still_has(*from, judged.source) || !still_has(*to, judged.destination)) {
    table_.kill(found);
    return Standing::changed;
  }
  const Tie tie = tie_of(view, *from, found);
  if (tie != Tie::holds && original) {
    table_.kill(found);
    return tie == Tie::moves ? Standing::changed : Standing::ended;
  }
  way.source = view.image->classify(judged.source, judged.family);
  way.destination = view.image->classify(judged.destination, judged.family);
  // An address that was out in the world when the connection began is a pod of this node now, whose port may
  // be yet to come.
  if ((to->spec.kind == PortKind::host && (way.destination.flags & kAddressLocal) != 0) ||
      (from->spec.kind == PortKind::host && (way.source.flags & kAddressLocal) != 0)) {
    table_.kill(found);
    return Standing::changed;
  }
  reason = judge(way, *from, *to, judged);
  const auto compare_with_shadow = [&] {
    compare(way, *from, *to, wire_form(original ? found.key : found.translated.reversed(), Side::original),
            judged, reason, found.generation >= view.trial_since);
  };
  if (reason != DropReason::none) {
    // Told as what was judged, the initiator's packet, whichever side's packet met it.
    way.told = original ? way.sent : wire_form(found.translated.reversed(), Side::original);
    way.backend = judged;
    way.initiator = from;
    way.out = to;
    if (view.shadow != nullptr) [[unlikely]]
      compare_with_shadow();
    return Standing::denied;
  }
  // The endpoint's last words get through, but settle nothing: the client's next packet moves or ends the
  // flow.
  if (tie == Tie::holds && !table_.judge(found, view.generation, way.egress_rule, way.ingress_rule))
    return Standing::changed;
  if (view.shadow != nullptr) [[unlikely]]
    compare_with_shadow();
  return Standing::allowed;
}

// An ICMP error follows the connection of the packet that it quotes, against that packet's direction. It
// comes from the far end or, by the host port, from a router on the way.
DropReason Forwarder::follow_error(Passage& way) noexcept {
  const QuotedPacket& quoted = way.packet.quoted;
  // An error is told to the sender of what it quotes, and nobody else.
  if (quoted.tuple.source != way.sent.destination) return DropReason::icmp_unrelated;
  const Lookup found = table_.find_related(quoted.tuple, way.now_ns);
  if (!found.hit()) return DropReason::icmp_unrelated;
  if (found.from.index != way.in.index || found.from.instance != way.in.instance)
    return DropReason::icmp_unrelated;
  if (found.generation != way.view.generation) [[unlikely]] {
    DropReason reason = DropReason::none;
    switch (judge_again(way, found, reason)) {
      case Standing::allowed:
        break;
      case Standing::denied:
        return reason;
      case Standing::changed:
        return DropReason::icmp_unrelated;
      case Standing::ended:
        return DropReason::service_endpoint_gone;
      case Standing::closed:
        return DropReason::port_closed;
    }
  }
  way.connection = found;
  way.out = port_of(way.view, found.to);
  if (way.out == nullptr) return DropReason::port_closed;
  if (const DropReason reason = check_leave(way, *way.out); reason != DropReason::none) return reason;
  if (found.translates()) {
    const FlowTuple inner = wire_form(found.translated.reversed(), other(found.side));
    FlowTuple outer = way.packet.tuple;
    // From the far end itself: it is known to the receiver by the Service's address. A router keeps its own.
    if (outer.source == quoted.tuple.destination) outer.source = found.translated.source;
    outer.destination = found.translated.destination;
    if (const DropReason reason = rewrite_quoted(way.packet, inner); reason != DropReason::none)
      return reason;
    if (const DropReason reason = rewrite(way.packet, outer); reason != DropReason::none) return reason;
  }
  return transmit(way, *way.out);
}

}  // namespace weft
