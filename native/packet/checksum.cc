#include "packet/checksum.h"

#include "base/crc32c.h"
#include "header/icmp.h"
#include "header/ipv4.h"
#include "header/ipv6.h"
#include "header/sctp.h"
#include "header/tcp.h"
#include "header/udp.h"

namespace weft {

namespace {

// The pseudo-header of a parsed packet: addresses as they lie in its IP header.
uint64_t pseudo_header_sum_of(const Packet& packet, uint32_t transport_length) {
  uint8_t* l3 = packet.frame + packet.l3_offset;
  if (packet.tuple.family == 4) {
    const Ipv4Header ip(l3);
    return pseudo_header_sum(ip.source(), ip.destination(), 4, packet.tuple.protocol, transport_length);
  }
  const Ipv6Header ip(l3);
  return pseudo_header_sum(ip.source(), ip.destination(), 6, packet.tuple.protocol, transport_length);
}

bool sctp_checksum_valid(const uint8_t* l4, uint32_t length) {
  const uint8_t zero[4] = {};
  uint32_t crc = crc32c(l4, kSctpChecksumOffset);
  crc = crc32c(zero, sizeof zero, crc);
  crc = crc32c(l4 + kSctpLength, length - kSctpLength, crc);
  return crc == load_le32(l4 + kSctpChecksumOffset);
}

}  // namespace

uint64_t sum_bytes(const uint8_t* data, size_t length, uint64_t sum) {
  while (length >= 4) {
    sum += load_native<uint32_t>(data);
    data += 4;
    length -= 4;
  }
  if (length >= 2) {
    sum += load_native<uint16_t>(data);
    data += 2;
    length -= 2;
  }
  if (length != 0) {
    const uint8_t padded[2] = {*data, 0};
    sum += load_native<uint16_t>(padded);
  }
  return sum;
}

uint64_t pseudo_header_sum(const uint8_t* source, const uint8_t* destination, uint8_t family,
                           uint8_t protocol, uint32_t transport_length) {
  const size_t address_length = family == 4 ? 4 : 16;
  uint64_t sum = sum_bytes(source, address_length);
  sum = sum_bytes(destination, address_length, sum);
  return sum + big_endian(transport_length) + big_endian(uint32_t{protocol});
}

bool transport_checksum_valid(const Packet& packet) {
  if (packet.kind == PacketKind::arp || packet.fragment != Fragment::none || packet.needs_checksum())
    return true;
  uint8_t* l4 = packet.frame + packet.l4_offset;
  const uint32_t length = packet.length - packet.l4_offset;
  const bool v4 = packet.tuple.family == 4;
  switch (static_cast<Protocol>(packet.tuple.protocol)) {
    case Protocol::tcp:
      return fold(sum_bytes(l4, length, pseudo_header_sum_of(packet, length))) == 0xffff;
    case Protocol::udp: {
      const UdpHeader udp(l4);
      if (udp.checksum() == 0) return v4;
      const uint32_t covered = udp.length();
      return fold(sum_bytes(l4, covered, pseudo_header_sum_of(packet, covered))) == 0xffff;
    }
    case Protocol::sctp:
      return sctp_checksum_valid(l4, length);
    case Protocol::icmp:
      return !v4 || fold(sum_bytes(l4, length)) == 0xffff;
    case Protocol::icmpv6:
      return v4 || fold(sum_bytes(l4, length, pseudo_header_sum_of(packet, length))) == 0xffff;
  }
  return true;
}

bool complete_checksum(Packet& packet) {
  if (packet.is_gso()) return false;
  if (!packet.needs_checksum()) return true;
  // parse() let NEEDS_CSUM pass only for whole TCP and UDP packets whose transport reaches to the end of the
  // frame.
  uint8_t* l4 = packet.frame + packet.l4_offset;
  const uint32_t length = packet.length - packet.l4_offset;
  uint8_t* field = l4 + packet.vnet.csum_offset;
  store_native<uint16_t>(field, 0);
  uint16_t checksum = finish_checksum(sum_bytes(l4, length, pseudo_header_sum_of(packet, length)));
  if (checksum == 0 && packet.tuple.protocol == static_cast<uint8_t>(Protocol::udp)) checksum = 0xffff;
  store_native(field, checksum);
  packet.vnet = VnetHeader{};
  return true;
}

}  // namespace weft
