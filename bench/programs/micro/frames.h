// Frames of the micro-benchmarks: one TCP or UDP packet over IPv4 or IPv6 as a pod's TAP hands it over, with
// the checksum left to the switch's far end (NEEDS_CSUM) and, where it is longer than a segment, as one GSO
// frame.
#pragma once

#include <array>
#include <cstdint>

#include "base/address.h"
#include "base/mac.h"

namespace weft::bench {

// Of a frame only the headers are kept: nothing on its way through the switch looks at the payload.
inline constexpr uint32_t kHeaderRoom = 128;

struct Frame {
  uint32_t length = 0;                        // vnet header and frame, with the payload
  std::array<uint8_t, kHeaderRoom> header{};  // its beginning
};

struct Wish {
  MacAddress source_mac{}, destination_mac{};
  Address source, destination;
  uint16_t source_port = 0, destination_port = 0;
  uint8_t family = 4;
  bool tcp = true;
  uint8_t flags = 0;          // of TCP
  uint32_t sequence = 0;      // of TCP
  uint32_t acknowledged = 0;  // of TCP
  bool window_scale = false;  // of a SYN: the largest
  uint32_t payload = 0;       // bytes
  uint32_t segment = 1448;    // payload bytes of one packet on a wire; a longer payload makes a GSO frame
};

Frame make_frame(const Wish& wish);

}  // namespace weft::bench
