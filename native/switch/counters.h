// Counters of one port, kept by one worker. Each block has one writer, so that counting is a plain load, add
// and store; readers (the control thread) sum the blocks without a lock and see values that are at most a
// moment old and never go back.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "generated/drop_reason.h"

namespace weft {

class Counter {
 public:
  // The one writing worker only.
  void add(uint64_t n) noexcept {
    value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  [[nodiscard]] uint64_t value() const noexcept { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};

// Received and sent are seen from the switch: rx came from the pod, tx went to it. A drop is counted at the
// port that the packet came from. Bytes are those of Ethernet frames; a GSO frame counts as one packet.
struct alignas(64) PortCounters {
  Counter rx_packets, rx_bytes;
  Counter tx_packets, tx_bytes;
  Counter answers;                               // ARP, ND, ICMP and resets by the switch itself
  Counter connections;                           // connections that this port began
  Counter busy_ns;                               // time the worker spent on this port's packets
  Counter throttled_ns;                          // time that the port was left unread for its bandwidth
  Counter policed;                               // packets to the port beyond its bandwidth; see `drops`
  std::array<Counter, drop_reason_count> drops;  // by DropReason; `none` stays 0
};

// A copy, summed over workers.
struct PortTotals {
  uint64_t rx_packets = 0, rx_bytes = 0;
  uint64_t tx_packets = 0, tx_bytes = 0;
  uint64_t answers = 0, connections = 0, busy_ns = 0;
  uint64_t throttled_ns = 0, policed = 0;
  std::array<uint64_t, drop_reason_count> drops{};

  void add(const PortCounters& counters) noexcept;
  void add(const PortTotals& totals) noexcept;
};

}  // namespace weft
