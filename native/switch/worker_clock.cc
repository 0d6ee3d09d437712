#include "switch/worker_clock.h"

#include <chrono>

namespace weft {

// steady_clock is CLOCK_MONOTONIC with libstdc++ and libc++ on Linux: it counts from boot, for all processes
// alike.
uint64_t MonotonicClock::now_ns() noexcept {
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(
                                   std::chrono::steady_clock::now().time_since_epoch())
                                   .count());
}

}  // namespace weft
