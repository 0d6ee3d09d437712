// ARP for IPv4 over Ethernet (RFC 826, RFC 5227). 28 bytes after the Ethernet header.
#pragma once

#include <cstdint>
#include <cstring>

#include "base/bytes.h"
#include "base/mac.h"

namespace weft {

inline constexpr uint32_t kArpLength = 28;

class ArpHeader {
 public:
  static constexpr uint16_t kRequest = 1;
  static constexpr uint16_t kReply = 2;

  explicit ArpHeader(uint8_t* bytes) : p_(bytes) {}
  [[nodiscard]] uint16_t hardware_type() const { return load_be16(p_); }
  [[nodiscard]] uint16_t protocol_type() const { return load_be16(p_ + 2); }
  [[nodiscard]] uint8_t hardware_length() const { return p_[4]; }
  [[nodiscard]] uint8_t protocol_length() const { return p_[5]; }
  [[nodiscard]] uint16_t operation() const { return load_be16(p_ + 6); }
  [[nodiscard]] MacAddress sender_mac() const { return mac(8); }
  [[nodiscard]] const uint8_t* sender_ip() const { return p_ + 14; }
  [[nodiscard]] MacAddress target_mac() const { return mac(18); }
  [[nodiscard]] const uint8_t* target_ip() const { return p_ + 24; }

  // Writes the fixed part for IPv4 over Ethernet and the operation.
  void set_fixed(uint16_t operation) {
    store_be16(p_, 1);
    store_be16(p_ + 2, 0x0800);
    p_[4] = 6;
    p_[5] = 4;
    store_be16(p_ + 6, operation);
  }
  void set_sender(const MacAddress& m, const uint8_t* ip) {
    std::memcpy(p_ + 8, m.data(), 6);
    std::memcpy(p_ + 14, ip, 4);
  }
  void set_target(const MacAddress& m, const uint8_t* ip) {
    std::memcpy(p_ + 18, m.data(), 6);
    std::memcpy(p_ + 24, ip, 4);
  }

 private:
  [[nodiscard]] MacAddress mac(int at) const {
    MacAddress m;
    std::memcpy(m.data(), p_ + at, 6);
    return m;
  }
  uint8_t* p_;
};

}  // namespace weft
