// The vocabulary that packet, conntrack, policy, service and switch share.
#pragma once

#include <array>
#include <bit>
#include <compare>
#include <cstddef>
#include <cstdint>

#include "base/address.h"

namespace weft {

// IANA protocol numbers that weft treats by name; any other value is valid and is tracked by address pair.
enum class Protocol : uint8_t { icmp = 1, tcp = 6, udp = 17, icmpv6 = 58, sctp = 132 };

// One direction of a flow. Ports are host order. For ICMP echo, source_port and destination_port both hold
// the identifier; for protocols without ports both are 0.
struct FlowTuple {
  Address source;
  Address destination;
  uint16_t source_port = 0;
  uint16_t destination_port = 0;
  uint8_t protocol = 0;
  uint8_t family = 4;  // 4 or 6
  uint16_t reserved = 0;

  [[nodiscard]] constexpr FlowTuple reversed() const {
    return {destination, source, destination_port, source_port, protocol, family, 0};
  }
  friend constexpr bool operator==(const FlowTuple& a, const FlowTuple& b) {
    const auto x = std::bit_cast<std::array<uint64_t, 5>>(a), y = std::bit_cast<std::array<uint64_t, 5>>(b);
    return ((x[0] ^ y[0]) | (x[1] ^ y[1]) | (x[2] ^ y[2]) | (x[3] ^ y[3]) | (x[4] ^ y[4])) == 0;
  }
};
static_assert(sizeof(FlowTuple) == 40);

using PortIndex = uint16_t;     // index into the switch's port table
using PortInstance = uint32_t;  // grows with each use of an index; names one life of a port
inline constexpr PortIndex kNoPort = 0xffff;

using RuleIndex = uint32_t;  // index into the image's rule section
inline constexpr RuleIndex kNoRule = 0xffffffff;

inline constexpr uint32_t kNoService =
    0xffffffff;  // "no Service", where a Service is named by its number in the image

// Where a Service's flows go, as it lies in the image.
struct Backend {
  Address address;
  uint16_t port = 0;
  uint16_t reserved = 0;
};
static_assert(sizeof(Backend) == 20);

// Where an endpoint stands among backends that ascend by address, then port; their number where it is none of
// them.
template <class Backends>
constexpr size_t find_backend(const Backends& backends, const Address& address, uint16_t port) {
  size_t low = 0, high = backends.size();
  while (low < high) {
    const size_t middle = low + (high - low) / 2;
    const auto& one = backends[middle];
    const auto order = one.address <=> address;
    if (order == 0 && one.port == port) return middle;
    if (order < 0 || (order == 0 && one.port < port))
      low = middle + 1;
    else
      high = middle;
  }
  return backends.size();
}

enum class Direction : uint8_t { egress = 0, ingress = 1 };  // seen from the pod, as in NetworkPolicy

}  // namespace weft
