#include "traffic/socket.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <cerrno>
#include <cstring>

#include "traffic/failure.h"

namespace weft::traffic {

namespace {

// Above the 208 KB of a default socket: a receiver that is not scheduled for a moment must not be what loses
// datagrams.
constexpr int kUdpBuffer = 4 << 20;
constexpr int kBacklog = 4096;
constexpr int kConnectMs = 1000;

Descriptor open_socket(int type, const char* what) {
  Descriptor socket(::socket(AF_INET, type | SOCK_CLOEXEC, 0));
  if (!socket.valid()) fail("socket (%s): %s", what, std::strerror(errno));
  return socket;
}

void set(const Descriptor& socket, int level, int option, int value, const char* name) {
  if (setsockopt(socket.get(), level, option, &value, sizeof value) != 0)
    fail("setsockopt %s: %s", name, std::strerror(errno));
}

void bind_to(const Descriptor& socket, uint16_t port, const char* what) {
  sockaddr_in any{};
  any.sin_family = AF_INET;
  any.sin_port = htons(port);
  if (bind(socket.get(), reinterpret_cast<const sockaddr*>(&any), sizeof any) != 0)
    fail("bind %s port %u: %s", what, unsigned{port}, std::strerror(errno));
}

// Only who may administrate the network can go above rmem_max; what comes then is what the system gives.
void widen(const Descriptor& socket) {
  const int size = kUdpBuffer;
  if (setsockopt(socket.get(), SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) != 0)
    set(socket, SOL_SOCKET, SO_RCVBUF, size, "SO_RCVBUF");
  if (setsockopt(socket.get(), SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size) != 0)
    set(socket, SOL_SOCKET, SO_SNDBUF, size, "SO_SNDBUF");
}

}  // namespace

sockaddr_in address_of(const std::string& text, uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  if (inet_pton(AF_INET, text.c_str(), &address.sin_addr) != 1)
    fail_usage("'%s' is no IPv4 address", text.c_str());
  return address;
}

std::string text_of(const sockaddr_in& address) {
  char text[INET_ADDRSTRLEN];
  inet_ntop(AF_INET, &address.sin_addr, text, sizeof text);
  return std::string(text) + ":" + std::to_string(ntohs(address.sin_port));
}

Descriptor tcp_connect(const sockaddr_in& to) {
  Descriptor socket = open_socket(SOCK_STREAM | SOCK_NONBLOCK, "TCP");
  if (connect(socket.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) {
    if (errno != EINPROGRESS) fail("connect %s: %s", text_of(to).c_str(), std::strerror(errno));
    pollfd wait{socket.get(), POLLOUT, 0};
    int ready = 0;
    do ready = poll(&wait, 1, kConnectMs);
    while (ready < 0 && errno == EINTR);
    if (ready == 0) fail("no answer from %s (TCP) within %d s", text_of(to).c_str(), kConnectMs / 1000);
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) fail("connect %s: %s", text_of(to).c_str(), std::strerror(error));
  }
  const int flags = 0;
  if (fcntl(socket.get(), F_SETFL, flags) != 0) fail("fcntl: %s", std::strerror(errno));
  no_delay(socket);
  return socket;
}

Descriptor tcp_listen(uint16_t port) {
  Descriptor socket = open_socket(SOCK_STREAM, "TCP");
  set(socket, SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR");
  bind_to(socket, port, "TCP");
  if (listen(socket.get(), kBacklog) != 0)
    fail("listen TCP port %u: %s", unsigned{port}, std::strerror(errno));
  return socket;
}

Descriptor udp_bind(uint16_t port) {
  Descriptor socket = open_socket(SOCK_DGRAM, "UDP");
  bind_to(socket, port, "UDP");
  widen(socket);
  return socket;
}

Descriptor udp_connect(const sockaddr_in& to) {
  Descriptor socket = open_socket(SOCK_DGRAM, "UDP");
  widen(socket);
  if (connect(socket.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0)
    fail("connect UDP %s: %s", text_of(to).c_str(), std::strerror(errno));
  return socket;
}

void receive_timeout(const Descriptor& socket, int64_t ns) {
  timeval limit{};
  limit.tv_sec = static_cast<time_t>(ns / 1'000'000'000);
  limit.tv_usec = static_cast<suseconds_t>(ns % 1'000'000'000 / 1000);
  if (setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) != 0)
    fail("setsockopt SO_RCVTIMEO: %s", std::strerror(errno));
}

void no_delay(const Descriptor& socket) {
  set(socket, IPPROTO_TCP, TCP_NODELAY, 1, "TCP_NODELAY");
}

}  // namespace weft::traffic
