// The four packets of SCTP that the lab speaks over raw sockets (RFC 9260): INIT, INIT ACK, ABORT, and enough
// of a parser to read them. Policy for SCTP can so be proven with packets also where the kernel has no SCTP.
// The answering pod's name travels as the state cookie, which is the server's own opaque data
// (section 3.3.3.1).
//
// The CRC32c here is on purpose not the switch's: a checksum that the switch got wrong after translating an
// address must not be called right by the same code.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace weft::lab {

enum class SctpChunk : uint8_t { init = 1, init_ack = 2, abort = 6 };

struct SctpPacket {
  uint16_t source_port = 0;
  uint16_t destination_port = 0;
  uint32_t verification_tag = 0;
  uint8_t chunk = 0;          // type of the first chunk
  uint32_t initiate_tag = 0;  // of INIT and INIT ACK, else 0
  std::string cookie;         // of INIT ACK, else empty
  bool checksum_ok = false;
};

// Castagnoli's CRC as SCTP uses it (RFC 9260 appendix A): reflected, inverted before and after.
uint32_t crc32c(std::span<const uint8_t> bytes);

// `packet` starts at the SCTP common header. Nothing when it is truncated or has no chunk.
std::optional<SctpPacket> parse_sctp(std::span<const uint8_t> packet);

std::vector<uint8_t> build_init(uint16_t source_port, uint16_t destination_port, uint32_t initiate_tag);
// Answers to a parsed INIT: ports swapped, verification tag = the INIT's initiate tag.
std::vector<uint8_t> build_init_ack(const SctpPacket& init, uint32_t initiate_tag, std::string_view cookie);
std::vector<uint8_t> build_abort(uint16_t source_port, uint16_t destination_port, uint32_t verification_tag);

}  // namespace weft::lab
