// A token bucket whose clock is an argument. One thread.
#pragma once

#include <algorithm>
#include <cstdint>

namespace weft {

class TokenBucket {
 public:
  // A new bucket is full. rate: tokens a second, 0 is no limit; burst: most tokens held, at least 1. Both may
  // change between calls.
  //
  // Generic cell rate algorithm (ITU-T I.371): `full_at_` is when the bucket would be full again. No clock
  // that stands still or runs backwards gives more than `burst`.
  bool take(uint64_t now_ns, uint32_t rate, uint32_t burst) noexcept {
    if (rate == 0) return true;
    const uint64_t interval = 1'000'000'000ull / rate;
    const uint64_t from = std::max(full_at_, now_ns);
    if (from + interval > now_ns + interval * std::max(1u, burst)) return false;
    full_at_ = from + interval;
    return true;
  }

 private:
  uint64_t full_at_ = 0;
};

}  // namespace weft
