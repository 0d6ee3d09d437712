#include "base/address.h"

#include <cstdio>

namespace weft {

namespace {

// RFC 5952: lower case, no leading zeros, the longest run of at least two zero groups (the first of equals)
// becomes "::".
std::string to_string_v6(const std::array<uint8_t, 16>& bytes) {
  std::array<unsigned, 8> groups{};
  for (size_t i = 0; i < 8; ++i) groups[i] = static_cast<unsigned>(bytes[2 * i]) << 8 | bytes[2 * i + 1];
  size_t best_start = 8, best_length = 1;
  for (size_t i = 0; i < 8;) {
    size_t length = 0;
    while (i + length < 8 && groups[i + length] == 0) ++length;
    if (length > best_length) {
      best_start = i;
      best_length = length;
    }
    i += length + 1;
  }
  std::string text;
  for (size_t i = 0; i < 8;) {
    if (i == best_start) {
      text += "::";
      i += best_length;
      continue;
    }
    if (!text.empty() && text.back() != ':') text += ':';
    char group[8];
    std::snprintf(group, sizeof group, "%x", groups[i]);
    text += group;
    ++i;
  }
  return text;
}

}  // namespace

std::string to_string(const Address& address) {
  if (!address.is_v4()) return to_string_v6(address.bytes);
  const auto& b = address.bytes;
  char text[16];
  std::snprintf(text, sizeof text, "%u.%u.%u.%u", static_cast<unsigned>(b[12]), static_cast<unsigned>(b[13]),
                static_cast<unsigned>(b[14]), static_cast<unsigned>(b[15]));
  return text;
}

}  // namespace weft
