#include "io/lab_datagram.h"

#include <cerrno>
#include <cstring>

namespace weft::lab {
namespace {

// Turns the control data of a received datagram into that of its answer: the address it came to becomes the
// source, the interface is left to routing. Returns the length.
size_t reply_control(msghdr& received, Control& out) {
  for (cmsghdr* header = CMSG_FIRSTHDR(&received); header != nullptr;
       header = CMSG_NXTHDR(&received, header)) {
    msghdr reply{};
    out = {};
    reply.msg_control = out.data();
    reply.msg_controllen = out.size();
    cmsghdr* answer = CMSG_FIRSTHDR(&reply);
    if (header->cmsg_level == IPPROTO_IPV6 && header->cmsg_type == IPV6_PKTINFO) {
      in6_pktinfo info{};
      std::memcpy(&info, CMSG_DATA(header), sizeof info);
      info.ipi6_ifindex = 0;
      answer->cmsg_level = IPPROTO_IPV6;
      answer->cmsg_type = IPV6_PKTINFO;
      answer->cmsg_len = CMSG_LEN(sizeof info);
      std::memcpy(CMSG_DATA(answer), &info, sizeof info);
      return CMSG_SPACE(sizeof info);
    }
    if (header->cmsg_level == IPPROTO_IP && header->cmsg_type == IP_PKTINFO) {
      in_pktinfo info{};
      std::memcpy(&info, CMSG_DATA(header), sizeof info);
      info.ipi_ifindex = 0;
      info.ipi_spec_dst = info.ipi_addr;
      answer->cmsg_level = IPPROTO_IP;
      answer->cmsg_type = IP_PKTINFO;
      answer->cmsg_len = CMSG_LEN(sizeof info);
      std::memcpy(CMSG_DATA(answer), &info, sizeof info);
      return CMSG_SPACE(sizeof info);
    }
  }
  return 0;
}

}  // namespace

void want_packet_info(int fd) {
  const int on = 1;
  // On a socket for both families IPv4 datagrams report a mapped address in the IPv6 message; on an IPv4 one
  // the second call serves.
  ::setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof on);
  ::setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof on);
}

bool receive(int fd, Datagram& datagram) {
  iovec part{datagram.bytes.data(), datagram.bytes.size()};
  Control control{};
  msghdr message{};
  message.msg_name = &datagram.peer;
  message.msg_namelen = sizeof datagram.peer;
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  const ssize_t got = ::recvmsg(fd, &message, MSG_DONTWAIT);
  if (got < 0)
    return errno == EINTR || errno == ECONNREFUSED;  // a queued ICMP error is consumed by this call
  datagram.length = static_cast<size_t>(got);
  datagram.peer_length = message.msg_namelen;
  datagram.control_length = reply_control(message, datagram.control);
  return true;
}

void reply(int fd, Datagram& to, std::span<const uint8_t> bytes) {
  iovec part{const_cast<uint8_t*>(bytes.data()), bytes.size()};
  msghdr message{};
  message.msg_name = &to.peer;
  message.msg_namelen = to.peer_length;
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (to.control_length > 0) {
    message.msg_control = to.control.data();
    message.msg_controllen = to.control_length;
  }
  ::sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);  // lost like any datagram when it fails
}

}  // namespace weft::lab
