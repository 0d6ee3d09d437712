// Frames as one line of text, both ways, so that tests of the switch read as tables. Built and read here
// without the switch's own parser and checksum code.
//
//   tcp 10.0.0.1:1000 > 10.0.0.2:80 S            flags of SAFRP; "len N" payload bytes, "seq N", "ack N"
//   udp [fd00::1]:53 > [fd00::2]:53 len 10
//   sctp 10.0.0.1:5 > 10.0.0.2:6 INIT            or INIT_ACK, COOKIE_ECHO, COOKIE_ACK, DATA, ABORT
//   icmp 10.0.0.1 > 10.0.0.2 echo 7              or reply 7
//   icmp 10.0.0.1 > 10.0.0.2 error 3/1 mtu 0 quoting udp 10.0.0.2:1 > 10.0.0.3:2
//   arp 10.0.0.1 asks 169.254.1.1                or: arp 169.254.1.1 is-at 02:… tells 10.0.0.1
//   nd fe80::2 solicits fe80::1                  or: nd fe80::1 advertises fe80::1
//   nd fe80::2 solicits-router ff02::2           or: nd fe80::2 is-router ff02::1
//   mld fe80::2 > ff02::16
//   proto 99 10.0.0.1 > 10.0.0.2
// Words that any IP packet may have: "ttl N" (64), "df", "frag ID@OFFSET" with a final "+" for more
// fragments. A description of a frame leaves out ttl, seq, ack and window, and ends in "BAD CHECKSUM" if one
// of its checksums is wrong.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/mac.h"
#include "header/vnet.h"

namespace weft::test {

using Bytes = std::vector<uint8_t>;

struct Link {
  MacAddress source;
  MacAddress destination;
};

// vnet header (zeros) and frame.
Bytes frame(const Link& link, std::string_view text);
std::string describe(const Bytes& vnet_and_frame);
inline uint8_t* ip_of(Bytes& vnet_and_frame) {
  return vnet_and_frame.data() + 10 + 14;
}
uint8_t ttl_of(const Bytes& vnet_and_frame);
// Marks the frame's checksum as partial (NEEDS_CSUM) and, where gso_size is not 0, as a GSO frame.
void make_partial(Bytes& vnet_and_frame, uint16_t gso_size);

}  // namespace weft::test
