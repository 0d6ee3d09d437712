// TCP (RFC 9293).
#pragma once

#include <cstdint>

#include "base/bytes.h"

namespace weft {

inline constexpr uint32_t kTcpMinLength = 20;
inline constexpr uint32_t kTcpChecksumOffset = 16;

namespace tcp_flag {
inline constexpr uint8_t kFin = 0x01;
inline constexpr uint8_t kSyn = 0x02;
inline constexpr uint8_t kRst = 0x04;
inline constexpr uint8_t kPsh = 0x08;
inline constexpr uint8_t kAck = 0x10;
inline constexpr uint8_t kUrg = 0x20;
inline constexpr uint8_t kEce = 0x40;
inline constexpr uint8_t kCwr = 0x80;
}  // namespace tcp_flag

class TcpHeader {
 public:
  explicit TcpHeader(uint8_t* bytes) : p_(bytes) {}
  [[nodiscard]] uint16_t source_port() const { return load_be16(p_); }
  [[nodiscard]] uint16_t destination_port() const { return load_be16(p_ + 2); }
  [[nodiscard]] uint32_t sequence() const { return load_be32(p_ + 4); }
  [[nodiscard]] uint32_t acknowledgement() const { return load_be32(p_ + 8); }
  [[nodiscard]] uint32_t header_length() const { return static_cast<uint32_t>(p_[12] >> 4) * 4; }
  [[nodiscard]] uint8_t flags() const { return p_[13]; }
  [[nodiscard]] uint16_t window() const { return load_be16(p_ + 14); }
  [[nodiscard]] uint16_t checksum() const { return load_be16(p_ + 16); }

  void set_ports(uint16_t source, uint16_t destination) {
    store_be16(p_, source);
    store_be16(p_ + 2, destination);
  }
  void set_sequence(uint32_t v) { store_be32(p_ + 4, v); }
  void set_acknowledgement(uint32_t v) { store_be32(p_ + 8, v); }
  void set_header_length(uint32_t bytes) { p_[12] = static_cast<uint8_t>(bytes / 4 << 4); }
  void set_flags(uint8_t v) { p_[13] = v; }
  void set_checksum(uint16_t v) { store_be16(p_ + 16, v); }

 private:
  uint8_t* p_;
};

}  // namespace weft
