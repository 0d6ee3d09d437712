// The last stage: may the packet leave, in which form, and what the device said. Datagrams may be gathered
// before they are written (gather.cc).
#include "packet/checksum.h"
#include "packet/fragmenter.h"
#include "packet/rewrite.h"
#include "packet/segment.h"
#include "switch/forwarder.h"

namespace weft {
namespace {

bool takes_gso(const DeviceOffloads& offloads, const Packet& packet) {
  switch (packet.vnet.gso_kind()) {
    case VnetHeader::kGsoTcp4:
      return offloads.tso4;
    case VnetHeader::kGsoTcp6:
      return offloads.tso6;
    case VnetHeader::kGsoUdp:
      return offloads.uso;
    default:
      return true;
  }
}

}  // namespace

DropReason reason_of(SendStatus status) {
  switch (status) {
    case SendStatus::sent:
      return DropReason::none;
    case SendStatus::full:
      return DropReason::tx_full;
    case SendStatus::down:
    case SendStatus::gone:
      return DropReason::port_closed;
    case SendStatus::refused:
      break;
  }
  return DropReason::tx_error;
}

DropReason Forwarder::check_leave(Passage& way, const Port& out) noexcept {
  if (way.packet.ttl <= 1) {
    tell_time_exceeded(way);
    return DropReason::ttl_exceeded;
  }
  if (way.packet.network_length() > out.spec.mtu && !Fragmenter::applies(way.packet)) {
    tell_too_big(way, out.spec.mtu);
    return DropReason::packet_too_big;
  }
  return DropReason::none;
}

DropReason Forwarder::transmit(Passage& way, Port& out) noexcept {
  Packet& packet = way.packet;
  if (out.ingress.limits() && !out.ingress.admit(way.now_ns, packet.length)) [[unlikely]] {
    counters(out).policed.add(packet.segments());
    return DropReason::bandwidth;
  }
  if (!decrement_ttl(packet)) return DropReason::ttl_exceeded;
  set_macs(packet, settings_.gateway_mac, out.spec.mac);
  if (out.capture.load(std::memory_order_relaxed) == CaptureMode::all) [[unlikely]]
    capture(way, out, CaptureSide::to_pod, DropReason::none, packet.length, {packet.frame, packet.length});

  if (way.packet.tuple.protocol == static_cast<uint8_t>(Protocol::udp)) {
    if (may_gather(way, out)) {
      gather(way, out);
      return DropReason::none;
    }
    if (held_flows_ != 0) let_go_before(packet, out);
  }
  SendStatus status = SendStatus::sent;
  uint64_t bytes = packet.length;
  if (packet.is_gso() && !(takes_gso(out.offloads, packet) && out.offloads.checksum)) {
    Segmenter segments(packet);
    status = send_pieces(out, segments, bytes);
    if (segments.failed()) return DropReason::segment_failed;
  } else if (packet.network_length() > out.spec.mtu) {
    if (packet.needs_checksum() && !complete_checksum(packet)) return DropReason::segment_failed;
    Fragmenter fragments(packet, out.spec.mtu);
    status = send_pieces(out, fragments, bytes);
  } else {
    if (packet.needs_checksum() && !out.offloads.checksum && !complete_checksum(packet))
      return DropReason::segment_failed;
    status = send(out, packet.frame, packet.length, packet.vnet);
  }
  if (status != SendStatus::sent) return reason_of(status);
  PortCounters& count = counters(out);
  count.tx_packets.add(1);
  count.tx_bytes.add(bytes);
  return DropReason::none;
}

// Sends what `pieces.next(buffer)` makes. Where part of it got through, the transport will send the rest
// again, and it counts as sent, with the bytes that were.
template <class Pieces>
SendStatus Forwarder::send_pieces(Port& out, Pieces& pieces, uint64_t& bytes) noexcept {
  const std::span<uint8_t> buffer = std::span<uint8_t>(scratch_).subspan(kVnetHeaderLength);
  SendStatus last = SendStatus::refused;
  bytes = 0;
  while (const uint32_t length = pieces.next(buffer)) {
    last = send(out, buffer.data(), length, VnetHeader{});
    if (last == SendStatus::sent) bytes += length;
  }
  return bytes != 0 ? SendStatus::sent : last;
}

// `frame` has kVnetHeaderLength bytes of room in front of it.
SendStatus Forwarder::send(Port& out, uint8_t* frame, uint32_t length, const VnetHeader& vnet) noexcept {
  uint8_t* start = frame - kVnetHeaderLength;
  store_vnet(start, vnet);
  const SendStatus status = out.device->send({start, length + kVnetHeaderLength});
  if (status == SendStatus::gone) [[unlikely]]
    out.status.store(PortStatus::gone, std::memory_order_relaxed);
  return status;
}

}  // namespace weft
