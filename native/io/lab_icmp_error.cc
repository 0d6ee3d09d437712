#include "io/lab_icmp_error.h"

#include <netinet/in.h>
#include <sys/socket.h>

// After netinet/in.h, which it needs.
#include <linux/errqueue.h>

#include <array>
#include <cstring>

namespace weft::lab {

bool take_icmp_error(int fd, IcmpError& icmp) {
  std::array<char, 512> bytes;
  std::array<char, 512> control;
  iovec part{bytes.data(), bytes.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  const ssize_t got = ::recvmsg(fd, &message, MSG_ERRQUEUE | MSG_DONTWAIT);
  if (got < 0) return false;
  icmp.quoted.assign(bytes.data(), static_cast<size_t>(got));
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
    const bool is_error = (header->cmsg_level == IPPROTO_IP && header->cmsg_type == IP_RECVERR) ||
                          (header->cmsg_level == IPPROTO_IPV6 && header->cmsg_type == IPV6_RECVERR);
    if (!is_error) continue;
    sock_extended_err error{};
    std::memcpy(&error, CMSG_DATA(header), sizeof error);
    if (error.ee_origin != SO_EE_ORIGIN_ICMP && error.ee_origin != SO_EE_ORIGIN_ICMP6) continue;
    icmp.type = error.ee_type;
    icmp.code = error.ee_code;
    return true;
  }
  return false;
}

}  // namespace weft::lab
