// Addresses. One 16-byte form for both families keeps flow keys, NAT and services free of family branches:
// IPv4 is held as IPv4-mapped (::ffff:a.b.c.d, RFC 4291 section 2.5.5.2). The family is a property of the
// packet, never guessed from an address that came off the wire: the parser drops IPv6 packets that carry a
// mapped address, so the two spaces cannot meet.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <string>

namespace weft {

struct Address {
  std::array<uint8_t, 16> bytes{};

  // host_order: 10.0.0.1 is 0x0a000001.
  static constexpr Address v4(uint32_t host_order) {
    Address a;
    a.bytes[10] = 0xff;
    a.bytes[11] = 0xff;
    a.bytes[12] = static_cast<uint8_t>(host_order >> 24);
    a.bytes[13] = static_cast<uint8_t>(host_order >> 16);
    a.bytes[14] = static_cast<uint8_t>(host_order >> 8);
    a.bytes[15] = static_cast<uint8_t>(host_order);
    return a;
  }
  static Address v4_from(const uint8_t* network_order) {
    Address a;
    a.bytes[10] = 0xff;
    a.bytes[11] = 0xff;
    std::memcpy(a.bytes.data() + 12, network_order, 4);
    return a;
  }
  static Address v6_from(const uint8_t* network_order) {
    Address a;
    std::memcpy(a.bytes.data(), network_order, 16);
    return a;
  }

  // As two words: compared byte by byte, or by memcmp, addresses would be a tenth of a packet's cost.
  [[nodiscard]] constexpr std::array<uint64_t, 2> words() const {
    return std::bit_cast<std::array<uint64_t, 2>>(bytes);
  }
  [[nodiscard]] constexpr bool is_v4() const {
    constexpr auto kPrefix = std::bit_cast<uint32_t>(std::array<uint8_t, 4>{0, 0, 0xff, 0xff});
    const auto parts = std::bit_cast<std::array<uint32_t, 4>>(bytes);
    return ((parts[0] | parts[1]) | (parts[2] ^ kPrefix)) == 0;
  }
  // Host order; meaningful only where is_v4().
  [[nodiscard]] constexpr uint32_t v4_value() const {
    return static_cast<uint32_t>(bytes[12]) << 24 | static_cast<uint32_t>(bytes[13]) << 16 |
           static_cast<uint32_t>(bytes[14]) << 8 | bytes[15];
  }
  [[nodiscard]] constexpr bool is_unspecified() const {
    if (is_v4()) return v4_value() == 0;
    for (uint8_t b : bytes)
      if (b != 0) return false;
    return true;
  }

  friend constexpr bool operator==(const Address& a, const Address& b) {
    const auto x = a.words(), y = b.words();
    return ((x[0] ^ y[0]) | (x[1] ^ y[1])) == 0;
  }
  friend constexpr auto operator<=>(const Address&, const Address&) = default;
};

// Text form ("10.0.0.1", "fd00::1"); allocates, never on the packet path.
std::string to_string(const Address& address);

}  // namespace weft
