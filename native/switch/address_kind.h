// Addresses that no pod has: of a link, of many.
#pragma once

#include "base/address.h"

namespace weft {

inline bool is_link_local(const Address& address) noexcept {
  if (address.is_v4()) return address.v4_value() >> 16 == 0xa9fe;
  return address.bytes[0] == 0xfe && (address.bytes[1] & 0xc0) == 0x80;
}

inline bool is_multicast(const Address& address) noexcept {
  return address.is_v4() ? address.v4_value() >> 28 == 0xe : address.bytes[0] == 0xff;
}

}  // namespace weft
