#include "io/address_text.h"

#include <arpa/inet.h>

#include <charconv>

namespace weft::io {

std::optional<NetworkAddress> parse_address(const std::string& text) {
  uint8_t bytes[16];
  if (::inet_pton(AF_INET, text.c_str(), bytes) == 1) return NetworkAddress{Address::v4_from(bytes), 4};
  if (::inet_pton(AF_INET6, text.c_str(), bytes) == 1) return NetworkAddress{Address::v6_from(bytes), 6};
  return std::nullopt;
}

std::optional<Network> parse_network(const std::string& text) {
  const size_t slash = text.find('/');
  if (slash == std::string::npos) return std::nullopt;
  const auto address = parse_address(text.substr(0, slash));
  uint8_t length = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data() + slash + 1, end, length);
  if (!address || error != std::errc{} || rest != end || length > (address->family == 4 ? 32 : 128))
    return std::nullopt;
  return Network{*address, length};
}

std::optional<MacAddress> parse_mac(const std::string& text) {
  MacAddress mac{};
  if (text.size() != 17) return std::nullopt;
  for (size_t i = 0; i < mac.size(); ++i) {
    const char* from = text.data() + 3 * i;
    const auto [rest, error] = std::from_chars(from, from + 2, mac[i], 16);
    if (error != std::errc{} || rest != from + 2 || (i < 5 && *rest != ':')) return std::nullopt;
  }
  return mac;
}

}  // namespace weft::io
