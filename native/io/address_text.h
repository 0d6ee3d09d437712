// Text from TypeScript, where it was validated, to binary addresses. Cold path.
#pragma once

#include <optional>
#include <string>

#include "base/mac.h"
#include "io/netlink.h"

namespace weft::io {

// "10.0.0.1", "fd00::1"; nothing else, no prefix, no zone.
std::optional<NetworkAddress> parse_address(const std::string& text);
// "10.0.0.0/8"; the bits behind the prefix may be set.
std::optional<Network> parse_network(const std::string& text);
// "02:00:00:00:00:01"
std::optional<MacAddress> parse_mac(const std::string& text);

}  // namespace weft::io
