// What has arrived at the receiver. One thread adds (each receiving thread has a meter of its own), another
// reads; a plain store of the only writer is as cheap as a variable.
#pragma once

#include <atomic>
#include <cstdint>

namespace weft::traffic {

struct alignas(64) Meter {
  std::atomic<uint64_t> datagrams{0};
  std::atomic<uint64_t> bytes{0};

  void add(uint64_t more_datagrams, uint64_t more_bytes) {
    datagrams.store(datagrams.load(std::memory_order_relaxed) + more_datagrams, std::memory_order_relaxed);
    bytes.store(bytes.load(std::memory_order_relaxed) + more_bytes, std::memory_order_relaxed);
  }
};

}  // namespace weft::traffic
