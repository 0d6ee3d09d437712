// Ethernet II (IEEE 802.3) and the 802.1Q tag. A header file here is a typed view of bytes that somebody else
// has bounds-checked; it knows lengths, offsets and constants, and nothing of flows or policy.
#pragma once

#include <cstdint>
#include <cstring>

#include "base/bytes.h"
#include "base/mac.h"

namespace weft {

inline constexpr uint32_t kEthernetHeaderLength = 14;
inline constexpr uint32_t kVlanTagLength = 4;

namespace ethertype {
inline constexpr uint16_t kIpv4 = 0x0800;
inline constexpr uint16_t kArp = 0x0806;
inline constexpr uint16_t kVlan = 0x8100;
inline constexpr uint16_t kServiceVlan = 0x88a8;
inline constexpr uint16_t kIpv6 = 0x86dd;
}  // namespace ethertype

class EthernetHeader {
 public:
  explicit EthernetHeader(uint8_t* bytes) : p_(bytes) {}
  [[nodiscard]] MacAddress destination() const { return mac(0); }
  [[nodiscard]] MacAddress source() const { return mac(6); }
  [[nodiscard]] bool source_is(const MacAddress& m) const { return mac_is(p_ + 6, m); }
  [[nodiscard]] bool destination_is(const MacAddress& m) const { return mac_is(p_, m); }
  [[nodiscard]] uint16_t type() const { return load_be16(p_ + 12); }
  // Group bit: multicast, of which broadcast is one.
  [[nodiscard]] bool destination_is_group() const { return (p_[0] & 1) != 0; }
  void set_destination(const MacAddress& m) { std::memcpy(p_, m.data(), 6); }
  void set_source(const MacAddress& m) { std::memcpy(p_ + 6, m.data(), 6); }
  void set_type(uint16_t type) { store_be16(p_ + 12, type); }

 private:
  [[nodiscard]] MacAddress mac(int at) const {
    MacAddress m;
    std::memcpy(m.data(), p_ + at, 6);
    return m;
  }
  uint8_t* p_;
};

}  // namespace weft
