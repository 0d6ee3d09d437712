#include "traffic/server.h"

#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <deque>
#include <thread>

#include "traffic/answer.h"
#include "traffic/clock.h"
#include "traffic/control.h"
#include "traffic/datagram.h"
#include "traffic/echo.h"
#include "traffic/failure.h"
#include "traffic/flow_sink.h"
#include "traffic/meter.h"
#include "traffic/sink.h"
#include "traffic/stream.h"

namespace weft::traffic {

namespace {

constexpr double kPatience = 5;          // for the first of the traffic, seconds
constexpr double kOpeningPatience = 70;  // where 100,000 flows are opened first
constexpr double kLongest = 600;         // of a measurement, seconds
constexpr double kLongestIdle = 60;      // a client that says nothing, beyond the measurement

struct Count {
  int64_t at = 0;
  uint64_t datagrams = 0;
  uint64_t bytes = 0;
};

// A client's session: reads the request, opens what it asks for, measures, answers.
class Session {
 public:
  explicit Session(Control control) : control_(std::move(control)) {}
  [[noreturn]] void run();

 private:
  void open(const std::string& mode, const Arguments& asked);
  void measure();
  [[nodiscard]] Count count() const;
  [[nodiscard]] static std::string text_of_count(const Count& count);

  Control control_;
  std::deque<Meter> meters_;  // a deque: threads hold references
  bool measures_ = false;
  double patience_ = kPatience;
  double warm_ = 0;
  double seconds_ = 0;
};

void Session::run() {
  const std::optional<std::string> line = control_.hear(kPatience);
  if (!line) std::_Exit(0);
  const std::string mode = line->substr(0, line->find(' '));
  std::string error;
  const Arguments asked =
      Arguments::from_line(std::string_view(*line).substr(std::min(line->size(), mode.size() + 1)), error);
  if (!error.empty()) control_.say("error " + error);
  warm_ = asked.seconds("warm", 0, kLongest);
  seconds_ = asked.seconds("seconds", 1, kLongest);
  // Whatever happens to the client, this process ends.
  alarm(static_cast<unsigned>(std::ceil(warm_ + seconds_ + kOpeningPatience + kLongestIdle)));
  open(mode, asked);
  control_.say("ready");
  if (measures_) measure();
  while (const std::optional<std::string> more = control_.hear(kLongestIdle + warm_ + seconds_)) {
    if (*more != "total") fail("a client said '%s'", more->c_str());
    control_.say("total " + text_of_count(count()));
  }
  std::_Exit(0);
}

void Session::open(const std::string& mode, const Arguments& asked) {
  const auto port = static_cast<uint16_t>(asked.number("port", 0, 1, 65535));
  if (mode == "udp-sink") {
    SinkOptions options;
    options.every = static_cast<uint64_t>(asked.number("every", 0, 0, 1 << 20));
    options.gro = asked.number("gro", 0, 0, 1) == 1;
    Descriptor acknowledge;
    if (options.every != 0)
      acknowledge = udp_bind(static_cast<uint16_t>(asked.number("acknowledge", 0, 1, 65535)));
    std::thread(run_sink, udp_bind(port), std::move(acknowledge), options, std::ref(meters_.emplace_back()))
        .detach();
    measures_ = true;
  } else if (mode == "udp-flows") {
    const auto ports = asked.number("ports", 1, 1, 16);
    std::vector<Descriptor> sockets;
    for (int64_t index = 0; index < ports; ++index)
      sockets.push_back(udp_bind(static_cast<uint16_t>(port + kFirstFlowPort + index)));
    std::thread(run_flow_sink, std::move(sockets),
                udp_bind(static_cast<uint16_t>(asked.number("acknowledge", 0, 1, 65535))),
                static_cast<uint64_t>(asked.number("every", 1, 1, 1 << 20)), std::ref(meters_.emplace_back()))
        .detach();
    measures_ = true;
    patience_ = kOpeningPatience;
  } else if (mode == "tcp-sink") {
    meters_.resize(static_cast<size_t>(asked.number("streams", 1, 1, 256)));
    start_stream_sink(tcp_listen(port), meters_);
    measures_ = true;
  } else if (mode == "tcp-echo") {
    std::thread(run_tcp_echo, tcp_listen(port)).detach();
  } else if (mode == "udp-echo") {
    std::thread(run_udp_echo, udp_bind(port)).detach();
  } else if (mode == "tcp-answer") {
    std::thread(run_answer, tcp_listen(port)).detach();
  } else {
    const std::string text = "error there is no mode '" + mode + "'";
    control_.say(text);
    fail("%s", text.c_str());
  }
}

Count Session::count() const {
  Count sum;
  sum.at = now_ns();
  for (const Meter& meter : meters_) {
    sum.datagrams += meter.datagrams.load(std::memory_order_relaxed);
    sum.bytes += meter.bytes.load(std::memory_order_relaxed);
  }
  return sum;
}

std::string Session::text_of_count(const Count& count) {
  char text[128];
  std::snprintf(text, sizeof text, "ns=%lld datagrams=%llu bytes=%llu", static_cast<long long>(count.at),
                static_cast<unsigned long long>(count.datagrams),
                static_cast<unsigned long long>(count.bytes));
  return text;
}

// The receiver's own clock and counters, read together: whatever delays this thread, the rate is right.
void Session::measure() {
  const int64_t deadline = now_ns() + seconds_to_ns(patience_);
  while (count().bytes == 0) {
    if (now_ns() > deadline) {
      char text[128];
      std::snprintf(text, sizeof text, "error nothing of the traffic arrived within %g s", patience_);
      control_.say(text);
      std::_Exit(1);
    }
    sleep_until_ns(now_ns() + 1'000'000);
  }
  sleep_until_ns(now_ns() + seconds_to_ns(warm_));
  const Count first = count();
  sleep_until_ns(first.at + seconds_to_ns(seconds_));
  const Count last = count();
  control_.say("result " + text_of_count({last.at - first.at, last.datagrams - first.datagrams,
                                          last.bytes - first.bytes}));
}

}  // namespace

void serve(const Arguments& arguments) {
  const auto port = static_cast<uint16_t>(arguments.number("port", 5000, 1, 65535));
  alarm(static_cast<unsigned>(std::ceil(arguments.seconds("seconds", 3600, 1e6))));
  const Descriptor listener = tcp_listen(port);
  if (std::signal(SIGCHLD, SIG_IGN) == SIG_ERR) fail("signal SIGCHLD: %s", std::strerror(errno));
  // Whoever started us may wait for this.
  std::printf("{\"listening\":%u}\n", unsigned{port});
  std::fflush(stdout);
  for (;;) {
    sockaddr_in from{};
    socklen_t size = sizeof from;
    Descriptor client(accept4(listener.get(), reinterpret_cast<sockaddr*>(&from), &size, SOCK_CLOEXEC));
    if (!client.valid()) {
      if (errno == EINTR || errno == ECONNABORTED) continue;
      fail("accept on port %u: %s", unsigned{port}, std::strerror(errno));
    }
    no_delay(client);
    const pid_t server = getpid();
    const pid_t child = fork();
    if (child < 0) fail("fork: %s", std::strerror(errno));
    if (child == 0) {
      // A session never outlives its server.
      if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != server) std::_Exit(1);
      Session(Control(std::move(client), text_of(from))).run();
    }
  }
}

}  // namespace weft::traffic
