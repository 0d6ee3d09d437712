// IPv4 (RFC 791).
#pragma once

#include <cstdint>

#include "base/bytes.h"

namespace weft {

inline constexpr uint32_t kIpv4MinLength = 20;

class Ipv4Header {
 public:
  static constexpr uint16_t kDontFragment = 0x4000;
  static constexpr uint16_t kMoreFragments = 0x2000;
  static constexpr uint16_t kOffsetMask = 0x1fff;

  // Option types that name a route (RFC 791 section 3.1); a forwarded packet must not choose its own.
  static constexpr uint8_t kOptionEnd = 0;
  static constexpr uint8_t kOptionNop = 1;
  static constexpr uint8_t kOptionLooseSourceRoute = 131;
  static constexpr uint8_t kOptionStrictSourceRoute = 137;

  explicit Ipv4Header(uint8_t* bytes) : p_(bytes) {}
  [[nodiscard]] uint8_t version() const { return p_[0] >> 4; }
  [[nodiscard]] uint32_t header_length() const { return static_cast<uint32_t>(p_[0] & 15) * 4; }
  [[nodiscard]] uint8_t tos() const { return p_[1]; }
  [[nodiscard]] uint16_t total_length() const { return load_be16(p_ + 2); }
  [[nodiscard]] uint16_t id() const { return load_be16(p_ + 4); }
  [[nodiscard]] uint16_t fragment_field() const { return load_be16(p_ + 6); }  // flags and offset / 8
  [[nodiscard]] uint8_t ttl() const { return p_[8]; }
  [[nodiscard]] uint8_t protocol() const { return p_[9]; }
  [[nodiscard]] uint16_t checksum() const { return load_be16(p_ + 10); }
  [[nodiscard]] uint8_t* source() const { return p_ + 12; }
  [[nodiscard]] uint8_t* destination() const { return p_ + 16; }

  void set_version_and_length(uint32_t header_bytes) {
    p_[0] = static_cast<uint8_t>(0x40 | header_bytes / 4);
  }
  void set_tos(uint8_t v) { p_[1] = v; }
  void set_total_length(uint16_t v) { store_be16(p_ + 2, v); }
  void set_id(uint16_t v) { store_be16(p_ + 4, v); }
  void set_fragment_field(uint16_t v) { store_be16(p_ + 6, v); }
  void set_ttl(uint8_t v) { p_[8] = v; }
  void set_protocol(uint8_t v) { p_[9] = v; }
  void set_checksum(uint16_t v) { store_be16(p_ + 10, v); }

 private:
  uint8_t* p_;
};

}  // namespace weft
