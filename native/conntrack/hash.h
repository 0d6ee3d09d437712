// Keyed hashing (SipHash-1-3, Aumasson and Bernstein 2012): pods choose addresses, ports and fragment ids, so
// an unkeyed hash would let one of them pile its flows into one bucket. Whole 64-bit words only; what is
// hashed here is of fixed size.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

#include "packet/flow.h"

namespace weft {

using HashKey = std::array<uint64_t, 2>;

class KeyedHash {
 public:
  explicit constexpr KeyedHash(const HashKey& key)
      : v0_(key[0] ^ 0x736f6d6570736575),
        v1_(key[1] ^ 0x646f72616e646f6d),
        v2_(key[0] ^ 0x6c7967656e657261),
        v3_(key[1] ^ 0x7465646279746573) {}

  constexpr void add(uint64_t word) {
    v3_ ^= word;
    round();
    v0_ ^= word;
    ++words_;
  }

  [[nodiscard]] constexpr uint64_t finish() {
    add(words_ << 56 | 0x77);
    v2_ ^= 0xff;
    round();
    round();
    round();
    return v0_ ^ v1_ ^ v2_ ^ v3_;
  }

 private:
  constexpr void round() {
    v0_ += v1_;
    v1_ = std::rotl(v1_, 13) ^ v0_;
    v0_ = std::rotl(v0_, 32);
    v2_ += v3_;
    v3_ = std::rotl(v3_, 16) ^ v2_;
    v0_ += v3_;
    v3_ = std::rotl(v3_, 21) ^ v0_;
    v2_ += v1_;
    v1_ = std::rotl(v1_, 17) ^ v2_;
    v2_ = std::rotl(v2_, 32);
  }

  uint64_t v0_, v1_, v2_, v3_;
  uint64_t words_ = 0;
};

// A tuple as five words: what is stored, compared and hashed.
using TupleWords = std::array<uint64_t, 5>;
inline TupleWords to_words(const FlowTuple& tuple) {
  return std::bit_cast<TupleWords>(tuple);
}
inline FlowTuple from_words(const TupleWords& words) {
  return std::bit_cast<FlowTuple>(words);
}

inline uint64_t hash_words(const HashKey& key, std::span<const uint64_t> words) {
  KeyedHash hash(key);
  for (const uint64_t word : words) hash.add(word);
  return hash.finish();
}

inline uint64_t hash_text(const HashKey& key, std::string_view text) {
  KeyedHash hash(key);
  for (size_t at = 0; at < text.size(); at += 8) {
    uint64_t word = 0;
    std::memcpy(&word, text.data() + at, text.size() - at < 8 ? text.size() - at : 8);
    hash.add(word);
  }
  hash.add(text.size());
  return hash.finish();
}

}  // namespace weft
