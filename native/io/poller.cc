#include "io/poller.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace weft::io {

namespace {
constexpr uint64_t kWakeToken = ~uint64_t{0};
constexpr size_t kMaximumEvents = 64;
}  // namespace

Result<std::unique_ptr<Poller>> EpollPoller::open() {
  Descriptor epoll(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll.valid()) return call_failed("poller-open", "epoll_create1", "");
  Descriptor event(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!event.valid()) return call_failed("poller-open", "eventfd", "");
  epoll_event interest{};
  interest.events = EPOLLIN;
  interest.data.u64 = kWakeToken;
  if (::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, event.get(), &interest) != 0)
    return call_failed("poller-open", "epoll_ctl", "eventfd");
  return std::unique_ptr<Poller>(new EpollPoller(std::move(epoll), std::move(event)));
}

Status EpollPoller::add(Device& device, uint64_t token) {
  epoll_event interest{};
  interest.events = EPOLLIN;
  interest.data.u64 = token;
  const int fd = device.descriptor();
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &interest) != 0)
    return call_failed("poller-add", "epoll_ctl(ADD)", "descriptor " + std::to_string(fd));
  return Ok{};
}

void EpollPoller::remove(Device& device) noexcept {
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, device.descriptor(), nullptr);
}

uint32_t EpollPoller::wait(std::span<Ready> ready, int64_t timeout_ns) noexcept {
  std::array<epoll_event, kMaximumEvents> events;
  const int room = static_cast<int>(std::min(ready.size(), events.size()));
  // Whole milliseconds, rounded up: a worker that asks for a microsecond is better off late than spinning.
  // epoll_pwait2 would need 5.11.
  constexpr int64_t kMillisecond = 1'000'000;
  constexpr int64_t kLongest = 1'000'000;
  const int timeout =
      timeout_ns < 0 ? -1
                     : static_cast<int>(std::min((timeout_ns + kMillisecond - 1) / kMillisecond, kLongest));
  const int count = ::epoll_wait(epoll_.get(), events.data(), room, timeout);
  uint32_t filled = 0;
  for (int i = 0; i < count; ++i) {
    const epoll_event& event = events[static_cast<size_t>(i)];
    if (event.data.u64 == kWakeToken) {
      uint64_t wakes = 0;
      [[maybe_unused]] const ssize_t taken = ::read(event_.get(), &wakes, sizeof wakes);
      continue;
    }
    ready[filled++] = {event.data.u64, (event.events & (EPOLLERR | EPOLLHUP)) != 0};
  }
  return filled;
}

void EpollPoller::wake() noexcept {
  const uint64_t one = 1;
  // EAGAIN means that the counter is at its top: the wake is pending already.
  [[maybe_unused]] const ssize_t written = ::write(event_.get(), &one, sizeof one);
}

}  // namespace weft::io
