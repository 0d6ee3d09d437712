#include "traffic/echo.h"

#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "traffic/failure.h"

namespace weft::traffic {

void run_tcp_echo(Descriptor listener) {
  char bytes[1 << 16];
  for (;;) {
    const Descriptor stream(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!stream.valid()) {
      if (errno == EINTR || errno == ECONNABORTED) continue;
      fail("accept: %s", std::strerror(errno));
    }
    no_delay(stream);
    for (;;) {
      const ssize_t got = recv(stream.get(), bytes, sizeof bytes, 0);
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) break;
      if (send(stream.get(), bytes, static_cast<size_t>(got), MSG_NOSIGNAL) != got) break;
    }
  }
}

void run_udp_echo(Descriptor socket) {
  char bytes[1 << 16];
  for (;;) {
    sockaddr_in from{};
    socklen_t size = sizeof from;
    const ssize_t got =
        recvfrom(socket.get(), bytes, sizeof bytes, 0, reinterpret_cast<sockaddr*>(&from), &size);
    if (got < 0) {
      if (errno == EINTR || errno == ECONNREFUSED) continue;
      fail("receive a datagram: %s", std::strerror(errno));
    }
    // One that cannot be sent is one that the client misses, and says.
    (void)sendto(socket.get(), bytes, static_cast<size_t>(got), 0, reinterpret_cast<const sockaddr*>(&from),
                 size);
  }
}

}  // namespace weft::traffic
