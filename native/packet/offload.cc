#include "packet/offload.h"

#include "header/tcp.h"
#include "header/udp.h"
#include "packet/parse.h"

namespace weft {

namespace {

bool is_protocol(const Packet& packet, Protocol protocol) {
  return packet.tuple.protocol == static_cast<uint8_t>(protocol);
}

// What the segmentation type asks for must be what is there.
bool gso_type_matches(const Packet& packet, const VnetHeader& hostile) {
  const bool ecn = (hostile.gso_type & VnetHeader::kGsoEcn) != 0;
  switch (hostile.gso_kind()) {
    case VnetHeader::kGsoTcp4:
      return packet.tuple.family == 4 && is_protocol(packet, Protocol::tcp);
    case VnetHeader::kGsoTcp6:
      return packet.tuple.family == 6 && is_protocol(packet, Protocol::tcp);
    case VnetHeader::kGsoUdp:
      return !ecn && is_protocol(packet, Protocol::udp);
    default:  // UFO, unknown types, and the ECN flag alone
      return false;
  }
}

bool gso_size_plausible(const Packet& packet, const VnetHeader& hostile) {
  const uint32_t headers = static_cast<uint32_t>(packet.payload_offset - packet.l3_offset);
  if (packet.payload_length == 0 || headers + hostile.gso_size > 0xffff) return false;
  if (is_protocol(packet, Protocol::tcp)) return hostile.gso_size >= kMinTcpGsoSize;
  return hostile.gso_size >= kMinUdpGsoSize &&
         packet.payload_length <= uint32_t{hostile.gso_size} * kMaxUdpSegments;
}

DropReason check_gso(const Packet& packet, const VnetHeader& hostile) {
  if (packet.fragment != Fragment::none || packet.atomic_fragment) return DropReason::vnet_gso_fragment;
  if (!gso_type_matches(packet, hostile)) return DropReason::vnet_gso_type;
  if (!gso_size_plausible(packet, hostile)) return DropReason::vnet_gso_size;
  // virtio 1.2 section 5.1.6.2: segmentation needs the checksum to be completed per segment.
  if ((hostile.flags & VnetHeader::kNeedsChecksum) == 0) return DropReason::vnet_header;
  if (is_protocol(packet, Protocol::tcp) && (packet.tcp_flags & (tcp_flag::kSyn | tcp_flag::kRst)) != 0)
    return DropReason::vnet_header;
  return DropReason::none;
}

DropReason check_checksum_start(const Packet& packet, const VnetHeader& hostile, uint32_t removed) {
  if (packet.fragment != Fragment::none) return DropReason::vnet_checksum_start;
  uint32_t offset = 0;
  if (is_protocol(packet, Protocol::tcp)) {
    offset = kTcpChecksumOffset;
  } else if (is_protocol(packet, Protocol::udp)) {
    offset = kUdpChecksumOffset;
  } else {
    return DropReason::vnet_checksum_start;
  }
  if (hostile.csum_start != packet.l4_offset + removed || hostile.csum_offset != offset)
    return DropReason::vnet_checksum_start;
  // The kernel sums to the end of the packet; with bytes behind the datagram that would not be UDP's
  // checksum.
  if (packet.payload_offset + packet.payload_length != packet.length) return DropReason::vnet_header;
  return DropReason::none;
}

}  // namespace

DropReason rebuild_offload(Packet& packet, const VnetHeader& hostile, uint32_t removed) {
  const bool gso = hostile.gso_type != VnetHeader::kGsoNone;
  if (gso) {
    const DropReason reason = check_gso(packet, hostile);
    if (reason != DropReason::none) return reason;
  }
  const DropReason reason = check_checksum_start(packet, hostile, removed);
  if (reason != DropReason::none) return reason;

  packet.vnet.flags = VnetHeader::kNeedsChecksum;
  packet.vnet.csum_start = packet.l4_offset;
  packet.vnet.csum_offset = hostile.csum_offset;
  // One segment is no segmentation; the kernel reads it so, too. The packet is then held against the MTU as
  // it is.
  if (!gso || packet.payload_length <= hostile.gso_size) return DropReason::none;
  packet.vnet.gso_type = hostile.gso_kind();
  if (is_protocol(packet, Protocol::tcp) && (packet.tcp_flags & tcp_flag::kCwr) != 0)
    packet.vnet.gso_type |= VnetHeader::kGsoEcn;
  packet.vnet.gso_size = hostile.gso_size;
  packet.vnet.hdr_len = packet.payload_offset;
  return DropReason::none;
}

}  // namespace weft
