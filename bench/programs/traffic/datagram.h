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

// The sequence of a datagram that opens a flow: it is answered and not counted.
inline constexpr uint64_t kOpening = UINT64_MAX;
// The server's ports for many flows follow the data port at this distance.
inline constexpr unsigned kFirstFlowPort = 10;

inline constexpr size_t kLargestDatagram = 65'507;

// After the last datagram was sent, until the receiver's total is read: queues run empty.
inline constexpr int64_t kDrainNs = 50'000'000;

}  // namespace weft::traffic
