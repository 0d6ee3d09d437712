#include "cni/route_socket.h"

#include <net/if.h>
#include <sys/socket.h>

#include <cerrno>

namespace weft::cni {

RouteSocket::RouteSocket() : socket_(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE)) {}

int RouteSocket::link(const std::string& name, const Handle& handle) {
  struct {
    nlmsghdr header;
    ifinfomsg body;
    char attributes[RTA_LENGTH(IFNAMSIZ)];
  } request{};
  const size_t length = name.size() + 1;
  if (length > IFNAMSIZ) return ENODEV;
  rtattr attribute{};
  attribute.rta_type = IFLA_IFNAME;
  attribute.rta_len = static_cast<uint16_t>(RTA_LENGTH(length));
  std::memcpy(request.attributes, &attribute, sizeof attribute);
  std::memcpy(request.attributes + RTA_LENGTH(0), name.c_str(), length);
  request.header.nlmsg_type = RTM_GETLINK;
  request.header.nlmsg_len =
      static_cast<uint32_t>(NLMSG_LENGTH(sizeof(ifinfomsg)) + RTA_ALIGN(attribute.rta_len));
  return exchange(&request, request.header.nlmsg_len, false, handle);
}

int RouteSocket::dump(uint16_t type, uint8_t family, const Handle& handle) {
  // The kernel wants the kind's own header; all of them begin with the family, and the rest may be zero.
  struct {
    nlmsghdr header;
    rtmsg body;
  } request{};
  static_assert(sizeof(rtmsg) >= sizeof(ifaddrmsg));
  request.body.rtm_family = family;
  request.header.nlmsg_type = type;
  request.header.nlmsg_len =
      static_cast<uint32_t>(NLMSG_LENGTH(type == RTM_GETADDR ? sizeof(ifaddrmsg) : sizeof(rtmsg)));
  return exchange(&request, request.header.nlmsg_len, true, handle);
}

int RouteSocket::exchange(const void* request, size_t length, bool dump, const Handle& handle) {
  alignas(nlmsghdr) char buffer[32768];
  nlmsghdr header{};
  std::memcpy(&header, request, sizeof header);
  header.nlmsg_seq = ++sequence_;
  header.nlmsg_flags = static_cast<uint16_t>(NLM_F_REQUEST | (dump ? NLM_F_DUMP : NLM_F_ACK));
  std::memcpy(buffer, request, length);
  std::memcpy(buffer, &header, sizeof header);
  if (::send(socket_.get(), buffer, length, 0) < 0) return errno;
  while (true) {
    const ssize_t received = ::recv(socket_.get(), buffer, sizeof buffer, 0);
    if (received < 0) {
      if (errno == EINTR) continue;
      return errno;
    }
    size_t place = 0;
    const auto size = static_cast<size_t>(received);
    while (place + sizeof(nlmsghdr) <= size) {
      const auto* message = reinterpret_cast<const nlmsghdr*>(buffer + place);
      if (message->nlmsg_len < sizeof(nlmsghdr) || place + message->nlmsg_len > size) return EBADMSG;
      if (message->nlmsg_seq == sequence_) {
        if (message->nlmsg_type == NLMSG_DONE) return 0;
        if (message->nlmsg_type == NLMSG_ERROR) {
          int error = 0;
          std::memcpy(&error, buffer + place + NLMSG_HDRLEN, sizeof error);
          return -error;
        }
        handle(*message);
      }
      place += NLMSG_ALIGN(message->nlmsg_len);
    }
  }
}

}  // namespace weft::cni
