// MurmurHash3 (x86, 32 bits; Austin Appleby, public domain) over 32-bit words, the same as src/image/hash.ts.
// It finds buckets and detects damage; it protects against nobody, which is why the loader validates
// everything besides.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/address.h"

namespace weft {

// Images are little-endian and are read in place.
static_assert(std::endian::native == std::endian::little);

constexpr uint32_t image_mix(uint32_t hash, uint32_t word) {
  const uint32_t k = std::rotl(word * 0xcc9e2d51u, 15) * 0x1b873593u;
  return std::rotl(hash ^ k, 13) * 5 + 0xe6546b64u;
}

// words: how many were mixed in.
constexpr uint32_t image_finish(uint32_t hash, uint32_t words) {
  uint32_t h = hash ^ (4 * words);
  h = (h ^ (h >> 16)) * 0x85ebca6bu;
  h = (h ^ (h >> 13)) * 0xc2b2ae35u;
  return h ^ (h >> 16);
}

constexpr uint32_t image_hash(uint32_t seed, uint32_t a, uint32_t b) {
  return image_finish(image_mix(image_mix(seed, a), b), 2);
}

inline uint32_t image_mix_address(uint32_t hash, const uint8_t* address) {
  uint32_t words[4];
  std::memcpy(words, address, sizeof(words));
  for (const uint32_t word : words) hash = image_mix(hash, word);
  return hash;
}

inline uint32_t image_hash_address(uint32_t seed, const uint8_t* address) {
  return image_finish(image_mix_address(seed, address), 4);
}

inline uint32_t image_hash_frontend(uint32_t seed, uint8_t protocol, uint16_t port, const uint8_t* address) {
  const uint32_t first = uint32_t{protocol} << 16 | port;
  return image_finish(image_mix_address(image_mix(seed, first), address), 5);
}

// Two 32-bit hashes over the bytes as little-endian words; the last word is filled with zeros and the length
// goes in last.
inline uint64_t image_checksum(const uint8_t* bytes, size_t length) {
  uint32_t low = 0x77656674;
  uint32_t high = 0x696d6731;
  uint32_t words = 0;
  const auto mix = [&](uint32_t word) {
    low = image_mix(low, word);
    high = image_mix(high ^ 0x5bd1e995u, word);
    ++words;
  };
  size_t i = 0;
  for (; i + 4 <= length; i += 4) {
    uint32_t word;
    std::memcpy(&word, bytes + i, 4);
    mix(word);
  }
  if (i < length) {
    uint32_t word = 0;
    std::memcpy(&word, bytes + i, length - i);
    mix(word);
  }
  mix(static_cast<uint32_t>(length));
  return uint64_t{image_finish(high, words)} << 32 | image_finish(low, words);
}

}  // namespace weft
