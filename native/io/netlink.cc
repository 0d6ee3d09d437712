#include "io/netlink.h"

#include <sys/socket.h>

#include <cerrno>

#include "io/netlink_message.h"
#include "io/netlink_request.h"

namespace weft::io {

namespace {

// The kernel's answer to one request fits: a link dump comes in several datagrams of at most this size.
constexpr size_t kAnswerBytes = 32 * 1024;

}  // namespace

Result<Netlink> Netlink::open() {
  Descriptor socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  if (!socket.valid()) return call_failed("netlink-open", "socket(NETLINK_ROUTE)", "");
  // Errors without a copy of the request keep answers small.
  const int on = 1;
  ::setsockopt(socket.get(), SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on);
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return call_failed("netlink-open", "bind(NETLINK_ROUTE)", "");
  return Netlink(std::move(socket));
}

int Netlink::transact(Request& request) {
  const std::span<const uint8_t> message = request.finish(++sequence_);
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  if (::sendto(socket_.get(), message.data(), message.size(), 0, reinterpret_cast<const sockaddr*>(&kernel),
               sizeof kernel) < 0)
    return errno;
  std::vector<uint8_t> buffer(kAnswerBytes);
  while (true) {
    const ssize_t received = ::recv(socket_.get(), buffer.data(), buffer.size(), 0);
    if (received < 0) {
      if (errno == EINTR) continue;
      return errno;
    }
    std::optional<int> end;
    for_each_message({buffer.data(), static_cast<size_t>(received)},
                     [&](const nlmsghdr& header, std::span<const uint8_t> payload) {
                       if (header.nlmsg_seq != sequence_) return true;  // of a request that failed half-way
                       if (header.nlmsg_type == NLMSG_DONE) {
                         end = 0;
                       } else if (header.nlmsg_type == NLMSG_ERROR) {
                         end = payload.size() >= 4 ? -load<int32_t>(payload.data()) : EBADMSG;
                       } else if (request.on_answer) {
                         request.on_answer(header.nlmsg_type, payload);
                       }
                       return !end;
                     });
    if (end) return *end;
  }
}

Status Netlink::done(int errno_value, const char* call, const std::string& object, const std::string& hint) {
  if (errno_value == 0) return Ok{};
  return call_failed_with(errno_value, std::string("netlink-") + call, call, object, hint);
}

}  // namespace weft::io
