// A datagram and its answer, which leaves from the address that the datagram came to: on a socket that is
// bound to none the kernel would choose another, and the one who asked would not take it for an answer.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace weft::lab {

// Room for one packet-information message of either family.
using Control = std::array<char, CMSG_SPACE(sizeof(in6_pktinfo)) + CMSG_SPACE(sizeof(in_pktinfo))>;

struct Datagram {
  std::array<uint8_t, 2048> bytes;
  size_t length = 0;
  sockaddr_storage peer{};
  socklen_t peer_length = 0;
  Control control{};
  size_t control_length = 0;
};

// Has the kernel tell with each datagram which address it came to.
void want_packet_info(int fd);
// Never blocks. False when nothing waits; a datagram without peer is a queued ICMP error, which is gone now.
bool receive(int fd, Datagram& datagram);
// Never blocks; lost like any datagram when it fails.
void reply(int fd, Datagram& to, std::span<const uint8_t> bytes);

}  // namespace weft::lab
