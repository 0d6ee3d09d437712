#include "switch/settings.h"

#include <string>

namespace weft {
namespace {

Error out_of_range(const char* name, uint64_t found, uint64_t least, uint64_t most) {
  return {"setting-range", "The setting " + std::string(name) + " is " + std::to_string(found) +
                               "; it must be from " + std::to_string(least) + " to " + std::to_string(most) +
                               "."};
}

}  // namespace

Status check(const Settings& settings) {
  struct Bound {
    const char* name;
    uint64_t value, least, most;
  };
  const Bound bounds[] = {
      {"workers", settings.workers, 1, kMaxWorkers},
      {"max_ports", settings.max_ports, 1, kMaxPorts},
      {"drain_frames", settings.drain_frames, 1, 65536},
      {"drain_ns", settings.drain_ns, 1000, 1'000'000'000},
      {"poll_ns", settings.poll_ns, 0, 1'000'000'000},
      {"flow_ring", settings.flow_ring, 1, 1u << 20},
      {"capture_ring", settings.capture_ring, 4096, 1u << 30},
  };
  for (const Bound& bound : bounds)
    if (bound.value < bound.least || bound.value > bound.most)
      return out_of_range(bound.name, bound.value, bound.least, bound.most);
  if ((settings.gateway_mac[0] & 1) != 0)
    return Error{"setting-gateway-mac",
                 "The gateway's MAC address is a multicast address; give it one whose first octet is even."};
  if (!settings.gateway_v4.is_v4() || settings.gateway_v6.is_v4())
    return Error{"setting-gateway", "The gateway needs one IPv4 and one IPv6 address; " +
                                        to_string(settings.gateway_v4) + " and " +
                                        to_string(settings.gateway_v6) + " were given."};
  return Ok{};
}

}  // namespace weft
