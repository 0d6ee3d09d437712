// UDP (RFC 768). A checksum of 0 means "none" (IPv4).
#pragma once

#include <cstdint>

#include "base/bytes.h"

namespace weft {

inline constexpr uint32_t kUdpLength = 8;
inline constexpr uint32_t kUdpChecksumOffset = 6;

class UdpHeader {
 public:
  explicit UdpHeader(uint8_t* bytes) : p_(bytes) {}
  [[nodiscard]] uint16_t source_port() const { return load_be16(p_); }
  [[nodiscard]] uint16_t destination_port() const { return load_be16(p_ + 2); }
  [[nodiscard]] uint16_t length() const { return load_be16(p_ + 4); }
  [[nodiscard]] uint16_t checksum() const { return load_be16(p_ + 6); }
  void set_length(uint16_t v) { store_be16(p_ + 4, v); }
  void set_checksum(uint16_t v) { store_be16(p_ + 6, v); }

 private:
  uint8_t* p_;
};

}  // namespace weft
