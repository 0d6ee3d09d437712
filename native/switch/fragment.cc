// Fragments. The first has the ports and is judged like a whole packet; the later ones meet what it met, in
// whatever order they come (see conntrack/fragments.h).
#include "packet/parse.h"
#include "packet/rewrite.h"
#include "switch/forwarder.h"

namespace weft {
namespace {

FragmentKey key_of(const Packet& packet, PortIndex port) {
  FragmentKey key;
  key.source = packet.tuple.source;
  key.destination = packet.tuple.destination;
  key.identification = packet.fragment_id;
  // In IPv6 the later fragments name what follows the fragment header, not the transport.
  key.protocol = packet.tuple.family == 4 ? packet.tuple.protocol : 0;
  key.family = packet.tuple.family;
  key.port = port;
  return key;
}

FragmentRange range_of(const Packet& packet) {
  return {packet.fragment_offset, packet.fragment_length, packet.more_fragments};
}

DropReason reason_of(FragmentOutcome outcome) {
  switch (outcome) {
    case FragmentOutcome::duplicate:
    case FragmentOutcome::overlap:
      return DropReason::fragment_overlap;
    case FragmentOutcome::malformed:
      return DropReason::fragment_malformed;
    case FragmentOutcome::limit:
      return DropReason::fragment_limit;
    default:
      return DropReason::internal;
  }
}

// Held fragments that a call into the table has dropped.
void count_lost(PortCounters& count, const FragmentTable::Result& result) {
  if (result.released != 0)
    count.drops[static_cast<size_t>(DropReason::fragment_overlap)].add(result.released);
  if (result.lapsed != 0) count.drops[static_cast<size_t>(DropReason::fragment_no_first)].add(result.lapsed);
}

}  // namespace

DropReason Forwarder::route_first_fragment(Passage& way) noexcept {
  Port& in = way.in;
  if (fragment_lives_[in.index] != in.instance) {
    fragments_.forget_port(in.index);
    fragment_lives_[in.index] = in.instance;
  }
  const Packet& packet = way.packet;
  // Octets of the fragmentable part up to the payload: the transport header, and in IPv6 what lies between it
  // and the fragment header.
  const uint32_t header = packet.fragment_length - (packet.length - packet.payload_offset);
  const FragmentTable::Result result =
      fragments_.first(key_of(packet, in.index), range_of(packet), header, way.now_ns);
  count_lost(counters(in), result);
  if (result.outcome != FragmentOutcome::judge) return reason_of(result.outcome);

  const DropReason reason = route(way);
  FragmentDecision decision;
  decision.drop = static_cast<uint8_t>(reason);
  decision.generation = way.view.generation;
  decision.egress_rule = way.egress_rule;
  decision.ingress_rule = way.ingress_rule;
  decision.translated = way.packet.tuple;
  if (reason == DropReason::none && way.out != nullptr) {
    decision.translates = way.connection.translates();
    decision.to = way.out->index;
    decision.to_instance = way.out->instance;
  } else if (reason == DropReason::none) {
    decision.drop = static_cast<uint8_t>(DropReason::internal);
  }
  fragments_.decide(result.datagram, decision, [&](std::span<uint8_t> frame) {
    release_fragment(way.view, in, frame, decision, way.now_ns);
  });
  return reason;
}

DropReason Forwarder::route_later_fragment(Passage& way) noexcept {
  Port& in = way.in;
  if (fragment_lives_[in.index] != in.instance) {
    fragments_.forget_port(in.index);
    fragment_lives_[in.index] = in.instance;
  }
  if (way.view.image == nullptr) return DropReason::no_image;
  const FragmentTable::Result result =
      fragments_.later(key_of(way.packet, in.index), range_of(way.packet),
                       std::span<const uint8_t>(way.packet.frame, way.packet.length), way.now_ns);
  count_lost(counters(in), result);
  if (result.outcome == FragmentOutcome::held) {
    way.held = true;
    return DropReason::none;
  }
  if (result.outcome != FragmentOutcome::follow) return reason_of(result.outcome);
  return follow_fragment(way, *result.decision);
}

DropReason Forwarder::follow_fragment(Passage& way, const FragmentDecision& decision) noexcept {
  way.egress_rule = decision.egress_rule;
  way.ingress_rule = decision.ingress_rule;
  if (decision.drop != 0) return static_cast<DropReason>(decision.drop);
  // Judged by an image that is no longer current, and without ports there is nothing to judge again.
  if (decision.generation != way.view.generation) return DropReason::fragment_no_first;
  way.out = way.view.port(decision.to, decision.to_instance);
  if (way.out == nullptr) return DropReason::port_closed;
  if (const DropReason reason = check_leave(way, *way.out); reason != DropReason::none) return reason;
  if (decision.translates) {
    FlowTuple to = decision.translated;
    to.protocol = way.packet.tuple.protocol;
    if (const DropReason reason = rewrite(way.packet, to); reason != DropReason::none) return reason;
  }
  return transmit(way, *way.out);
}

// A held fragment goes on. Its frame lies in the fragment table's scratch, without room for a vnet header in
// front.
void Forwarder::release_fragment(const View& view, Port& in, std::span<const uint8_t> frame,
                                 const FragmentDecision& decision, uint64_t now_ns) noexcept {
  Passage way(view, in, now_ns);
  std::memcpy(held_.data() + kVnetHeaderLength, frame.data(), frame.size());
  way.packet.frame = held_.data() + kVnetHeaderLength;
  way.packet.length = static_cast<uint32_t>(frame.size());
  way.packet.capacity = static_cast<uint32_t>(held_.size() - kVnetHeaderLength);
  if (in.capture.load(std::memory_order_relaxed) != CaptureMode::off) way.original = frame;
  DropReason reason = parse(way.packet, VnetHeader{});
  if (reason == DropReason::none) {
    way.sent = way.packet.tuple;
    reason = follow_fragment(way, decision);
  }
  finish(way, reason);
}

}  // namespace weft
