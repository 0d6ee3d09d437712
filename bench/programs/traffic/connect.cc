#include "traffic/connect.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <vector>

#include "traffic/answer.h"
#include "traffic/clock.h"
#include "traffic/control.h"
#include "traffic/failure.h"
#include "traffic/histogram.h"
#include "traffic/target.h"

namespace weft::traffic {

namespace {

constexpr int kEvents = 64;
// A SYN is sent again after one second: who waits longer has lost something.
constexpr int64_t kPatienceNs = 3'000'000'000;
constexpr int kWakeMs = 100;

struct Slot {
  Descriptor socket;
  int64_t since = 0;
  size_t taken = 0;
  bool asked = false;
};

class Connector {
 public:
  Connector(const Target& target, size_t parallel)
      : to_(target.data), poller_(epoll_create1(EPOLL_CLOEXEC)), slots_(parallel) {
    for (size_t index = 0; index < parallel; ++index) begin(index);
  }

  // Serves events until then. Returns the time of its end.
  int64_t run_until(int64_t end) {
    int64_t now = now_ns();
    while (now < end) {
      std::array<epoll_event, kEvents> events{};
      const int ready = epoll_wait(poller_.get(), events.data(), kEvents, kWakeMs);
      if (ready < 0 && errno != EINTR) fail("epoll_wait: %s", std::strerror(errno));
      for (int index = 0; index < ready; ++index) {
        const epoll_event& event = events[static_cast<size_t>(index)];
        serve(static_cast<size_t>(event.data.u64), event.events);
      }
      now = now_ns();
      if (ready <= 0 || now > next_check_) give_up(now);
    }
    return now;
  }

  void forget() { done_ = failed_ = 0, times_ = {}; }
  [[nodiscard]] uint64_t done() const { return done_; }
  [[nodiscard]] uint64_t failed() const { return failed_; }
  [[nodiscard]] const Histogram& times() const { return times_; }

 private:
  void begin(size_t index) {
    Slot& slot = slots_[index];
    slot = {Descriptor(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)), now_ns(), 0, false};
    if (!slot.socket.valid()) fail("socket (TCP): %s", std::strerror(errno));
    if (::connect(slot.socket.get(), reinterpret_cast<const sockaddr*>(&to_), sizeof to_) != 0 &&
        errno != EINPROGRESS)
      fail("connect %s: %s", text_of(to_).c_str(), std::strerror(errno));
    epoll_event event{};
    event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
    event.data.u64 = index;
    if (epoll_ctl(poller_.get(), EPOLL_CTL_ADD, slot.socket.get(), &event) != 0)
      fail("epoll_ctl: %s", std::strerror(errno));
  }

  void serve(size_t index, uint32_t events) {
    Slot& slot = slots_[index];
    if (!slot.asked) {
      if ((events & (EPOLLERR | EPOLLHUP)) != 0) return end(index, false);
      if ((events & EPOLLOUT) == 0) return;
      const char request[kConnectBytes] = {};
      if (send(slot.socket.get(), request, sizeof request, MSG_NOSIGNAL) !=
          static_cast<ssize_t>(sizeof request))
        return end(index, false);
      slot.asked = true;
      return;
    }
    if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLERR | EPOLLHUP)) == 0) return;
    for (;;) {
      char bytes[2 * kConnectBytes];
      const ssize_t got = recv(slot.socket.get(), bytes, sizeof bytes, 0);
      if (got == 0) return end(index, slot.taken == kConnectBytes);
      if (got < 0) {
        if (errno == EINTR) continue;
        if (errno == EAGAIN) return;
        return end(index, false);
      }
      slot.taken += static_cast<size_t>(got);
    }
  }

  // Closes it and begins the next in its place.
  void end(size_t index, bool well) {
    if (well) {
      ++done_;
      times_.add(now_ns() - slots_[index].since);
    } else if (++failed_ > slots_.size() + done_) {
      fail("connections to %s fail: %llu did, %llu went well", text_of(to_).c_str(),
           static_cast<unsigned long long>(failed_), static_cast<unsigned long long>(done_));
    }
    slots_[index].socket.reset();
    begin(index);
  }

  void give_up(int64_t now) {
    next_check_ = now + kWakeMs * int64_t{1'000'000};
    for (size_t index = 0; index < slots_.size(); ++index)
      if (now - slots_[index].since > kPatienceNs) end(index, false);
  }

  sockaddr_in to_;
  Descriptor poller_;
  std::vector<Slot> slots_;
  Histogram times_;
  uint64_t done_ = 0, failed_ = 0;
  int64_t next_check_ = 0;
};

}  // namespace

void run_connect(const Arguments& arguments) {
  const Target target = Target::from(arguments);
  const auto parallel = static_cast<size_t>(arguments.number("parallel", 32, 1, 1024));
  Target::all_read(arguments);
  Control control = Control::connect(target.control);
  control.say("tcp-answer " + target.request());
  control.expect("ready", 2);
  // Tells a path that does not work from a slow one.
  tcp_connect(target.data);
  Connector connector(target, parallel);
  const int64_t start = connector.run_until(now_ns() + seconds_to_ns(target.warm));
  connector.forget();
  const double elapsed =
      static_cast<double>(connector.run_until(start + seconds_to_ns(target.seconds)) - start) / 1e9;
  if (connector.done() == 0)
    fail("no connection to %s was made within %g s", text_of(target.data).c_str(), elapsed);
  const Histogram& times = connector.times();
  std::printf("{\"rate\":%.1f,\"p50\":%.3f,\"p99\":%.3f,\"seconds\":%.6f,\"failed\":%llu}\n",
              static_cast<double>(connector.done()) / elapsed, times.percentile(0.5) / 1e3,
              times.percentile(0.99) / 1e3, elapsed, static_cast<unsigned long long>(connector.failed()));
}

}  // namespace weft::traffic
