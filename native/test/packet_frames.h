// Frames for the packet tests, and the naive oracles that judge them. Nothing here uses the code under test:
// checksums are summed byte by byte in big-endian order, CRC32c bit by bit.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "packet/parse.h"

namespace weft::test {

using Bytes = std::vector<uint8_t>;

inline void put16(Bytes& b, uint32_t v) {
  b.push_back(static_cast<uint8_t>(v >> 8));
  b.push_back(static_cast<uint8_t>(v));
}
inline void put32(Bytes& b, uint32_t v) {
  put16(b, v >> 16);
  put16(b, v & 0xffff);
}
inline void set16(Bytes& b, size_t at, uint32_t v) {
  b[at] = static_cast<uint8_t>(v >> 8);
  b[at + 1] = static_cast<uint8_t>(v);
}
inline uint32_t get16(const Bytes& b, size_t at) {
  return static_cast<uint32_t>(b[at] << 8 | b[at + 1]);
}
inline uint32_t get32(const Bytes& b, size_t at) {
  return get16(b, at) << 16 | get16(b, at + 2);
}
inline void append(Bytes& to, const Bytes& more) {
  to.insert(to.end(), more.begin(), more.end());
}
inline Bytes part(const Bytes& b, size_t from, size_t count) {
  return Bytes(b.begin() + static_cast<long>(from), b.begin() + static_cast<long>(from + count));
}
inline Bytes counted(size_t length, uint8_t first = 1) {
  Bytes b(length);
  for (size_t i = 0; i < length; ++i) b[i] = static_cast<uint8_t>(first + i * 7);
  return b;
}

// RFC 1071 as one would write it on paper; 0 for bytes that contain their own right checksum.
inline uint16_t naive_checksum(const Bytes& b) {
  uint32_t sum = 0;
  for (size_t i = 0; i < b.size(); ++i) {
    sum += i % 2 == 0 ? static_cast<uint32_t>(b[i]) << 8 : b[i];
    while (sum > 0xffff) sum = (sum & 0xffff) + 1;
  }
  return static_cast<uint16_t>(~sum);
}

inline uint32_t naive_crc32c(const Bytes& b) {
  uint32_t crc = 0xffffffff;
  for (const uint8_t byte : b) {
    crc ^= byte;
    for (int i = 0; i < 8; ++i) crc = (crc & 1) != 0 ? (crc >> 1) ^ 0x82f63b78 : crc >> 1;
  }
  return ~crc;
}

inline Address v4(uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
  return Address::v4(a << 24 | b << 16 | c << 8 | d);
}
// fd00::N
inline Address v6(uint16_t last, uint16_t first = 0xfd00) {
  Address a;
  a.bytes[0] = static_cast<uint8_t>(first >> 8);
  a.bytes[1] = static_cast<uint8_t>(first);
  a.bytes[14] = static_cast<uint8_t>(last >> 8);
  a.bytes[15] = static_cast<uint8_t>(last);
  return a;
}
inline const Address kClient4 = v4(10, 42, 0, 5), kServer4 = v4(10, 42, 0, 9);
inline const Address kClient6 = v6(5), kServer6 = v6(9);
inline constexpr MacAddress kPodMac{0x02, 0, 0, 0, 0, 5}, kGatewayMac{0x02, 0, 0, 0, 0, 1};

inline Bytes ethernet(uint16_t type) {
  Bytes b(kGatewayMac.begin(), kGatewayMac.end());
  b.insert(b.end(), kPodMac.begin(), kPodMac.end());
  put16(b, type);
  return b;
}

// The checksum field of a transport, from its start; -1 where it has none that this file knows.
inline int checksum_at(uint8_t protocol) {
  return protocol == 6 ? 16 : protocol == 17 ? 6 : protocol == 1 || protocol == 58 ? 2 : -1;
}

// What the transport checksum covers: pseudo-header (not for ICMP over IPv4), then the bytes.
inline Bytes covered(const Address& source, const Address& destination, uint8_t protocol,
                     const Bytes& transport) {
  Bytes b;
  if (source.is_v4()) {
    if (protocol != 1) {
      put32(b, source.v4_value());
      put32(b, destination.v4_value());
      put16(b, protocol);
      put16(b, static_cast<uint32_t>(transport.size()));
    }
  } else {
    b.insert(b.end(), source.bytes.begin(), source.bytes.end());
    b.insert(b.end(), destination.bytes.begin(), destination.bytes.end());
    put32(b, static_cast<uint32_t>(transport.size()));
    put32(b, protocol);
  }
  append(b, transport);
  return b;
}

inline Bytes with_checksum(const Address& source, const Address& destination, uint8_t protocol,
                           Bytes transport) {
  if (protocol == 132) {
    if (transport.size() < 12) return transport;  // cut on purpose
    for (size_t i = 8; i < 12; ++i) transport[i] = 0;
    const uint32_t crc = naive_crc32c(transport);
    for (size_t i = 0; i < 4; ++i) transport[8 + i] = static_cast<uint8_t>(crc >> (8 * i));
    return transport;
  }
  const int at = checksum_at(protocol);
  if (at < 0 || transport.size() < static_cast<size_t>(at) + 2) return transport;  // cut on purpose
  set16(transport, static_cast<size_t>(at), 0);
  uint16_t sum = naive_checksum(covered(source, destination, protocol, transport));
  if (sum == 0 && protocol == 17) sum = 0xffff;
  set16(transport, static_cast<size_t>(at), sum);
  return transport;
}

inline bool checksum_right(const Address& source, const Address& destination, uint8_t protocol,
                           const Bytes& transport) {
  if (protocol == 132) return with_checksum(source, destination, protocol, transport) == transport;
  if (checksum_at(protocol) < 0) return true;
  if (protocol == 17 && get16(transport, 6) == 0) return true;
  return naive_checksum(covered(source, destination, protocol, transport)) == 0;
}

struct Network {
  Address source = kClient4;
  Address destination = kServer4;
  uint8_t ttl = 64;
  uint16_t fragment = 0x4000;  // IPv4 flags and offset
  uint16_t id = 0x1234;
  Bytes options = {};     // IPv4 options, a multiple of 4
  Bytes extensions = {};  // IPv6 extension headers, whose last names the protocol
  int next = -1;          // first next header where there are extensions
};

// An IP packet (no Ethernet) around bytes that already carry their checksum.
inline Bytes ip_packet(const Network& n, uint8_t protocol, const Bytes& transport) {
  Bytes b;
  if (n.source.is_v4()) {
    const size_t header = 20 + n.options.size();
    b.push_back(static_cast<uint8_t>(0x40 | header / 4));
    b.push_back(0);
    put16(b, static_cast<uint32_t>(header + transport.size()));
    put16(b, n.id);
    put16(b, n.fragment);
    b.push_back(n.ttl);
    b.push_back(protocol);
    put16(b, 0);
    put32(b, n.source.v4_value());
    put32(b, n.destination.v4_value());
    append(b, n.options);
    set16(b, 10, naive_checksum(b));
  } else {
    put32(b, 0x60000000);
    put16(b, static_cast<uint32_t>(n.extensions.size() + transport.size()));
    b.push_back(n.next < 0 ? protocol : static_cast<uint8_t>(n.next));
    b.push_back(n.ttl);
    b.insert(b.end(), n.source.bytes.begin(), n.source.bytes.end());
    b.insert(b.end(), n.destination.bytes.begin(), n.destination.bytes.end());
    append(b, n.extensions);
  }
  append(b, transport);
  return b;
}

inline Bytes frame(const Network& n, uint8_t protocol, const Bytes& transport) {
  Bytes b = ethernet(n.source.is_v4() ? 0x0800 : 0x86dd);
  append(b, ip_packet(n, protocol, with_checksum(n.source, n.destination, protocol, transport)));
  return b;
}
inline Network network6() {
  Network n;
  n.source = kClient6;
  n.destination = kServer6;
  return n;
}

inline Bytes tcp(uint8_t flags, const Bytes& payload = {}, const Bytes& options = {}) {
  Bytes b;
  put16(b, 40000);
  put16(b, 80);
  put32(b, 0xfffffff0);
  put32(b, (flags & 0x10) != 0 ? 0x01020304 : 0);
  b.push_back(static_cast<uint8_t>((20 + options.size()) / 4 << 4));
  b.push_back(flags);
  put16(b, 0x7210);
  put32(b, 0);
  append(b, options);
  append(b, payload);
  return b;
}
inline Bytes udp(const Bytes& payload) {
  Bytes b;
  put16(b, 40000);
  put16(b, 53);
  put16(b, static_cast<uint32_t>(8 + payload.size()));
  put16(b, 0);
  append(b, payload);
  return b;
}
inline Bytes sctp(uint32_t tag, const Bytes& chunks) {
  Bytes b;
  put16(b, 40000);
  put16(b, 3868);
  put32(b, tag);
  put32(b, 0);
  append(b, chunks);
  return b;
}
inline Bytes sctp_init(uint32_t initiate_tag = 0xcafe0001) {
  Bytes chunk{1, 0, 0, 20};
  put32(chunk, initiate_tag);
  put32(chunk, 65536);
  put32(chunk, 0x000a000a);
  put32(chunk, 7);
  return sctp(0, chunk);
}
inline Bytes icmp(uint8_t type, uint8_t code, uint32_t rest, const Bytes& payload = {}) {
  Bytes b{type, code, 0, 0};
  put32(b, rest);
  append(b, payload);
  return b;
}

inline Bytes vlan(const Bytes& untagged, uint16_t tci, uint16_t tpid = 0x8100) {
  Bytes b = part(untagged, 0, 12);
  put16(b, tpid);
  put16(b, tci);
  append(b, part(untagged, 12, untagged.size() - 12));
  return b;
}

inline Bytes arp(uint16_t operation = 1) {
  Bytes b = ethernet(0x0806);
  append(b, {0, 1, 8, 0, 6, 4});
  put16(b, operation);
  append(b, Bytes(kPodMac.begin(), kPodMac.end()));
  put32(b, kClient4.v4_value());
  append(b, Bytes(6, 0));
  put32(b, 0xa9fe0101);
  return b;
}

inline Bytes quoted_udp4() {
  return ip_packet(Network{.source = kServer4, .destination = kClient4}, 17, udp(counted(20)));
}

inline Bytes solicitation(const Address& source, uint8_t hop_limit = 255,
                          Bytes options = {1, 1, 2, 0, 0, 0, 0, 5}) {
  Network n = network6();
  n.source = source;
  n.destination = v6(0, 0xff02);
  n.destination.bytes[11] = 1;
  n.destination.bytes[12] = 0xff;
  n.destination.bytes[15] = 1;
  n.ttl = hop_limit;
  Bytes message = icmp(135, 0, 0);
  const Address target = v6(1, 0xfe80);
  message.insert(message.end(), target.bytes.begin(), target.bytes.end());
  append(message, options);
  return frame(n, 58, message);
}

inline Bytes changed(Bytes b, size_t at, uint8_t value) {
  b[at] = value;
  return b;
}
// Changes a byte of the IPv4 header and makes its checksum right again.
inline Bytes changed_ip(Bytes b, size_t at, uint8_t value) {
  b[14 + at] = value;
  set16(b, 24, 0);
  const size_t header = static_cast<size_t>(b[14] & 15) * 4;
  set16(b, 24, naive_checksum(part(b, 14, std::min(header, b.size() - 14))));
  return b;
}

// A frame in a buffer with nothing behind it (a read beyond the end is found by the sanitizer) and its parse.
class Parsed {
 public:
  explicit Parsed(const Bytes& bytes, const VnetHeader& hostile = {})
      : buffer_(new uint8_t[bytes.empty() ? 1 : bytes.size()]) {
    if (!bytes.empty()) std::memcpy(buffer_, bytes.data(), bytes.size());
    packet.frame = buffer_;
    packet.length = packet.capacity = static_cast<uint32_t>(bytes.size());
    reason = parse(packet, hostile);
  }
  ~Parsed() { delete[] buffer_; }
  Parsed(const Parsed&) = delete;
  Parsed& operator=(const Parsed&) = delete;

