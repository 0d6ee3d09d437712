#include "io/raw_socket.h"

#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sys/socket.h>

#include <bit>
#include <cerrno>

namespace weft::io {

namespace {

uint16_t network_order(uint16_t value) {
  return static_cast<uint16_t>(value << 8 | value >> 8);
}
uint16_t to_network(uint16_t value) {
  if constexpr (std::endian::native == std::endian::little) return network_order(value);
  return value;
}

// In the calling thread's namespace.
Result<Descriptor> open_here(const std::string& ifname, bool vnet_header) {
  // Protocol 0 receives nothing until bind names the interface, so no frame of another interface slips in
  // between.
  Descriptor socket(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.valid())
    return call_failed("raw-socket-open", "socket(AF_PACKET)", ifname, "needs CAP_NET_RAW");
  const unsigned index = ::if_nametoindex(ifname.c_str());
  if (index == 0) return call_failed("raw-socket-open", "if_nametoindex", ifname);
  const int on = 1;
  if (vnet_header && ::setsockopt(socket.get(), SOL_PACKET, PACKET_VNET_HDR, &on, sizeof on) != 0)
    return call_failed("raw-socket-open", "setsockopt(PACKET_VNET_HDR)", ifname);
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_protocol = to_network(ETH_P_ALL);
  address.sll_ifindex = static_cast<int>(index);
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return call_failed("raw-socket-open", "bind(AF_PACKET)", ifname);
  return socket;
}

}  // namespace

Result<RawSocket> RawSocket::open(const NamespaceContext& context, const std::string& netns,
                                  const std::string& ifname, bool vnet_header) {
  auto finish = [](Result<Descriptor> socket) -> Result<RawSocket> {
    if (!socket.ok()) return socket.error();
    return RawSocket(std::move(socket).value());
  };
  if (netns.empty()) {
    auto scope = context.enter_home();
    if (!scope.ok()) return scope.error();
    return finish(open_here(ifname, vnet_header));
  }
  auto file = NamespaceFile::open(netns);
  if (!file.ok()) return file.error();
  auto scope = context.enter(file.value());
  if (!scope.ok()) return scope.error();
  return finish(open_here(ifname, vnet_header));
}

int64_t RawSocket::send(std::span<const uint8_t> bytes) {
  const ssize_t sent = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
  return sent < 0 ? -errno : sent;
}

int64_t RawSocket::receive(std::span<uint8_t> buffer) {
  const ssize_t length = ::recv(socket_.get(), buffer.data(), buffer.size(), 0);
  return length < 0 ? -errno : length;
}

}  // namespace weft::io
