// Units of time. Times are nanoseconds everywhere; the clock is an argument.
#pragma once

#include <cstdint>

namespace weft {

inline constexpr uint64_t kSecond = 1'000'000'000;

}  // namespace weft
