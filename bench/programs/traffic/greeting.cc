#include "traffic/greeting.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "traffic/datagram.h"
#include "traffic/failure.h"

namespace weft::traffic {

namespace {

constexpr int64_t kGreetNs = 100'000'000;
constexpr int kGreetings = 10;

}  // namespace

Descriptor greet(const sockaddr_in& to) {
  Descriptor socket = udp_connect(to);
  receive_timeout(socket, kGreetNs);
  for (int tries = 0; tries < kGreetings; ++tries) {
    DatagramHeader header{kMagic, 0, 0};
    if (send(socket.get(), &header, sizeof header, 0) < 0 && errno != ECONNREFUSED)
      fail("send to %s: %s", text_of(to).c_str(), std::strerror(errno));
    if (recv(socket.get(), &header, sizeof header, 0) == sizeof header && header.magic == kMagic)
      return socket;
  }
  fail("no answer from %s (UDP) within %lld s", text_of(to).c_str(),
       static_cast<long long>(kGreetings * kGreetNs / 1'000'000'000));
}

void answer_greeting(const Descriptor& acknowledge) {
  DatagramHeader greeting{};
  sockaddr_in from{};
  socklen_t size = 0;
  ssize_t got = 0;
  do {
    size = sizeof from;
    got =
        recvfrom(acknowledge.get(), &greeting, sizeof greeting, 0, reinterpret_cast<sockaddr*>(&from), &size);
  } while ((got < 0 && errno == EINTR) || (got >= 0 && greeting.magic != kMagic));
  if (got < 0) fail("receive a greeting: %s", std::strerror(errno));
  if (connect(acknowledge.get(), reinterpret_cast<const sockaddr*>(&from), size) != 0)
    fail("connect UDP %s: %s", text_of(from).c_str(), std::strerror(errno));
  const DatagramHeader answer{kMagic, 0, 0};
  if (send(acknowledge.get(), &answer, sizeof answer, 0) < 0)
    fail("send to %s: %s", text_of(from).c_str(), std::strerror(errno));
}

bool take_acknowledgements(const Descriptor& acknowledged, uint64_t& covered) {
  for (int flags = 0;;) {
    DatagramHeader header{};
    const ssize_t got = recv(acknowledged.get(), &header, sizeof header, flags);
    if (got == sizeof header) {
      covered = std::max(covered, header.sequence);
      flags = MSG_DONTWAIT;  // the rest of what has come
      continue;
    }
    if (got < 0 && errno != EAGAIN && errno != EINTR)
      fail("receive acknowledgements: %s", std::strerror(errno));
    return flags != 0;
  }
}

}  // namespace weft::traffic
