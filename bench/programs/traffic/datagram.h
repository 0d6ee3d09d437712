// What every datagram begins with. Host order: both ends run on one machine.
#pragma once

#include <cstddef>
#include <cstdint>

namespace weft::traffic {

inline constexpr uint32_t kMagic = 0x77656674;  // "weft"

struct DatagramHeader {
  uint32_t magic;
  uint32_t flow;      // which of many flows, 0 where there is one
  uint64_t sequence;  // in an acknowledgement: the highest that has arrived, plus one
};
static_assert(sizeof(DatagramHeader) == 16);

inline constexpr size_t kLargestDatagram = 65'507;

}  // namespace weft::traffic
