// Time for the switch: monotonic, the same for every process since boot (CLOCK_MONOTONIC), because
// connections outlive a switch process. Only a worker reads it; everything below takes `now_ns` as an
// argument.
#pragma once

#include <cstdint>

namespace weft {

class Clock {
 public:
  virtual ~Clock() = default;
  [[nodiscard]] virtual uint64_t now_ns() noexcept = 0;
};

class MonotonicClock final : public Clock {
 public:
  [[nodiscard]] uint64_t now_ns() noexcept override;
};

}  // namespace weft
