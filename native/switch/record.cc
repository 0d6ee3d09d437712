// What is remembered of a packet after its way has ended: counters, flow events, captures.
#include <algorithm>
#include <cstring>
#include <utility>

#include "switch/forwarder.h"

namespace weft {
namespace {

// Chatter that every pod makes (kind `noise` in the list of drop reasons): counted, but not worth an event.
bool is_noise(DropReason reason) {
  switch (reason) {
    case DropReason::ethertype:
    case DropReason::router_solicitation:
    case DropReason::multicast_listener:
    case DropReason::multicast:
    case DropReason::broadcast:
    case DropReason::not_for_gateway:
    case DropReason::neighbour_other:
      return true;
    default:
      return false;
  }
}

bool is_policy(DropReason reason) {
  return reason == DropReason::policy_egress || reason == DropReason::policy_ingress ||
         reason == DropReason::no_image || reason == DropReason::unknown_port_address;
}

}  // namespace

void Forwarder::finish(Passage& way, DropReason reason) noexcept {
  if (reason != DropReason::none) {
    counters(way.in).drops[static_cast<size_t>(reason)].add(1);
    if (!is_noise(reason)) {
      if (may_tell(way.in, way.view.live, way.now_ns))
        tell(way, is_policy(reason) ? FlowVerdict::denied : FlowVerdict::dropped, reason,
             std::exchange(way.in.suppressed_events, 0));
    }
  }
  // Who looks at the receiver has to see what did not reach it. Of the sender's frame as it is at the end of
  // its way: what is dropped has not been rewritten.
  if (reason != DropReason::none && way.out != nullptr && way.out != &way.in && !way.held &&
      way.out->capture.load(std::memory_order_relaxed) != CaptureMode::off) [[unlikely]]
    capture(way, *way.out, CaptureSide::to_pod, reason, way.packet.length,
            {way.packet.frame, way.packet.length});
  const CaptureMode mode = way.in.capture.load(std::memory_order_relaxed);
  if (mode == CaptureMode::off) [[likely]]
    return;
  if (!way.original.empty() && !way.held && (mode == CaptureMode::all || reason != DropReason::none))
    capture(way, way.in, CaptureSide::from_pod, reason, way.packet.length, way.original);
}

void Forwarder::tell_connection(const Passage& way) noexcept {
  const uint32_t one_in = way.view.live.flow_sample;
  if (one_in == 0 || ++sample_ < one_in) return;
  sample_ = 0;
  // A rate of its own: what a pod opens neither hides what it is denied, nor costs the node more than the pod
  // itself does (an event is told through two processes, which takes longer than a handshake).
  Port& in = way.in;
  if (!in.openings.take(way.now_ns, way.view.live.flows_per_second, way.view.live.flow_burst)) {
    ++in.suppressed_openings;
    return;
  }
  tell(way, FlowVerdict::allowed, DropReason::none, std::exchange(in.suppressed_openings, 0));
}

bool Forwarder::may_tell(Port& in, const LiveSettings& live, uint64_t now_ns) noexcept {
  if (in.events.take(now_ns, live.flows_per_second, live.flow_burst)) return true;
  ++in.suppressed_events;
  return false;
}

void Forwarder::tell(const Passage& way, FlowVerdict verdict, DropReason reason,
                     uint32_t suppressed) noexcept {
  // New connections leave room: those of many pods together must not crowd out what was denied.
  flows_.push(event_of(way, verdict, reason, suppressed),
              verdict == FlowVerdict::allowed ? flows_.capacity() / 4 : 0);
}

FlowEvent Forwarder::event_of(const Passage& way, FlowVerdict verdict, DropReason reason,
                              uint32_t suppressed) noexcept {
  FlowEvent event;
  event.time_ns = way.now_ns;
  event.generation = way.view.generation;
  event.tuple = way.told.value_or(way.sent);
  const FlowTuple& led = way.backend ? *way.backend : event.tuple;
  event.backend = led.destination;
  event.backend_port = led.destination_port;
  event.in_port = way.initiator == nullptr ? way.in.index : way.initiator->index;
  event.out_port = way.out == nullptr ? kNoPort : way.out->index;
  event.verdict = verdict;
  event.reason = reason;
  event.direction = reason == DropReason::policy_ingress ? Direction::ingress : Direction::egress;
  event.source_class = way.source.peer_class;
  event.destination_class = way.destination.peer_class;
  event.source_program = way.source.program;
  event.destination_program = way.destination.program;
  event.egress_rule = way.egress_rule;
  event.ingress_rule = way.ingress_rule;
  event.suppressed = suppressed;
  return event;
}

void Forwarder::keep_original(Passage& way) noexcept {
  if (way.in.capture.load(std::memory_order_relaxed) == CaptureMode::off) [[likely]]
    return;
  const uint32_t length = std::min(way.packet.length, way.in.snap_length.load(std::memory_order_relaxed));
  std::memcpy(snapshot_.data(), way.packet.frame, std::min<size_t>(length, snapshot_.size()));
  way.original = std::span<const uint8_t>(snapshot_).first(std::min<size_t>(length, snapshot_.size()));
}

void Forwarder::capture(const Passage& way, const Port& port, CaptureSide side, DropReason reason,
                        uint32_t length, std::span<const uint8_t> bytes) noexcept {
  CaptureRing* ring = captures();
  if (ring == nullptr) return;
  CaptureRecord record;
  record.time_ns = way.now_ns;
  record.generation = way.view.generation;
  record.port = port.index;
  record.side = side;
  record.reason = reason;
  record.answered = way.answered;
  record.egress_rule = way.egress_rule;
  record.ingress_rule = way.ingress_rule;
  // A packet of a connection that was judged before has no verdict of its own: the connection's rules let it
  // through.
  if (reason == DropReason::none && way.connection.hit() && way.egress_rule == kNoRule &&
      way.ingress_rule == kNoRule) {
    const auto connection = table_.read(way.connection.entry);
    if (connection && connection->generation == way.view.generation) {
      record.egress_rule = connection->egress_rule;
      record.ingress_rule = connection->ingress_rule;
    }
  }
  record.frame_length = length;
  ring->push(record,
             bytes.first(std::min<size_t>(bytes.size(), port.snap_length.load(std::memory_order_relaxed))));
}

void Forwarder::allocate_captures(uint32_t bytes) {
  if (capture_ring_ != nullptr) return;
  capture_ring_ = std::make_unique<CaptureRing>(bytes);
  captures_.store(capture_ring_.get(), std::memory_order_release);
}

}  // namespace weft
