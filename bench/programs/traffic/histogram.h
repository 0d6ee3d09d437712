// A histogram of durations with a bounded relative error, as HdrHistogram has it (log-linear: each power of
// two is cut into 128 equal parts), so that a percentile is right to less than 1 % from a nanosecond to 18
// minutes, and adding one is an increment.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>

namespace weft::traffic {

class Histogram {
 public:
  // Negative durations count as 0, longer ones than the longest as the longest.
  void add(int64_t ns) {
    const uint64_t value = std::min(static_cast<uint64_t>(std::max<int64_t>(ns, 0)), kLongest);
    ++counts_[slot_of(value)];
    ++total_;
  }

  [[nodiscard]] uint64_t total() const { return total_; }

  // The smallest duration (ns, middle of its slot) that `share` (0…1) of all are not longer than: the
  // nearest-rank definition. 0 where nothing was added.
  [[nodiscard]] double percentile(double share) const {
    if (total_ == 0) return 0;
    const auto rank = std::clamp<uint64_t>(
        static_cast<uint64_t>(std::ceil(share * static_cast<double>(total_))), 1, total_);
    uint64_t seen = 0;
    for (size_t slot = 0; slot < kSlots; ++slot) {
      seen += counts_[slot];
      if (seen >= rank) return static_cast<double>(start_of(slot) + start_of(slot + 1) - 1) / 2;
    }
    return static_cast<double>(kLongest);
  }

 private:
  static constexpr unsigned kPartBits = 7;
  static constexpr unsigned kLongestBits = 40;
  static constexpr uint64_t kParts = uint64_t{1} << kPartBits;
  static constexpr uint64_t kLongest = (uint64_t{1} << kLongestBits) - 1;
  static constexpr size_t kSlots = (kLongestBits - kPartBits + 1) * kParts;

  // Below 128 every value has a slot; above, the seven bits after the leading one choose it.
  static size_t slot_of(uint64_t value) {
    if (value < kParts) return static_cast<size_t>(value);
    const unsigned shift = static_cast<unsigned>(std::bit_width(value)) - kPartBits - 1;
    return static_cast<size_t>((shift + 1) * kParts + ((value >> shift) - kParts));
  }
  static uint64_t start_of(size_t slot) {
    if (slot < kParts) return slot;
    const uint64_t shift = slot / kParts - 1;
    return (kParts + slot % kParts) << shift;
  }

  std::array<uint64_t, kSlots> counts_{};
  uint64_t total_ = 0;
};

}  // namespace weft::traffic
