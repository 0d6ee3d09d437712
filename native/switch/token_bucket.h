// A token bucket whose clock is an argument. One thread.
#pragma once

#include <algorithm>
#include <cstdint>

namespace weft {

class TokenBucket {
 public:
  // A new bucket is full. rate: tokens a second; burst: most tokens held.
  void configure(uint32_t rate, uint32_t burst) noexcept {
    interval_ns_ = rate == 0 ? 0 : 1'000'000'000ull / rate;
    depth_ns_ = interval_ns_ * std::max(1u, burst);
    unlimited_ = rate == 0;
  }

  // Generic cell rate algorithm (ITU-T I.371): `full_at_` is when the bucket would be full again. No clock
  // that stands still or runs backwards gives more than `burst`.
  bool take(uint64_t now_ns) noexcept {
    if (unlimited_) return true;
    const uint64_t from = std::max(full_at_, now_ns);
    if (from + interval_ns_ > now_ns + depth_ns_) return false;
    full_at_ = from + interval_ns_;
    return true;
  }

 private:
  uint64_t interval_ns_ = 0;
  uint64_t depth_ns_ = 0;
  uint64_t full_at_ = 0;
  bool unlimited_ = true;
};

}  // namespace weft
