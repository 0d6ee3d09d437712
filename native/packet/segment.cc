#include "packet/segment.h"

#include <algorithm>
#include <cstring>

#include "header/ipv4.h"
#include "header/ipv6.h"
#include "header/tcp.h"
#include "header/udp.h"
#include "packet/checksum.h"

namespace weft {

namespace {

// Lengths, identification and IPv4 checksum of one segment. Returns the pseudo-header sum.
uint64_t write_network(const Packet& packet, uint8_t* frame, uint32_t length, uint16_t index) {
  uint8_t* l3 = frame + packet.l3_offset;
  const uint32_t transport_length = length - packet.l4_offset;
  if (packet.tuple.family == 6) {
    Ipv6Header ip(l3);
    ip.set_payload_length(static_cast<uint16_t>(length - packet.l3_offset - kIpv6HeaderLength));
    return pseudo_header_sum(ip.source(), ip.destination(), 6, packet.tuple.protocol, transport_length);
  }
  Ipv4Header ip(l3);
  ip.set_total_length(static_cast<uint16_t>(length - packet.l3_offset));
  ip.set_id(static_cast<uint16_t>(ip.id() + index));
  ip.set_checksum(0);
  store_native(l3 + 10, finish_checksum(sum_bytes(l3, ip.header_length())));
  return pseudo_header_sum(ip.source(), ip.destination(), 4, packet.tuple.protocol, transport_length);
}

}  // namespace

uint32_t Segmenter::next(std::span<uint8_t> out) {
  if (!packet_.is_gso() || done_ >= packet_.payload_length) return 0;
  const uint32_t headers = packet_.payload_offset;
  const uint32_t payload = std::min<uint32_t>(packet_.vnet.gso_size, packet_.payload_length - done_);
  const uint32_t length = headers + payload;
  if (out.size() < length) {
    failed_ = true;
    return 0;
  }
  uint8_t* frame = out.data();
  std::memcpy(frame, packet_.frame, headers);
  std::memcpy(frame + headers, packet_.frame + headers + done_, payload);

  uint64_t sum = write_network(packet_, frame, length, index_);
  uint8_t* l4 = frame + packet_.l4_offset;
  const uint32_t transport_length = length - packet_.l4_offset;
  if (packet_.tuple.protocol == static_cast<uint8_t>(Protocol::tcp)) {
    TcpHeader tcp(l4);
    tcp.set_sequence(packet_.tcp_sequence + done_);
    uint8_t flags = packet_.tcp_flags;
    if (done_ + payload < packet_.payload_length)
      flags &= static_cast<uint8_t>(~(tcp_flag::kFin | tcp_flag::kPsh));
    if (done_ != 0) flags &= static_cast<uint8_t>(~tcp_flag::kCwr);
    tcp.set_flags(flags);
    tcp.set_checksum(0);
    store_native(l4 + kTcpChecksumOffset, finish_checksum(sum_bytes(l4, transport_length, sum)));
  } else {
    UdpHeader udp(l4);
    udp.set_length(static_cast<uint16_t>(transport_length));
    udp.set_checksum(0);
    const uint16_t checksum = finish_checksum(sum_bytes(l4, transport_length, sum));
    store_native<uint16_t>(l4 + kUdpChecksumOffset, checksum == 0 ? uint16_t{0xffff} : checksum);
  }
  done_ += payload;
  ++index_;
  return length;
}

}  // namespace weft
