// A lock of four octets, held for a few comparisons at most. Zeros are an open one, so that it may lie in
// memory that nobody constructed; it belongs to one process at a time, and whoever takes such memory over
// opens all locks in it.
//
// The lowest bit says that it is taken, the others how often it was given back: a test reads from them that
// packets of an established flow take none.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>

namespace weft {

class SpinLock {
 public:
  // Spins briefly, then yields: on two cores the holder may be waiting for ours.
  void lock() noexcept {
    for (unsigned tries = 0;; ++tries) {
      uint32_t seen = word_.load(std::memory_order_relaxed);
      if ((seen & 1) == 0 &&
          word_.compare_exchange_weak(seen, seen + 1, std::memory_order_acquire, std::memory_order_relaxed))
        return;
      if (tries >= 64) std::this_thread::yield();
    }
  }
  // The holder is the only writer.
  void unlock() noexcept {
    word_.store(word_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
  }
  // Whatever it was: of a table that nobody uses yet.
  void open() noexcept { word_.store(0, std::memory_order_relaxed); }

  [[nodiscard]] bool taken() const noexcept { return (word_.load(std::memory_order_relaxed) & 1) != 0; }
  // Times that it was taken and given back, modulo 2^31.
  [[nodiscard]] uint32_t times() const noexcept { return word_.load(std::memory_order_relaxed) >> 1; }

 private:
  std::atomic<uint32_t> word_{0};
};
static_assert(sizeof(SpinLock) == 4);

}  // namespace weft
