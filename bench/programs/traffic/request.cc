#include "traffic/request.h"

#include <sys/socket.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <vector>

#include "traffic/clock.h"
#include "traffic/control.h"
#include "traffic/datagram.h"
#include "traffic/failure.h"
#include "traffic/histogram.h"
#include "traffic/schedule.h"
#include "traffic/target.h"

namespace weft::traffic {

namespace {

constexpr int64_t kStreamPatienceNs = 2'000'000'000;
constexpr int kFirstTries = 5;

// What a closed loop has to do with a socket: one request, one answer.
class Exchange {
 public:
  Exchange(Descriptor socket, size_t size, bool stream, const sockaddr_in& to)
      : socket_(std::move(socket)), bytes_(size), stream_(stream), to_(to) {}

  // How long it took, ns.
  int64_t once() {
    const int64_t from = now_ns();
    if (!stream_) stamp(++sequence_);
    if (send(socket_.get(), bytes_.data(), bytes_.size(), MSG_NOSIGNAL) < 0)
      fail("send to %s: %s", text_of(to_).c_str(), std::strerror(errno));
    if (stream_)
      take_stream();
    else if (!take_datagram())
      return kDatagramPatienceNs;
    return now_ns() - from;
  }

  // The first: tells a path that does not work from a slow one.
  void first() {
    receive_timeout(socket_, stream_ ? kStreamPatienceNs : kDatagramPatienceNs);
    for (int tries = 0; tries < kFirstTries; ++tries) {
      const uint64_t before = lost_;
      once();
      if (lost_ == before) return;
    }
    fail("no answer from %s (UDP) within %lld s", text_of(to_).c_str(),
         static_cast<long long>(kFirstTries * kDatagramPatienceNs / 1'000'000'000));
  }

  [[nodiscard]] uint64_t lost() const { return lost_; }

 private:
  void stamp(uint64_t sequence) {
    const DatagramHeader header{kMagic, 0, sequence};
    std::memcpy(bytes_.data(), &header, sizeof header);
  }

  void take_stream() {
    size_t left = bytes_.size();
    while (left > 0) {
      const ssize_t got = recv(socket_.get(), bytes_.data(), left, 0);
      if (got > 0)
        left -= static_cast<size_t>(got);
      else if (got == 0)
        fail("%s closed the connection", text_of(to_).c_str());
      else if (errno == EAGAIN)
        fail("no answer from %s within %lld s", text_of(to_).c_str(),
             static_cast<long long>(kStreamPatienceNs / 1'000'000'000));
      else if (errno != EINTR)
        fail("receive from %s: %s", text_of(to_).c_str(), std::strerror(errno));
    }
  }

  // False: lost. An answer to an earlier request, which was given up, is passed over.
  bool take_datagram() {
    for (;;) {
      const ssize_t got = recv(socket_.get(), bytes_.data(), bytes_.size(), 0);
      if (got >= static_cast<ssize_t>(sizeof(DatagramHeader))) {
        DatagramHeader header{};
        std::memcpy(&header, bytes_.data(), sizeof header);
        if (header.magic == kMagic && header.sequence == sequence_) return true;
        continue;
      }
      if (got < 0 && errno == EAGAIN) {
        ++lost_;
        return false;
      }
      if (got < 0 && errno != EINTR)
        fail("receive from %s: %s", text_of(to_).c_str(),
             errno == ECONNREFUSED ? "nobody receives on that port" : std::strerror(errno));
    }
  }

  Descriptor socket_;
  std::vector<char> bytes_;
  bool stream_;
  sockaddr_in to_;
  uint64_t sequence_ = 0;
  uint64_t lost_ = 0;
};

void run(const Arguments& arguments, bool stream) {
  const Target target = Target::from(arguments);
  const auto size =
      static_cast<size_t>(arguments.number("size", 64, stream ? 1 : sizeof(DatagramHeader), 1400));
  const auto rate = arguments.number("rate", 0, 0, 1'000'000);
  const double idle = arguments.seconds("idle", 0.5, 10);
  Target::all_read(arguments);
  Control control = Control::connect(target.control);
  control.say((stream ? "tcp-echo " : "udp-echo ") + target.request());
  control.expect("ready", 2);
  Descriptor socket = stream ? tcp_connect(target.data) : udp_connect(target.data);
  if (rate != 0) {
    run_schedule(std::move(socket), {target, size, stream, static_cast<double>(rate), idle});
    return;
  }
  Exchange exchange(std::move(socket), size, stream, target.data);
  exchange.first();
  const int64_t warm = now_ns() + seconds_to_ns(target.warm);
  while (now_ns() < warm) exchange.once();
  const uint64_t lost_before = exchange.lost();
  Histogram histogram;
  const int64_t start = now_ns(), end = start + seconds_to_ns(target.seconds);
  int64_t now = start;
  do {
    histogram.add(exchange.once());
    now = now_ns();
  } while (now < end);
  const double elapsed = static_cast<double>(now - start) / 1e9;
  const uint64_t lost = exchange.lost() - lost_before;
  std::printf("{\"rate\":%.1f,\"p50\":%.3f,\"p99\":%.3f,\"p999\":%.3f,\"seconds\":%.6f,\"lost\":%llu}\n",
              static_cast<double>(histogram.total() - lost) / elapsed, histogram.percentile(0.5) / 1e3,
              histogram.percentile(0.99) / 1e3, histogram.percentile(0.999) / 1e3, elapsed,
              static_cast<unsigned long long>(lost));
}

}  // namespace

void run_tcp_rr(const Arguments& arguments) {
  run(arguments, true);
}
void run_udp_rr(const Arguments& arguments) {
  run(arguments, false);
}

}  // namespace weft::traffic
