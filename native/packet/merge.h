// Datagrams of one flow merged into one UDP GSO frame (USO): the opposite of Segmenter, which makes the same
// datagrams of it again. One write of 44 datagrams costs the receiver's kernel a third of 44 writes.
//
// The rules are those of Linux' UDP GRO, and stricter where a receiver could tell the difference: all headers
// are equal but for lengths, checksums and the IPv4 identification; every payload has the first one's length,
// and at least kMinUdpGsoSize octets; only the last may be shorter. The identification has to count up,
// because that is what a segmenter makes of it, unless DF is set, where it means nothing (RFC 6864
// section 4.1).
//
// A merged frame gets a checksum that is still to be completed, so it would repair a datagram that was
// damaged on its way. Hence the caller merges only what passed transport_checksum_valid(): a partial checksum
// (the sender's own kernel left it to us), or one that was computed and is right.
#pragma once

#include <cstdint>
#include <span>

#include "packet/packet.h"

namespace weft {

// Linux' UDP_MAX_SEGMENTS before 6.9.
inline constexpr uint32_t kMaxMergedDatagrams = 64;
// Of a merged frame: an Ethernet header and the largest IP packet, bytes.
inline constexpr uint32_t kMaxMergedLength = kEthernetHeaderLength + 65535;

// Whether a packet can be part of a merged frame: a whole UDP datagram with a checksum and a payload, in a
// packet without options or extension headers. Looks at headers only.
[[nodiscard]] bool mergeable(const Packet& packet);

// Whether two packets are of one flow: addresses and ports, as they are in the frames now. Both mergeable.
[[nodiscard]] bool same_flow(const Packet& a, const Packet& b);

// Whether they are from and to the same addresses, as they are in the frames now. Both IP.
[[nodiscard]] bool same_ends(const Packet& a, const Packet& b);

class Merge {
 public:
  // Whether `next` may come directly behind `first`. Both are mergeable and of one flow.
  [[nodiscard]] static bool fits(const Packet& first, const Packet& next) {
    return fits(first, next, first.payload_length, 1);
  }
  // The same for a third or later.
  [[nodiscard]] bool fits(const Packet& next) const {
    return !closed_ && fits(packet_, next, packet_.vnet.gso_size, count_);
  }

  // Copies `first` into `buffer`, which has room for kMaxMergedLength bytes; fits(first, next) for the `next`
  // that is added then.
  void begin(const Packet& first, std::span<uint8_t> buffer);
  // fits(next) holds.
  void add(const Packet& next);
  // Writes lengths and checksums; the result may be sent. Nothing can be added any more.
  const Packet& finish();

  [[nodiscard]] const Packet& packet() const { return packet_; }
  [[nodiscard]] uint32_t count() const { return count_; }

 private:
  [[nodiscard]] static bool fits(const Packet& first, const Packet& next, uint32_t size, uint32_t count);

  Packet packet_;
  uint32_t count_ = 0;
  bool closed_ = false;  // the last one was shorter
};

}  // namespace weft
