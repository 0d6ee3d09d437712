// The walk over an IPv6 extension header chain (RFC 8200 section 4), for received and for quoted packets.
//
// Bounded: each header at most once, destination options twice (section 4.1), hop-by-hop only in front; at
// most 16 options and 7 bytes of padding in a row per header (Linux has the same limits). What makes a packet
// go elsewhere than its destination address says is refused, because policy judges that address: routing type
// 0 (RFC 5095), any routing header with segments left, and the home address option (RFC 6275). So are
// jumbograms (RFC 2675), whose length is not in the IP header.
#pragma once

#include <cstdint>

namespace weft {

struct ExtensionChain {
  uint8_t protocol = 0;     // of what follows the chain
  uint32_t end = 0;         // its offset
  bool fragmented = false;  // a fragment header was there; an atomic one, too
  bool more = false;
  uint32_t fragment_offset = 0;  // bytes
  uint32_t fragment_id = 0;
  uint32_t fragment_start = 0;  // offset of the first byte after the fragment header
};

enum class ChainEnd : uint8_t { ok, truncated, malformed };

[[nodiscard]] constexpr bool is_extension_header(uint8_t protocol) {
  return protocol == 0 || protocol == 43 || protocol == 44 || protocol == 51 || protocol == 60;
}

// Walks from `offset` to at most `limit` (both from `bytes`); `next` names the header at `offset`. Stops
// behind the fragment header of a later fragment, whose payload is not headers. On truncated and malformed
// `chain` holds what was seen until then.
[[nodiscard]] ChainEnd walk_extensions(const uint8_t* bytes, uint32_t offset, uint32_t limit, uint8_t next,
                                       ExtensionChain& chain);

}  // namespace weft
