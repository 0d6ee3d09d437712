// Fragmentation of an IPv4 packet that is larger than the way out and may be fragmented (RFC 791
// section 3.2): for links of different MTU, where the sender did not set DF. IPv6 is never fragmented on the
// way (RFC 8200 section 4.5).
//
// A packet with options is left alone (which of them go into later fragments depends on each option's copied
// flag; nobody sends them), and so is a GSO frame, whose segments a TCP makes smaller when it is told the
// MTU.
#pragma once

#include <cstdint>
#include <span>

#include "packet/packet.h"

namespace weft {

class Fragmenter {
 public:
  [[nodiscard]] static bool applies(const Packet& packet) {
    return packet.tuple.family == 4 && !packet.dont_fragment && !packet.is_gso() &&
           packet.l4_offset - packet.l3_offset == 20;
  }
  // applies(packet) must hold, its checksum must be complete, and mtu at least 68 (RFC 791). The packet's
  // bytes must stay as they are while fragments are taken. A packet that is a fragment itself is split
  // further.
  Fragmenter(const Packet& packet, uint32_t mtu) : packet_(packet), chunk_((mtu - 20) / 8 * 8) {}
  // Writes the next fragment, an Ethernet frame, to `out` and returns its length; 0 after the last, or where
  // `out` is too short.
  [[nodiscard]] uint32_t next(std::span<uint8_t> out);

 private:
  const Packet& packet_;
  const uint32_t chunk_;  // octets of payload in each but the last
  uint32_t done_ = 0;
};

}  // namespace weft
