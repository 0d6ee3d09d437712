// A tuple as five words: the form in which it is stored, compared and hashed.
#pragma once

#include <array>
#include <bit>
#include <cstdint>

#include "base/hash.h"
#include "packet/flow.h"

namespace weft {

using TupleWords = std::array<uint64_t, 5>;
inline TupleWords to_words(const FlowTuple& tuple) {
  return std::bit_cast<TupleWords>(tuple);
}
inline FlowTuple from_words(const TupleWords& words) {
  return std::bit_cast<FlowTuple>(words);
}

// Keyed, for the tables that attackers choose the keys of. Ports, protocol and family come first and tell how
// many words follow: an IPv4 tuple has 16 bytes that differ from another's.
[[nodiscard]] inline uint64_t hash_tuple(const HashKey& key, const TupleWords& words) {
  static_assert(std::endian::native == std::endian::little);
  constexpr uint64_t kFamily = 0xff, kFamilyShift = 40;
  KeyedHash hash(key);
  hash.absorb(words[4]);
  if ((words[4] >> kFamilyShift & kFamily) == 4) {
    hash.absorb(words[1] >> 32 | (words[3] >> 32) << 32);
  } else {
    hash.absorb(words[0]);
    hash.absorb(words[1]);
    hash.absorb(words[2]);
    hash.absorb(words[3]);
  }
  return hash.squeeze();
}

}  // namespace weft
