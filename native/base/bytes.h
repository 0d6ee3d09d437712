// Loads and stores of wire integers. All go through memcpy: frames are not aligned, and ARM boards may fault
// on a cast.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

namespace weft {

static_assert(std::endian::native == std::endian::little || std::endian::native == std::endian::big);

template <class T>
[[nodiscard]] inline T load_native(const uint8_t* p) {
  T value;
  std::memcpy(&value, p, sizeof(T));
  return value;
}
template <class T>
inline void store_native(uint8_t* p, T value) {
  std::memcpy(p, &value, sizeof(T));
}

[[nodiscard]] constexpr uint16_t swap_bytes(uint16_t v) {
  return __builtin_bswap16(v);
}
[[nodiscard]] constexpr uint32_t swap_bytes(uint32_t v) {
  return __builtin_bswap32(v);
}
[[nodiscard]] constexpr uint64_t swap_bytes(uint64_t v) {
  return __builtin_bswap64(v);
}

// Big-endian ("network order") integer <-> host integer.
template <class T>
[[nodiscard]] constexpr T big_endian(T v) {
  if constexpr (std::endian::native == std::endian::little) return swap_bytes(v);
  return v;
}
template <class T>
[[nodiscard]] constexpr T little_endian(T v) {
  if constexpr (std::endian::native == std::endian::big) return swap_bytes(v);
  return v;
}

[[nodiscard]] inline uint16_t load_be16(const uint8_t* p) {
  return big_endian(load_native<uint16_t>(p));
}
[[nodiscard]] inline uint32_t load_be32(const uint8_t* p) {
  return big_endian(load_native<uint32_t>(p));
}
[[nodiscard]] inline uint64_t load_be64(const uint8_t* p) {
  return big_endian(load_native<uint64_t>(p));
}
inline void store_be16(uint8_t* p, uint16_t v) {
  store_native(p, big_endian(v));
}
inline void store_be32(uint8_t* p, uint32_t v) {
  store_native(p, big_endian(v));
}
inline void store_be64(uint8_t* p, uint64_t v) {
  store_native(p, big_endian(v));
}

[[nodiscard]] inline uint32_t load_le32(const uint8_t* p) {
  return little_endian(load_native<uint32_t>(p));
}
[[nodiscard]] inline uint64_t load_le64(const uint8_t* p) {
  return little_endian(load_native<uint64_t>(p));
}
inline void store_le32(uint8_t* p, uint32_t v) {
  store_native(p, little_endian(v));
}

}  // namespace weft
