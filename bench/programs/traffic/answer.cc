#include "traffic/answer.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "traffic/failure.h"

namespace weft::traffic {

namespace {

constexpr int kEvents = 64;

// Reads a request and answers it; false: it has not come yet. A request of this size comes in one piece or
// the connection is not one of ours.
bool answer(int stream) {
  char bytes[kConnectBytes];
  const ssize_t got = recv(stream, bytes, sizeof bytes, MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return false;
  if (got == static_cast<ssize_t>(sizeof bytes)) (void)send(stream, bytes, sizeof bytes, MSG_NOSIGNAL);
  close(stream);
  return true;
}

}  // namespace

void run_answer(Descriptor listener) {
  if (fcntl(listener.get(), F_SETFL, O_NONBLOCK) != 0) fail("fcntl: %s", std::strerror(errno));
  const Descriptor poller(epoll_create1(EPOLL_CLOEXEC));
  const auto watch = [&poller](int fd) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = fd;
    if (epoll_ctl(poller.get(), EPOLL_CTL_ADD, fd, &event) != 0) fail("epoll_ctl: %s", std::strerror(errno));
  };
  watch(listener.get());
  for (;;) {
    std::array<epoll_event, kEvents> events{};
    const int ready = epoll_wait(poller.get(), events.data(), kEvents, -1);
    if (ready < 0 && errno != EINTR) fail("epoll_wait: %s", std::strerror(errno));
    for (int index = 0; index < ready; ++index) {
      const int fd = events[static_cast<size_t>(index)].data.fd;
      if (fd != listener.get()) {
        answer(fd);
        continue;
      }
      for (;;) {
        const int stream = accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC);
        if (stream < 0) {
          if (errno == EAGAIN) break;
          if (errno == EINTR || errno == ECONNABORTED) continue;
          fail("accept: %s", std::strerror(errno));
        }
        // Mostly the request is there already.
        if (!answer(stream)) watch(stream);
      }
    }
  }
}

}  // namespace weft::traffic
