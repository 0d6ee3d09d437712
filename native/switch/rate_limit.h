// The bandwidth of one direction of a port: a token bucket of bits that may be overdrawn.
//
// What passes last may cost more than is left, and what comes next waits until the debt is paid. So a frame
// of 64 KB (sixty segments to the wire) passes a bucket of any size, and the mean rate is kept all the same.
// With an exact bucket a burst below 64 KB would let no large frame pass ever.
//
// Generic cell rate algorithm (ITU-T I.371): `full_at_` is when the bucket would be full again, in sixteenths
// of a nanosecond. A clock that stands still or runs backwards gives nothing.
//
// Threads: set() by the control thread, all else by any worker at the same time.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

namespace weft {

// Bits a second, and bits at once; seen from the pod. A rate of 0: no limit. A burst of 0: what the rate
// gives in kShapedBurstNs (egress) or kPolicedBurstNs (ingress).
struct Bandwidth {
  uint64_t ingress_rate = 0;
  uint64_t ingress_burst = 0;
  uint64_t egress_rate = 0;
  uint64_t egress_burst = 0;
};

class RateLimit {
 public:
  // A worker that sleeps wakes up to the millisecond, so a bucket that fills faster than this would spill.
  static constexpr uint64_t kLeastBurstNs = 5'000'000;

  // Where nobody has chosen a burst. What is policed is lost, and TCP that loses halves its window: it needs
  // room for what it sends while it learns of the loss. What is shaped waits and loses nothing.
  static constexpr uint64_t kShapedBurstNs = 100'000'000;
  static constexpr uint64_t kPolicedBurstNs = 500'000'000;

  void set(uint64_t rate, uint64_t burst, uint64_t unchosen_ns) noexcept {
    constexpr double kLongest = 1e17;  // three years
    const double burst_ns = rate == 0    ? 0
                            : burst == 0 ? static_cast<double>(unchosen_ns)
                                         : static_cast<double>(burst) * 1e9 / static_cast<double>(rate);
    burst_ns_.store(std::max(kLeastBurstNs, static_cast<uint64_t>(std::min(burst_ns, kLongest))),
                    std::memory_order_relaxed);
    rate_.store(rate, std::memory_order_relaxed);
  }

  [[nodiscard]] bool limits() const noexcept { return rate_.load(std::memory_order_relaxed) != 0; }

  // Nanoseconds until something may pass; 0: now.
  [[nodiscard]] uint64_t wait(uint64_t now_ns) const noexcept {
    if (!limits()) return 0;
    const uint64_t from_ns = full_at_.load(std::memory_order_relaxed) / kUnits;
    const uint64_t passes_at_ns = from_ns - std::min(from_ns, burst_ns_.load(std::memory_order_relaxed) - 1);
    return passes_at_ns > now_ns ? passes_at_ns - now_ns : 0;
  }

  // What has passed is paid for.
  void pay(uint64_t now_ns, uint64_t bytes) noexcept {
    uint64_t full_at = full_at_.load(std::memory_order_relaxed);
    while (!full_at_.compare_exchange_weak(full_at, std::max(full_at, now_ns * kUnits) + cost(bytes),
                                           std::memory_order_relaxed)) {
    }
  }

  // Both: false, and nothing is paid, where it would have to wait.
  bool admit(uint64_t now_ns, uint64_t bytes) noexcept {
    if (wait(now_ns) != 0) return false;
    pay(now_ns, bytes);
    return true;
  }

 private:
  static constexpr uint64_t kUnits = 16;
  [[nodiscard]] uint64_t cost(uint64_t bytes) const noexcept {
    const uint64_t rate = rate_.load(std::memory_order_relaxed);
    return rate == 0 ? 0 : bytes * 8 * (1'000'000'000ull * kUnits) / rate;
  }

  std::atomic<uint64_t> rate_{0};
  std::atomic<uint64_t> burst_ns_{kLeastBurstNs};
  std::atomic<uint64_t> full_at_{0};
};

}  // namespace weft
