#include "packet/merge.h"

#include <cstring>

#include "header/ipv4.h"
#include "header/ipv6.h"
#include "header/udp.h"
#include "packet/checksum.h"
#include "packet/parse.h"

namespace weft {

namespace {

constexpr uint32_t kMaxNetworkLength = 65535;

uint32_t ports_of(const Packet& packet) {
  return load_native<uint32_t>(packet.frame + packet.l4_offset);
}

}  // namespace

bool mergeable(const Packet& packet) {
  if (packet.tuple.protocol != static_cast<uint8_t>(Protocol::udp) || packet.kind != PacketKind::ip ||
      packet.fragment != Fragment::none || packet.atomic_fragment || packet.is_gso() ||
      packet.payload_length == 0 || packet.payload_offset + packet.payload_length != packet.length)
    return false;
  const uint32_t header = packet.tuple.family == 4 ? kIpv4MinLength : kIpv6HeaderLength;
  if (packet.l4_offset - packet.l3_offset != static_cast<int>(header)) return false;
  return packet.needs_checksum() || UdpHeader(packet.frame + packet.l4_offset).checksum() != 0;
}

bool same_flow(const Packet& a, const Packet& b) {
  return ports_of(a) == ports_of(b) && same_ends(a, b);
}

bool same_ends(const Packet& a, const Packet& b) {
  if (a.tuple.family != b.tuple.family) return false;
  const uint8_t* x = a.frame + a.l3_offset;
  const uint8_t* y = b.frame + b.l3_offset;
  return a.tuple.family == 4 ? std::memcmp(x + 12, y + 12, 8) == 0 : std::memcmp(x + 8, y + 8, 32) == 0;
}

bool Merge::fits(const Packet& first, const Packet& next, uint32_t size, uint32_t count) {
  if (count >= kMaxMergedDatagrams || size < kMinUdpGsoSize || next.payload_length > size) return false;
  const uint32_t length =
      static_cast<uint32_t>(first.payload_offset - first.l3_offset) + size * count + next.payload_length;
  if (length > kMaxNetworkLength) return false;
  uint8_t* x = first.frame + first.l3_offset;
  uint8_t* y = next.frame + next.l3_offset;
  // Version, traffic class and flow label; next header and hop limit.
  if (first.tuple.family == 6)
    return load_native<uint32_t>(x) == load_native<uint32_t>(y) &&
           load_native<uint16_t>(x + 6) == load_native<uint16_t>(y + 6);
  // Version, header length and TOS; flags; TTL and protocol.
  if (load_native<uint16_t>(x) != load_native<uint16_t>(y) ||
      load_native<uint32_t>(x + 6) != load_native<uint32_t>(y + 6))
    return false;
  return first.dont_fragment || Ipv4Header(y).id() == static_cast<uint16_t>(Ipv4Header(x).id() + count);
}

void Merge::begin(const Packet& first, std::span<uint8_t> buffer) {
  packet_ = first;
  packet_.frame = buffer.data();
  packet_.capacity = static_cast<uint32_t>(buffer.size());
  std::memcpy(packet_.frame, first.frame, first.length);
  packet_.vnet.gso_size = static_cast<uint16_t>(first.payload_length);
  count_ = 1;
  closed_ = false;
}

void Merge::add(const Packet& next) {
  std::memcpy(packet_.frame + packet_.length, next.frame + next.payload_offset, next.payload_length);
  packet_.length += next.payload_length;
  packet_.payload_length += next.payload_length;
  closed_ = next.payload_length < packet_.vnet.gso_size;
  ++count_;
}

const Packet& Merge::finish() {
  closed_ = true;
  uint8_t* l3 = packet_.frame + packet_.l3_offset;
  uint8_t* l4 = packet_.frame + packet_.l4_offset;
  const uint32_t transport_length = packet_.length - packet_.l4_offset;
  uint64_t sum = 0;
  if (packet_.tuple.family == 4) {
    Ipv4Header ip(l3);
    ip.set_total_length(static_cast<uint16_t>(packet_.length - packet_.l3_offset));
    ip.set_checksum(0);
    store_native(l3 + 10, finish_checksum(sum_bytes(l3, kIpv4MinLength)));
    sum = pseudo_header_sum(ip.source(), ip.destination(), 4, packet_.tuple.protocol, transport_length);
  } else {
    Ipv6Header ip(l3);
    ip.set_payload_length(static_cast<uint16_t>(transport_length));
    sum = pseudo_header_sum(ip.source(), ip.destination(), 6, packet_.tuple.protocol, transport_length);
  }
  UdpHeader(l4).set_length(static_cast<uint16_t>(transport_length));
  store_native(l4 + kUdpChecksumOffset, fold(sum));
  packet_.vnet.flags = VnetHeader::kNeedsChecksum;
  packet_.vnet.gso_type = VnetHeader::kGsoUdp;
  packet_.vnet.hdr_len = packet_.payload_offset;
  packet_.vnet.csum_start = packet_.l4_offset;
  packet_.vnet.csum_offset = kUdpChecksumOffset;
  return packet_;
}

}  // namespace weft
