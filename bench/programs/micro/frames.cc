#include "frames.h"

#include <cstring>

#include "base/bytes.h"
#include "header/vnet.h"
#include "packet/checksum.h"

namespace weft::bench {

Frame make_frame(const Wish& wish) {
  constexpr uint32_t kVnet = 10, kEthernet = 14;
  const bool v4 = wish.family == 4;
  const uint32_t ip_length = v4 ? 20 : 40;
  const uint32_t l4_length = wish.tcp ? (wish.window_scale ? 24u : 20u) : 8u;
  Frame frame;
  frame.length = kVnet + kEthernet + ip_length + l4_length + wish.payload;
  uint8_t* const ethernet = frame.header.data() + kVnet;
  std::memcpy(ethernet, wish.destination_mac.data(), 6);
  std::memcpy(ethernet + 6, wish.source_mac.data(), 6);
  store_be16(ethernet + 12, v4 ? 0x0800 : 0x86dd);

  uint8_t* const ip = ethernet + kEthernet;
  const uint8_t protocol = wish.tcp ? 6 : 17;
  const uint32_t transport = l4_length + wish.payload;
  if (v4) {
    ip[0] = 0x45;
    store_be16(ip + 2, static_cast<uint16_t>(ip_length + transport));
    store_be16(ip + 6, 0x4000);
    ip[8] = 64;
    ip[9] = protocol;
    std::memcpy(ip + 12, wish.source.bytes.data() + 12, 4);
    std::memcpy(ip + 16, wish.destination.bytes.data() + 12, 4);
    store_native(ip + 10, finish_checksum(sum_bytes(ip, ip_length)));
  } else {
    ip[0] = 0x60;
    store_be16(ip + 4, static_cast<uint16_t>(transport));
    ip[6] = protocol;
    ip[7] = 64;
    std::memcpy(ip + 8, wish.source.bytes.data(), 16);
    std::memcpy(ip + 24, wish.destination.bytes.data(), 16);
  }

  uint8_t* const l4 = ip + ip_length;
  store_be16(l4, wish.source_port);
  store_be16(l4 + 2, wish.destination_port);
  if (wish.tcp) {
    store_be32(l4 + 4, wish.sequence);
    store_be32(l4 + 8, wish.acknowledged);
    l4[12] = static_cast<uint8_t>(l4_length / 4 << 4);
    l4[13] = wish.flags;
    store_be16(l4 + 14, 65535);
    if (wish.window_scale) std::memcpy(l4 + 20, "\x03\x03\x0e\x01", 4);
  } else {
    store_be16(l4 + 4, static_cast<uint16_t>(transport));
  }
  const uint32_t checksum_offset = wish.tcp ? 16 : 6;
  const uint8_t* const source = v4 ? ip + 12 : ip + 8;
  const uint8_t* const destination = source + (v4 ? 4 : 16);
  store_native(l4 + checksum_offset,
               fold(pseudo_header_sum(source, destination, wish.family, protocol, transport)));

  VnetHeader vnet;
  vnet.flags = VnetHeader::kNeedsChecksum;
  vnet.csum_start = static_cast<uint16_t>(kEthernet + ip_length);
  vnet.csum_offset = static_cast<uint16_t>(checksum_offset);
  if (wish.payload > wish.segment) {
    vnet.gso_type = wish.tcp ? (v4 ? VnetHeader::kGsoTcp4 : VnetHeader::kGsoTcp6) : VnetHeader::kGsoUdp;
    vnet.gso_size = static_cast<uint16_t>(wish.segment);
    vnet.hdr_len = static_cast<uint16_t>(kEthernet + ip_length + l4_length);
  }
  store_vnet(frame.header.data(), vnet);
  return frame;
}

}  // namespace weft::bench
