#include "base/address.h"

#include <cstdio>

namespace weft {

std::string to_string(const Address& address) {
  char text[48];
  if (address.is_v4()) {
    const uint32_t v = address.v4_value();
    std::snprintf(text, sizeof(text), "%u.%u.%u.%u", v >> 24, v >> 16 & 0xff, v >> 8 & 0xff, v & 0xff);
    return text;
  }
  // RFC 5952: the first of the longest runs of at least two zero groups is written "::".
  unsigned groups[8];
  for (size_t i = 0; i < 8; ++i)
    groups[i] = static_cast<unsigned>(address.bytes[2 * i] << 8 | address.bytes[2 * i + 1]);
  int run_at = -1, run_length = 1;
  for (int i = 0; i < 8; ++i) {
    int length = 0;
    while (i + length < 8 && groups[i + length] == 0) ++length;
    if (length > run_length) {
      run_at = i;
      run_length = length;
    }
  }
  std::string out;
  for (int i = 0; i < 8; ++i) {
    if (i == run_at) {
      out += "::";
      i += run_length - 1;
      continue;
    }
    if (!out.empty() && out.back() != ':') out += ':';
    std::snprintf(text, sizeof(text), "%x", groups[i]);
    out += text;
  }
  return out;
}

}  // namespace weft
