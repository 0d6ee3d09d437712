// SipHash-1-3 (Aumasson, Bernstein; the short-round variant that hash tables use): keyed, so that a pod
// cannot choose flows that all land in one bucket. The key is drawn once by the process and passed in;
// nothing here is random.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

#include "base/bytes.h"

namespace weft {

struct HashKey {
  uint64_t k0 = 0;
  uint64_t k1 = 0;
};

// Hash of `length` bytes; the same bytes, key and length give the same value on every machine. Reads nothing
// beyond `length`.
[[nodiscard]] inline uint64_t hash_bytes(const HashKey& key, const void* data, size_t length) {
  uint64_t v0 = key.k0 ^ 0x736f6d6570736575u;
  uint64_t v1 = key.k1 ^ 0x646f72616e646f6du;
  uint64_t v2 = key.k0 ^ 0x6c7967656e657261u;
  uint64_t v3 = key.k1 ^ 0x7465646279746573u;
  const auto round = [&] {
    v0 += v1;
    v1 = std::rotl(v1, 13) ^ v0;
    v0 = std::rotl(v0, 32);
    v2 += v3;
    v3 = std::rotl(v3, 16) ^ v2;
    v0 += v3;
    v3 = std::rotl(v3, 21) ^ v0;
    v2 += v1;
    v1 = std::rotl(v1, 17) ^ v2;
    v2 = std::rotl(v2, 32);
  };
  const auto* p = static_cast<const uint8_t*>(data);
  const size_t whole = length & ~size_t{7};
  for (size_t i = 0; i < whole; i += 8) {
    const uint64_t m = load_le64(p + i);
    v3 ^= m;
    round();
    v0 ^= m;
  }
  uint64_t last = static_cast<uint64_t>(length) << 56;
  for (size_t i = whole; i < length; ++i) last |= static_cast<uint64_t>(p[i]) << (8 * (i - whole));
  v3 ^= last;
  round();
  v0 ^= last;
  v2 ^= 0xff;
  round();
  round();
  round();
  return v0 ^ v1 ^ v2 ^ v3;
}

}  // namespace weft
