// A link-layer address, in wire order.
#pragma once

#include <array>
#include <cstdint>

namespace weft {

using MacAddress = std::array<uint8_t, 6>;

}  // namespace weft
