#include "io/lab_sctp_socket.h"

#include <netinet/in.h>
#include <sys/socket.h>

// After netinet/in.h, which it needs.
#include <linux/errqueue.h>

#include <array>
#include <cerrno>

#include "io/lab_netns.h"

namespace weft::lab {

SctpSocket::SctpSocket(uint32_t netns, uint8_t family)
    : netns_(netns),
      family_(family),
      fd_(::socket(family == 4 ? AF_INET : AF_INET6, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_SCTP)) {
  if (!fd_.valid()) return;
  const int on = 1;
  if (family == 4)
    ::setsockopt(fd_.get(), IPPROTO_IP, IP_RECVERR, &on, sizeof on);
  else
    ::setsockopt(fd_.get(), IPPROTO_IPV6, IPV6_RECVERR, &on, sizeof on);
}

bool SctpSocket::send(const Address& to, std::span<const uint8_t> packet) const {
  sockaddr_storage name{};
  const socklen_t length = to_sockaddr(to, family_, 0, name);  // raw sockets take no port
  return ::sendto(fd_.get(), packet.data(), packet.size(), MSG_NOSIGNAL, reinterpret_cast<sockaddr*>(&name),
                  length) >= 0;
}

bool SctpSocket::receive(std::optional<SctpPacket>& packet) const {
  packet.reset();
  std::array<uint8_t, 2048> buffer;
  const ssize_t got = ::recv(fd_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
  if (got < 0) return errno != EAGAIN;  // else an ICMP error: the queue has it
  std::span<const uint8_t> bytes(buffer.data(), static_cast<size_t>(got));
  if (family_ == 4) {
    const size_t header = bytes.empty() ? 0 : static_cast<size_t>(bytes[0] & 0x0f) * 4;
    if (header < 20 || header > bytes.size()) return true;
    bytes = bytes.subspan(header);
  }
  packet = parse_sctp(bytes);
  return true;
}

bool SctpSocket::take_error(IcmpError& error, uint16_t& source_port) const {
  source_port = 0;
  if (!take_icmp_error(fd_.get(), error)) return false;
  if (error.quoted.size() >= 2)
    source_port = static_cast<uint16_t>(static_cast<uint8_t>(error.quoted[0]) << 8 |
                                        static_cast<uint8_t>(error.quoted[1]));
  return true;
}

}  // namespace weft::lab
