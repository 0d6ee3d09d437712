// The limit of the design on this machine: frames from one TAP to another and back, without a look at them.
// The TAPs are made by weft's own attach code, so flags, offloads, queue length, addresses and neighbours are
// those of a pod of weft. Each pod's gateway has the other pod's MAC, so a frame needs no rewriting at all.
// Nothing of weft's forwarding is used here: this is the yardstick that it is held against.
//
//   weft-pump NETNS,ADDRESS NETNS,ADDRESS [--coalesce] [--queue-discipline KIND] [--queue-length FRAMES]
//             [--drain FRAMES] [--poll-us MICROSECONDS] [--pin CPU]
//
// Prints `ready` when both interfaces are up; runs until it is killed, and the interfaces go with it.
#include <linux/if_tun.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/address_text.h"
#include "io/netns.h"
#include "io/tap.h"
#include "train.h"

namespace {

using Clock = std::chrono::steady_clock;

struct Options {
  std::vector<std::string> pods;
  bool coalesce = false;
  std::string queue_discipline = weft::io::TapConfig{}.queue_discipline;
  uint32_t queue_length = weft::io::TapConfig{}.queue_length;
  uint32_t drain = 64;   // frames read from one TAP before the other has its turn
  uint32_t poll_us = 0;  // looked for frames without sleeping after the last one
  std::optional<uint32_t> pin;
};

[[noreturn]] void fail(const std::string& text) {
  std::fprintf(stderr, "weft-pump: %s\n", text.c_str());
  std::exit(1);
}

uint32_t number(std::string_view text) {
  uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) fail("not a number: " + std::string(text));
  return value;
}

Options parse(int count, char** words) {
  Options options;
  for (int i = 1; i < count; ++i) {
    const std::string word = words[i];
    const auto value = [&]() -> std::string {
      if (++i >= count) fail(word + " needs a value");
      return words[i];
    };
    if (word == "--coalesce") {
      options.coalesce = true;
    } else if (word == "--queue-discipline") {
      options.queue_discipline = value();
    } else if (word == "--queue-length") {
      options.queue_length = number(value());
    } else if (word == "--drain") {
      options.drain = number(value());
    } else if (word == "--poll-us") {
      options.poll_us = number(value());
    } else if (word == "--pin") {
      options.pin = number(value());
    } else if (word.starts_with("--")) {
      fail("unknown option " + word);
    } else {
      options.pods.push_back(word);
    }
  }
  if (options.pods.size() != 2) fail("two pods are needed: NETNS,ADDRESS NETNS,ADDRESS");
  return options;
}

weft::io::Descriptor attach(const weft::io::NamespaceContext& context, const Options& options,
                            uint8_t which) {
  const std::string& pod = options.pods[which];
  const size_t comma = pod.rfind(',');
  const auto address =
      comma == std::string::npos ? std::nullopt : weft::io::parse_address(pod.substr(comma + 1));
  if (!address) fail("not NETNS,ADDRESS: " + pod);
  weft::io::TapConfig config;
  config.netns = pod.substr(0, comma);
  config.ifname = "eth0";
  config.mac = {2, 0, 0, 0, 0, which};
  config.gateway_mac = {2, 0, 0, 0, 0, static_cast<uint8_t>(1 - which)};
  config.addresses = {*address};
  config.queue_length = options.queue_length;
  config.queue_discipline = options.queue_discipline;
  auto tap = weft::io::attach_tap(context, config);
  if (!tap.ok()) fail(tap.error().message);
  if (::ioctl(tap.value().descriptor.get(), TUNSETPERSIST, 0UL) != 0) fail("ioctl(TUNSETPERSIST) failed");
  return std::move(tap.value().descriptor);
}

// Up to `frames` frames, each one written before the next is read, so that it is still in the cache.
void pump(int from, int to, uint32_t frames) {
  static std::array<uint8_t, 10 + 14 + 65536> frame;
  for (uint32_t i = 0; i < frames; ++i) {
    const ssize_t length = ::read(from, frame.data(), frame.size());
    if (length <= 0) return;
    // A frame that the other side does not take is lost, as on any wire.
    [[maybe_unused]] const ssize_t written = ::write(to, frame.data(), static_cast<size_t>(length));
  }
}

void serve(const Options& options, const std::array<int, 2>& taps) {
  const int epoll = ::epoll_create1(EPOLL_CLOEXEC);
  for (uint32_t i = 0; i < 2; ++i) {
    epoll_event interest{};
    interest.events = EPOLLIN;
    interest.data.u32 = i;
    if (::epoll_ctl(epoll, EPOLL_CTL_ADD, taps[i], &interest) != 0) fail("epoll_ctl failed");
  }
  std::array<weft::bench::Trains, 2> trains;
  const auto spin = std::chrono::microseconds(options.poll_us);
  auto asleep_at = Clock::now();
  std::array<epoll_event, 2> events;
  while (true) {
    const bool spinning = options.poll_us != 0 && Clock::now() < asleep_at;
    const int count = ::epoll_wait(epoll, events.data(), 2, spinning ? 0 : -1);
    for (int i = 0; i < count; ++i) {
      const epoll_event& event = events[static_cast<size_t>(i)];
      const uint32_t which = event.data.u32;
      // The pod's namespace, and the TAP with it, is gone.
      if ((event.events & (EPOLLERR | EPOLLHUP)) != 0) return;
      if (options.coalesce)
        trains[which].pump(taps[which], taps[1 - which], options.drain);
      else
        pump(taps[which], taps[1 - which], options.drain);
    }
    if (options.poll_us != 0 && count > 0) asleep_at = Clock::now() + spin;
  }
}

}  // namespace

int main(int count, char** words) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  const Options options = parse(count, words);
  auto thread = weft::io::NamespaceThread::start();
  if (!thread.ok()) fail(thread.error().message);
  std::array<weft::io::Descriptor, 2> taps;
  thread.value()->run([&](const weft::io::NamespaceContext& context) {
    for (uint8_t i = 0; i < 2; ++i) taps[i] = attach(context, options, i);
  });
  if (options.pin) {
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    CPU_SET(*options.pin, &cpus);
    if (::sched_setaffinity(0, sizeof cpus, &cpus) != 0) fail("no such CPU: " + std::to_string(*options.pin));
  }
  std::puts("ready");
  std::fflush(stdout);
  serve(options, {taps[0].get(), taps[1].get()});
}
