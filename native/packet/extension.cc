#include "packet/extension.h"

#include "base/bytes.h"
#include "header/ipv6.h"

namespace weft {

namespace {

constexpr uint8_t kOptionPad1 = 0x00;
constexpr uint8_t kOptionPadN = 0x01;
constexpr uint8_t kOptionJumbo = 0xc2;
constexpr uint8_t kOptionHomeAddress = 0xc9;
constexpr uint32_t kMaxOptions = 16;
constexpr uint32_t kMaxPadding = 7;

// Options of a hop-by-hop or destination options header, without its first two bytes (RFC 8200 section 4.2).
bool options_valid(const uint8_t* p, uint32_t length) {
  uint32_t options = 0;
  uint32_t padding = 0;
  for (uint32_t at = 0; at < length;) {
    if (p[at] == kOptionPad1) {
      if (++padding > kMaxPadding) return false;
      ++at;
      continue;
    }
    if (at + 2 > length) return false;
    const uint32_t size = 2 + uint32_t{p[at + 1]};
    if (size > length - at) return false;
    if (p[at] == kOptionPadN) {
      padding += size;
      if (padding > kMaxPadding) return false;
    } else {
      if (p[at] == kOptionJumbo || p[at] == kOptionHomeAddress || ++options > kMaxOptions) return false;
      padding = 0;
    }
    at += size;
  }
  return true;
}

}  // namespace

ChainEnd walk_extensions(const uint8_t* bytes, uint32_t offset, uint32_t limit, uint8_t next,
                         ExtensionChain& chain) {
  const uint32_t start = offset;
  bool seen_routing = false, seen_fragment = false, seen_authentication = false;
  int destination_options = 0;
  chain.end = offset;
  chain.protocol = next;
  while (is_extension_header(next)) {
    if (limit - offset < 8) return ChainEnd::truncated;
    const uint8_t* p = bytes + offset;
    uint32_t length = (uint32_t{p[1]} + 1) * 8;
    switch (next) {
      case next_header::kHopByHop:
        if (offset != start) return ChainEnd::malformed;
        break;
      case next_header::kDestinationOptions:
        if (++destination_options > 2) return ChainEnd::malformed;
        break;
      case next_header::kRouting:
        if (seen_routing || p[2] == 0 || p[3] != 0) return ChainEnd::malformed;
        seen_routing = true;
        break;
      case next_header::kAuthentication:
        if (seen_authentication || p[1] == 0) return ChainEnd::malformed;
        seen_authentication = true;
        length = (uint32_t{p[1]} + 2) * 4;
        break;
      default: {  // fragment
        if (seen_fragment) return ChainEnd::malformed;
        seen_fragment = true;
        length = kIpv6FragmentLength;
        const uint16_t field = load_be16(p + 2);
        chain.fragmented = true;
        chain.fragment_offset = field & 0xfff8u;
        chain.more = (field & 1) != 0;
        chain.fragment_id = load_be32(p + 4);
        chain.fragment_start = offset + length;
        break;
      }
    }
    if (length > limit - offset) return ChainEnd::truncated;
    if ((next == next_header::kHopByHop || next == next_header::kDestinationOptions) &&
        !options_valid(p + 2, length - 2))
      return ChainEnd::malformed;
    next = p[0];
    offset += length;
    chain.protocol = next;
    chain.end = offset;
    if (chain.fragment_offset != 0) break;
  }
  return ChainEnd::ok;
}

}  // namespace weft
