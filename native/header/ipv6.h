// IPv6 and its extension headers (RFC 8200, RFC 4302 for AH, RFC 5095 for routing type 0).
#pragma once

#include <cstdint>

#include "base/bytes.h"

namespace weft {

inline constexpr uint32_t kIpv6HeaderLength = 40;
inline constexpr uint32_t kIpv6FragmentLength = 8;

namespace next_header {
inline constexpr uint8_t kHopByHop = 0;
inline constexpr uint8_t kRouting = 43;
inline constexpr uint8_t kFragment = 44;
inline constexpr uint8_t kAuthentication = 51;
inline constexpr uint8_t kNone = 59;
inline constexpr uint8_t kDestinationOptions = 60;
}  // namespace next_header

class Ipv6Header {
 public:
  explicit Ipv6Header(uint8_t* bytes) : p_(bytes) {}
  [[nodiscard]] uint8_t version() const { return p_[0] >> 4; }
  [[nodiscard]] uint8_t traffic_class() const { return static_cast<uint8_t>(load_be16(p_) >> 4); }
  [[nodiscard]] uint16_t payload_length() const { return load_be16(p_ + 4); }
  [[nodiscard]] uint8_t next() const { return p_[6]; }
  [[nodiscard]] uint8_t hop_limit() const { return p_[7]; }
  [[nodiscard]] uint8_t* source() const { return p_ + 8; }
  [[nodiscard]] uint8_t* destination() const { return p_ + 24; }

  void set_version_and_class(uint8_t traffic_class) {
    store_be32(p_, 0x60000000u | static_cast<uint32_t>(traffic_class) << 20);
  }
  void set_payload_length(uint16_t v) { store_be16(p_ + 4, v); }
  void set_next(uint8_t v) { p_[6] = v; }
  void set_hop_limit(uint8_t v) { p_[7] = v; }

 private:
  uint8_t* p_;
};

}  // namespace weft
