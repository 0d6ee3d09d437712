// ICMP errors as the kernel keeps them for a socket with IP_RECVERR or IPV6_RECVERR (ip(7), MSG_ERRQUEUE):
// errno alone does not tell one code from the other.
#pragma once

#include <cstdint>
#include <string>

namespace weft::lab {

struct IcmpError {
  uint8_t type = 0;
  uint8_t code = 0;
  std::string quoted;  // the packet that caused it, from its transport header on
};

// Takes the next error off the socket's queue. False: there is none, or it is not an ICMP error.
bool take_icmp_error(int fd, IcmpError& icmp);

}  // namespace weft::lab
