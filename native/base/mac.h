// A link-layer address, in wire order.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>

namespace weft {

using MacAddress = std::array<uint8_t, 6>;

// Whether the six bytes at `wire` are this address; two comparisons instead of a call of memcmp.
[[nodiscard]] inline bool mac_is(const uint8_t* wire, const MacAddress& mac) {
  uint32_t a, b;
  uint16_t c, d;
  std::memcpy(&a, wire, 4);
  std::memcpy(&b, mac.data(), 4);
  std::memcpy(&c, wire + 4, 2);
  std::memcpy(&d, mac.data() + 4, 2);
  return ((a ^ b) | static_cast<uint32_t>(c ^ d)) == 0;
}

}  // namespace weft