  [[nodiscard]] Bytes bytes() const { return Bytes(packet.frame, packet.frame + packet.length); }
  [[nodiscard]] Bytes transport() const {
    return part(bytes(), packet.l4_offset, packet.length - packet.l4_offset);
  }
  // IPv4 header checksum and transport checksum, by the oracle, from the bytes as they are now.
  [[nodiscard]] bool checksums_right() const {
    const Bytes b = bytes();
    const bool is_v4 = packet.tuple.family == 4;
    if (is_v4 && naive_checksum(part(b, 14, (b[14] & 15) * 4u)) != 0) return false;
    const Address source = is_v4 ? Address::v4_from(&b[26]) : Address::v6_from(&b[22]);
    const Address destination = is_v4 ? Address::v4_from(&b[30]) : Address::v6_from(&b[38]);
    return checksum_right(source, destination, packet.tuple.protocol, transport());
  }

  Packet packet;
  DropReason reason;

 private:
  uint8_t* buffer_;
};

// The vnet header that a Linux sender gives with a partial checksum, with or without GSO.
inline VnetHeader claim(uint16_t start, uint16_t offset, uint8_t gso_type = 0, uint16_t gso_size = 0) {
  VnetHeader h;
  h.flags = VnetHeader::kNeedsChecksum;
  h.csum_start = start;
  h.csum_offset = offset;
  h.gso_type = gso_type;
  h.gso_size = gso_size;
  return h;
}

inline std::string name(DropReason reason) {
  return drop_reason_name(reason);
}

}  // namespace weft::test
