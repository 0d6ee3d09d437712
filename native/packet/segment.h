// Software segmentation of a GSO packet, for a way out that has no offload: TCP over both families and UDP
// (one datagram a segment). Segments have complete checksums, so their vnet header is all zeros.
//
// TCP: every segment has gso_size bytes of payload but the last; sequence numbers advance; FIN and PSH are
// the last's, CWR the first's (RFC 3168 section 6.1.2); the IPv4 identification grows by one a segment. A
// pure function: the packet is not changed.
#pragma once

#include <cstdint>
#include <span>

#include "packet/packet.h"

namespace weft {

class Segmenter {
 public:
  // packet.is_gso() must be true; the packet's bytes must stay as they are while segments are taken.
  explicit Segmenter(const Packet& packet) : packet_(packet) {}
  // Writes the next segment, an Ethernet frame, to `out` and returns its length; 0 after the last, or where
  // `out` is shorter than frame_length() (then failed() is true).
  [[nodiscard]] uint32_t next(std::span<uint8_t> out);
  [[nodiscard]] bool failed() const { return failed_; }
  // Longest frame that next() makes.
  [[nodiscard]] uint32_t frame_length() const {
    return packet_.payload_offset + uint32_t{packet_.vnet.gso_size};
  }

 private:
  const Packet& packet_;
  uint32_t done_ = 0;   // payload bytes already taken
  uint16_t index_ = 0;  // segments already taken
  bool failed_ = false;
};

// Calls sink(frame, length) for each segment, all built in `buffer`; false where the buffer is too small or
// the packet is not GSO.
template <class Sink>
bool segment(const Packet& packet, std::span<uint8_t> buffer, Sink&& sink) {
  if (!packet.is_gso()) return false;
  Segmenter segmenter(packet);
  while (const uint32_t length = segmenter.next(buffer)) sink(buffer.data(), length);
  return !segmenter.failed();
}

}  // namespace weft
