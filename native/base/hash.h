// Keyed hashing: SipHash-1-3 (Aumasson and Bernstein 2012; the short-round variant that hash tables use).
// Pods choose addresses, ports and fragment ids, so an unkeyed hash would let one of them pile its flows into
// one bucket. The key is drawn once by the process and passed in; nothing here is random.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/bytes.h"

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
    absorb(word);
    bytes_ += 8;
  }

  // The hash of all words added, followed by `tail_length` < 8 bytes, which are the low bytes of `tail`.
  // Called once.
  [[nodiscard]] constexpr uint64_t finish(uint64_t tail = 0, size_t tail_length = 0) {
    absorb((bytes_ + tail_length) << 56 | tail);
    return squeeze();
  }

  // One word of a message whose first word tells its length, so that none is the beginning of another: what
  // SipHash's last block, which holds the length, is for. Closed by squeeze() instead of finish().
  constexpr void absorb(uint64_t word) {
    v3_ ^= word;
    round();
    v0_ ^= word;
  }
  [[nodiscard]] constexpr uint64_t squeeze() {
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
  uint64_t bytes_ = 0;
};

[[nodiscard]] inline uint64_t hash_words(const HashKey& key, std::span<const uint64_t> words) {
  KeyedHash hash(key);
  for (const uint64_t word : words) hash.add(word);
  return hash.finish();
}

// The same bytes, key and length give the same value on every machine. Reads nothing beyond `length`.
[[nodiscard]] inline uint64_t hash_bytes(const HashKey& key, const void* data, size_t length) {
  KeyedHash hash(key);
  const auto* at = static_cast<const uint8_t*>(data);
  for (; length >= 8; at += 8, length -= 8) hash.add(load_le64(at));
  uint64_t tail = 0;
  for (size_t i = 0; i < length; ++i) tail |= static_cast<uint64_t>(at[i]) << (8 * i);
  return hash.finish(tail, length);
}

[[nodiscard]] inline uint64_t hash_text(const HashKey& key, std::string_view text) {
  return hash_bytes(key, text.data(), text.size());
}

}  // namespace weft
