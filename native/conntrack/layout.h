// The file form of the connection table: header and offsets. Private to table.cc and recovery.cc (and the
// tests that damage it).
#pragma once

#include <bit>

#include "conntrack/table.h"

namespace weft {

inline constexpr uint64_t kConnectionsMagic = 0x314e4e4f43544657;  // "WFTCONN1" as little-endian octets
inline constexpr uint32_t kConnectionsVersion = 5;                 // raise with any change to what is stored
inline constexpr uint32_t kMaxCapacity = 1u << 24;
inline constexpr uint32_t kEndMark = 0x80000000;  // in a link: end of the chain of the bucket in the low bits

struct ConnectionTable::FileHeader {
  struct GenerationSlot {
    std::atomic<uint64_t> value;
    std::atomic<uint64_t> check;
  };
  std::atomic<uint64_t> magic;  // written last when a region is formatted, so that half a format is no file
  uint32_t version;
  uint32_t header_octets;
  uint32_t entry_octets;
  uint32_t capacity;
  uint32_t buckets;
  uint32_t max_ports;
  uint64_t region_octets;
  HashKey identity_key;  // of port identities and entry checks; random, made when the region is formatted
  uint64_t check;        // over all of the above
  alignas(64) std::array<GenerationSlot, 2> generation;

  [[nodiscard]] uint64_t expected_check() const {
    const std::array<uint64_t, 7> words{kConnectionsMagic,
                                        static_cast<uint64_t>(version) << 32 | header_octets,
                                        static_cast<uint64_t>(entry_octets) << 32 | capacity,
                                        static_cast<uint64_t>(buckets) << 32 | max_ports,
                                        region_octets,
                                        identity_key[0],
                                        identity_key[1]};
    return hash_words({0x77656674, 0x636f6e6e}, words);
  }
  [[nodiscard]] uint64_t generation_check(size_t slot, uint64_t value) const {
    const std::array<uint64_t, 2> words{slot, value};
    return hash_words(identity_key, words);
  }
};

// Byte offsets of the parts of a region, each aligned to a cache line.
struct RegionLayout {
  size_t slots, buckets, ranks, entries, total;
  uint32_t bucket_count;
};

// What never changes in an entry's life, hashed: recovery believes an entry only if this fits.
uint64_t entry_check(const HashKey& key, const Entry& entry, Word word);
inline constexpr uint32_t kFixedFlags =
    kDestinationTranslated | kSourceTranslated | kHairpin | kPickedUp | kChangesEnd;

}  // namespace weft
