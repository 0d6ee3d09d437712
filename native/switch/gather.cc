// Gathering datagrams before they are written. What a flow's packets keep is their order: whatever cannot
// join what is held of its flow lets that go first.
#include <utility>

#include "packet/checksum.h"
#include "packet/segment.h"
#include "switch/forwarder.h"

namespace weft {
namespace {

const Packet& head_of(const Gathered& held) {
  return held.single != nullptr ? held.single->packet : held.merge.packet();
}

}  // namespace

// A captured port's frames are shown with what became of them, so they are not held back.
bool Forwarder::may_gather(const Passage& way, const Port& out) const noexcept {
  return settings_.coalesce_udp && out.offloads.uso && out.offloads.checksum && mergeable(way.packet) &&
         way.packet.network_length() <= out.spec.mtu &&
         way.in.capture.load(std::memory_order_relaxed) == CaptureMode::off;
}

void Forwarder::gather(Passage& way, Port& out) noexcept {
  Packet& packet = way.packet;
  Gathered* place = nullptr;
  for (Gathered& held : gathered_) {
    if (held.out == nullptr) {
      if (place == nullptr) place = &held;
      continue;
    }
    if (held.out != &out || !same_flow(head_of(held), packet)) continue;
    if (join(held, way)) return;
    let_go(held);
    place = &held;
    break;
  }
  if (place == nullptr) {
    place = &gathered_[next_gathered_++ % kGatheredFlows];
    let_go(*place);
  }
  place->out = &out;
  place->in = &way.in;
  place->view = &way.view;
  place->single = &way;
  place->bytes = packet.length;
  ++held_flows_;
}

bool Forwarder::join(Gathered& held, Passage& way) noexcept {
  if (held.single == nullptr) {
    if (!held.merge.fits(way.packet) || !transport_checksum_valid(way.packet)) return false;
  } else {
    const Packet& first = held.single->packet;
    if (!Merge::fits(first, way.packet) || !transport_checksum_valid(first) ||
        !transport_checksum_valid(way.packet))
      return false;
    held.loss = event_of(*held.single, FlowVerdict::dropped, DropReason::none, 0);
    held.merge.begin(first, {held.buffer.get() + kVnetHeaderLength, kMaxMergedLength});
    held.single = nullptr;
  }
  held.merge.add(way.packet);
  held.bytes += way.packet.length;
  return true;
}

// Before a datagram of these two ends leaves by itself. A fragment has no ports, so ports are not looked at.
void Forwarder::let_go_before(const Packet& packet, const Port& out) noexcept {
  for (Gathered& held : gathered_) {
    if (held.out != &out) continue;
    if (same_ends(head_of(held), packet)) let_go(held);
  }
}

void Forwarder::let_go(Gathered& held) noexcept {
  Port& out = *held.out;
  held.out = nullptr;
  --held_flows_;
  PortCounters& count = counters(out);
  if (held.single != nullptr) {
    const Packet& packet = held.single->packet;
    const SendStatus status = send(out, packet.frame, packet.length, packet.vnet);
    if (status != SendStatus::sent) return finish(*held.single, reason_of(status));
    count.tx_packets.add(1);
    count.tx_bytes.add(packet.length);
    return;
  }
  const Packet& packet = held.merge.finish();
  const SendStatus status = send(out, packet.frame, packet.length, packet.vnet);
  if (status == SendStatus::sent) {
    count.tx_packets.add(held.merge.count());
    count.tx_bytes.add(held.bytes);
    return;
  }
  if (status != SendStatus::refused) return lose(held, held.merge.count(), reason_of(status));
  // A kernel that has USO and yet does not like this frame: the datagrams one by one.
  Segmenter segments(packet);
  const std::span<uint8_t> buffer = std::span<uint8_t>(scratch_).subspan(kVnetHeaderLength);
  while (const uint32_t length = segments.next(buffer)) {
    const SendStatus piece = send(out, buffer.data(), length, VnetHeader{});
    if (piece != SendStatus::sent) {
      lose(held, 1, reason_of(piece));
      continue;
    }
    count.tx_packets.add(1);
    count.tx_bytes.add(length);
  }
}

void Forwarder::lose(Gathered& held, uint32_t packets, DropReason reason) noexcept {
  held.loss.reason = reason;
  counters(*held.in).drops[static_cast<size_t>(reason)].add(packets);
  for (uint32_t i = 0; i < packets; ++i) {
    if (!may_tell(*held.in, held.view->live, held.loss.time_ns)) continue;
    held.loss.suppressed = std::exchange(held.in->suppressed_events, 0);
    flows_.push(held.loss, 0);
  }
}

void Forwarder::settle() noexcept {
  if (held_flows_ == 0) return;
  for (Gathered& held : gathered_)
    if (held.out != nullptr && held.single != nullptr) let_go(held);
}

void Forwarder::flush() noexcept {
  if (held_flows_ == 0) return;
  for (Gathered& held : gathered_)
    if (held.out != nullptr) let_go(held);
}

}  // namespace weft
