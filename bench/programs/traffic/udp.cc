#include "traffic/udp.h"

#include <netinet/udp.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <thread>
#include <vector>

#include "traffic/clock.h"
#include "traffic/control.h"
#include "traffic/datagram.h"
#include "traffic/failure.h"
#include "traffic/greeting.h"
#include "traffic/target.h"

namespace weft::traffic {

namespace {

// Sends bursts of datagrams with rising sequence numbers. One thread.
class Sender {
 public:
  Sender(Descriptor socket, size_t size, size_t burst, bool gso)
      : socket_(std::move(socket)),
        size_(size),
        burst_(burst),
        gso_(gso),
        bytes_(size * burst),
        places_(burst),
        messages_(burst) {
    for (size_t index = 0; index < burst; ++index) {
      places_[index] = {bytes_.data() + index * size, size};
      messages_[index].msg_hdr.msg_iov = &places_[index];
      messages_[index].msg_hdr.msg_iovlen = 1;
    }
    if (gso) {
      const int segment = static_cast<int>(size);
      if (setsockopt(socket_.get(), SOL_UDP, UDP_SEGMENT, &segment, sizeof segment) != 0)
        fail("setsockopt UDP_SEGMENT: %s (Linux 4.18 has it)", std::strerror(errno));
    }
  }

  [[nodiscard]] uint64_t next() const { return next_; }

  void burst() {
    for (size_t index = 0; index < burst_; ++index) {
      const DatagramHeader header{kMagic, 0, next_ + index};
      std::memcpy(bytes_.data() + index * size_, &header, sizeof header);
    }
    if (gso_) {
      if (send(socket_.get(), bytes_.data(), bytes_.size(), 0) >= 0)
        next_ += burst_;
      else
        refused("send");
      return;
    }
    for (size_t sent = 0; sent < burst_;) {
      const int more =
          sendmmsg(socket_.get(), messages_.data() + sent, static_cast<unsigned>(burst_ - sent), 0);
      if (more > 0)
        sent += static_cast<size_t>(more);
      else
        refused("sendmmsg");
    }
    next_ += burst_;
  }

 private:
  // A full queue is the path's business and passes; anything else is an error.
  static void refused(const char* call) {
    if (errno == EINTR || errno == EAGAIN || errno == ENOBUFS) return;
    fail("%s: %s", call,
         errno == ECONNREFUSED ? "nobody receives on the server's port" : std::strerror(errno));
  }

  Descriptor socket_;
  size_t size_, burst_;
  bool gso_;
  std::vector<char> bytes_;
  std::vector<iovec> places_;
  std::vector<mmsghdr> messages_;
  uint64_t next_ = 0;
};

}  // namespace

void run_udp(const Arguments& arguments) {
  const Target target = Target::from(arguments);
  const auto size = static_cast<size_t>(arguments.number("size", 64, sizeof(DatagramHeader), 9000));
  const auto window = static_cast<uint64_t>(arguments.number("window", 64, 0, 1 << 16));
  const auto burst = static_cast<uint64_t>(arguments.number(
      "burst", window == 0 ? 32 : std::max<int64_t>(1, static_cast<int64_t>(window) / 4), 1, 1024));
  const bool gso = arguments.number("gso", 0, 0, 1) == 1;
  Target::all_read(arguments);
  if (window != 0 && burst > window)
    fail_usage("burst %llu is more than window %llu", static_cast<unsigned long long>(burst),
               static_cast<unsigned long long>(window));
  if (gso && size * burst > kLargestDatagram)
    fail_usage("%llu datagrams of %zu B are more than the 64 KB of one send",
               static_cast<unsigned long long>(burst), size);

  Control control = Control::connect(target.control);
  std::string request = "udp-sink " + target.request() + " gro=" + (gso ? "1" : "0");
  if (window != 0)
    request += " every=" + std::to_string(burst) + " acknowledge=" + std::to_string(target.second_port);
  control.say(request);
  control.expect("ready", 2);

  Sender sender(udp_connect(target.data), size, burst, gso);
  std::atomic<bool> stop{false};
  uint64_t stalls = 0;
  std::thread sending([&] {
    if (window == 0) {
      while (!stop.load(std::memory_order_relaxed)) sender.burst();
      return;
    }
    sockaddr_in second = target.data;
    second.sin_port = htons(target.second_port);
    const Descriptor acknowledged = greet(second);
    stalls = send_windowed(sender, acknowledged, window, burst, stop);
  });
  const Arguments result = control.expect("result", target.warm + target.seconds + 10);
  stop.store(true, std::memory_order_relaxed);
  sending.join();
  sleep_until_ns(now_ns() + kDrainNs);
  control.say("total");
  const Arguments total = control.expect("total", 10);

  constexpr int64_t kMost = INT64_MAX;
  const auto ns = static_cast<double>(result.number("ns", 0, 1, kMost));
  const auto datagrams = result.number("datagrams", 0, 0, kMost);
  if (datagrams == 0) fail("nothing arrived at %s while it was measured", text_of(target.data).c_str());
  const auto sent = static_cast<int64_t>(sender.next());
  std::printf(
      "{\"rate\":%.1f,\"seconds\":%.6f,\"datagrams\":%lld,\"sent\":%lld,\"lost\":%lld,\"stalls\":%llu}\n",
      static_cast<double>(datagrams) * 1e9 / ns, ns / 1e9, static_cast<long long>(datagrams),
      static_cast<long long>(sent),
      static_cast<long long>(std::max<int64_t>(0, sent - total.number("datagrams", 0, 0, kMost))),
      static_cast<unsigned long long>(stalls));
}

}  // namespace weft::traffic
