// SCTP common header and the head of a chunk (RFC 9260). The checksum is CRC32c over the SCTP packet, stored
// least byte first; it covers no pseudo-header.
#pragma once

#include <cstdint>

#include "base/bytes.h"

namespace weft {

inline constexpr uint32_t kSctpLength = 12;
inline constexpr uint32_t kSctpChunkLength = 4;
inline constexpr uint32_t kSctpChecksumOffset = 8;

namespace sctp_chunk {
inline constexpr uint8_t kData = 0;
inline constexpr uint8_t kInit = 1;
inline constexpr uint8_t kInitAck = 2;
inline constexpr uint8_t kHeartbeat = 4;
inline constexpr uint8_t kHeartbeatAck = 5;
inline constexpr uint8_t kAbort = 6;
inline constexpr uint8_t kShutdown = 7;
inline constexpr uint8_t kShutdownAck = 8;
inline constexpr uint8_t kError = 9;
inline constexpr uint8_t kCookieEcho = 10;
inline constexpr uint8_t kCookieAck = 11;
inline constexpr uint8_t kShutdownComplete = 14;
}  // namespace sctp_chunk

class SctpHeader {
 public:
  explicit SctpHeader(uint8_t* bytes) : p_(bytes) {}
  [[nodiscard]] uint16_t source_port() const { return load_be16(p_); }
  [[nodiscard]] uint16_t destination_port() const { return load_be16(p_ + 2); }
  [[nodiscard]] uint32_t verification_tag() const { return load_be32(p_ + 4); }
  [[nodiscard]] uint32_t checksum() const { return load_le32(p_ + 8); }
  [[nodiscard]] uint8_t first_chunk_type() const { return p_[12]; }
  [[nodiscard]] uint8_t first_chunk_flags() const { return p_[13]; }
  [[nodiscard]] uint16_t first_chunk_length() const { return load_be16(p_ + 14); }
  // Only where the first chunk is an INIT or INIT ACK of at least 20 bytes.
  [[nodiscard]] uint32_t initiate_tag() const { return load_be32(p_ + 16); }
  void set_ports(uint16_t source, uint16_t destination) {
    store_be16(p_, source);
    store_be16(p_ + 2, destination);
  }
  void set_verification_tag(uint32_t v) { store_be32(p_ + 4, v); }
  void set_checksum(uint32_t v) { store_le32(p_ + 8, v); }

 private:
  uint8_t* p_;
};

}  // namespace weft
