// ICMP (RFC 792, RFC 1812) and ICMPv6 (RFC 4443, RFC 4861 for neighbour discovery, RFC 3810 for MLD).
#pragma once

#include <cstdint>

#include "base/bytes.h"

namespace weft {

inline constexpr uint32_t kIcmpLength = 8;
inline constexpr uint32_t kIcmpChecksumOffset = 2;

namespace icmp_type {
inline constexpr uint8_t kEchoReply = 0;
inline constexpr uint8_t kUnreachable = 3;
inline constexpr uint8_t kSourceQuench = 4;
inline constexpr uint8_t kRedirect = 5;
inline constexpr uint8_t kEchoRequest = 8;
inline constexpr uint8_t kTimeExceeded = 11;
inline constexpr uint8_t kParameterProblem = 12;
}  // namespace icmp_type

namespace icmp_code {
inline constexpr uint8_t kNetUnreachable = 0;
inline constexpr uint8_t kHostUnreachable = 1;
inline constexpr uint8_t kProtocolUnreachable = 2;
inline constexpr uint8_t kPortUnreachable = 3;
inline constexpr uint8_t kFragmentationNeeded = 4;
inline constexpr uint8_t kAdminProhibited = 13;
}  // namespace icmp_code

namespace icmpv6_type {
inline constexpr uint8_t kUnreachable = 1;
inline constexpr uint8_t kPacketTooBig = 2;
inline constexpr uint8_t kTimeExceeded = 3;
inline constexpr uint8_t kParameterProblem = 4;
inline constexpr uint8_t kEchoRequest = 128;
inline constexpr uint8_t kEchoReply = 129;
inline constexpr uint8_t kListenerQuery = 130;
inline constexpr uint8_t kListenerReport = 131;
inline constexpr uint8_t kListenerDone = 132;
inline constexpr uint8_t kRouterSolicitation = 133;
inline constexpr uint8_t kRouterAdvertisement = 134;
inline constexpr uint8_t kNeighbourSolicitation = 135;
inline constexpr uint8_t kNeighbourAdvertisement = 136;
inline constexpr uint8_t kRedirect = 137;
inline constexpr uint8_t kListenerReport2 = 143;
}  // namespace icmpv6_type

namespace icmpv6_code {
inline constexpr uint8_t kNoRoute = 0;
inline constexpr uint8_t kAdminProhibited = 1;
inline constexpr uint8_t kAddressUnreachable = 3;
inline constexpr uint8_t kPortUnreachable = 4;
}  // namespace icmpv6_code

class IcmpHeader {
 public:
  explicit IcmpHeader(uint8_t* bytes) : p_(bytes) {}
  [[nodiscard]] uint8_t type() const { return p_[0]; }
  [[nodiscard]] uint8_t code() const { return p_[1]; }
  [[nodiscard]] uint16_t checksum() const { return load_be16(p_ + 2); }
  [[nodiscard]] uint16_t id() const { return load_be16(p_ + 4); }  // echo
  void set_type_and_code(uint8_t type, uint8_t code) {
    p_[0] = type;
    p_[1] = code;
  }
  void set_checksum(uint16_t v) { store_be16(p_ + 2, v); }
  void set_id(uint16_t v) { store_be16(p_ + 4, v); }
  void set_rest(uint32_t v) { store_be32(p_ + 4, v); }

 private:
  uint8_t* p_;
};

}  // namespace weft
