// The Internet checksum (RFC 1071), its incremental update (RFC 1624) and the pseudo-headers (RFC 9293
// section 3.1, RFC 8200 8.1).
//
// A "sum" is the one's complement sum of 16-bit words as they lie in memory (native order; the sum does not
// care, RFC 1071 section 2 (B)), in 32 or 64 bits, not yet folded. A "checksum" is the folded and inverted
// value, still in memory order: it is stored with store_native. Parsed fields of header/*.h are host order;
// do not mix.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

#include "base/bytes.h"
#include "packet/packet.h"

namespace weft {

// Halves are added with the carry going around: a sum and its halves changed over, added, have it in the
// upper half.
[[nodiscard]] constexpr uint16_t fold(uint64_t sum) {
  const auto words = static_cast<uint32_t>((sum + std::rotl(sum, 32)) >> 32);
  return static_cast<uint16_t>((words + std::rotl(words, 16)) >> 16);
}

// The sum of an IPv4 header without options.
[[nodiscard]] inline uint64_t sum_ipv4_header(const uint8_t* p) {
  return uint64_t{load_native<uint32_t>(p)} + load_native<uint32_t>(p + 4) + load_native<uint32_t>(p + 8) +
         load_native<uint32_t>(p + 12) + load_native<uint32_t>(p + 16);
}

// Adds `length` bytes to `sum`; an odd last byte is padded with zero, so only the last piece may be odd.
[[nodiscard]] uint64_t sum_bytes(const uint8_t* data, size_t length, uint64_t sum = 0);

// Sum of the pseudo-header of a packet whose addresses lie at `source` and `destination` (4 or 16 bytes
// each).
[[nodiscard]] uint64_t pseudo_header_sum(const uint8_t* source, const uint8_t* destination, uint8_t family,
                                         uint8_t protocol, uint32_t transport_length);

[[nodiscard]] inline uint16_t finish_checksum(uint64_t sum) {
  return static_cast<uint16_t>(~fold(sum));
}

// A change of 16-bit aligned bytes: add what was taken away and what came, apply to any checksum that covers
// them.
class ChecksumDelta {
 public:
  void replace16(uint16_t old_value, uint16_t new_value) {
    sum_ += static_cast<uint16_t>(~old_value);
    sum_ += new_value;
  }
  void replace32(uint32_t old_value, uint32_t new_value) {
    sum_ += static_cast<uint32_t>(~old_value);
    sum_ += new_value;
  }
  void replace64(uint64_t old_value, uint64_t new_value) {
    replace32(static_cast<uint32_t>(old_value), static_cast<uint32_t>(new_value));
    replace32(static_cast<uint32_t>(old_value >> 32), static_cast<uint32_t>(new_value >> 32));
  }
  // `length` even, at most 65536.
  void replace(const uint8_t* old_bytes, const uint8_t* new_bytes, size_t length) {
    for (size_t i = 0; i < length; i += 2)
      replace16(load_native<uint16_t>(old_bytes + i), load_native<uint16_t>(new_bytes + i));
  }
  void add(const ChecksumDelta& other) { sum_ += other.sum_; }
  // RFC 1624 equation 3: HC' = ~(~HC + ~m + m').
  [[nodiscard]] uint16_t apply(uint16_t checksum) const {
    return static_cast<uint16_t>(~fold(sum_ + static_cast<uint16_t>(~checksum)));
  }
  // The same change in 16 bits, for apply_change() and apply_change_to_sum().
  [[nodiscard]] uint16_t folded() const { return fold(sum_); }
  // For a field that holds a sum rather than its inverse (the pseudo-header sum of a partial checksum).
  [[nodiscard]] uint16_t apply_to_sum(uint16_t partial) const { return fold(sum_ + partial); }

 private:
  uint64_t sum_ = 0;
};

// A change that was folded before: what apply() and apply_to_sum() give. ~(~HC + change) is HC - change, the
// carry that goes around becoming a borrow.
[[nodiscard]] inline uint16_t apply_change(uint16_t checksum, uint16_t change) {
  uint16_t left = 0;
  const bool borrow = __builtin_sub_overflow(checksum, change, &left);
  return static_cast<uint16_t>(left - borrow);
}
[[nodiscard]] inline uint16_t apply_change_to_sum(uint16_t partial, uint16_t change) {
  uint16_t sum = 0;
  const bool carry = __builtin_add_overflow(partial, change, &sum);
  return static_cast<uint16_t>(sum + carry);
}

// Whether the packet's transport checksum is right, computed from the bytes: TCP, UDP (0 = none is right in
// IPv4 only), ICMP, ICMPv6, SCTP. True for other protocols (nothing to check), for fragments (cannot be
// checked) and for a checksum that is still to be completed.
[[nodiscard]] bool transport_checksum_valid(const Packet& packet);

// Completes a partial checksum in place and clears the claim in packet.vnet; the pseudo-header sum that the
// sender put in the field is not used. For a path without checksum offload. A GSO packet must be segmented
// instead (returns false, nothing changed).
bool complete_checksum(Packet& packet);

}  // namespace weft
