#include "traffic/flows.h"

#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <numeric>
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

constexpr size_t kGroup = 16;  // client's ports whose flows are opened together
constexpr int64_t kAgainNs = 50'000'000;
constexpr int kTries = 20;
constexpr int64_t kOpenNs = 60'000'000'000;  // all of them: a rule list of 10,000 is walked 100,000 times

void raise_descriptor_limit(size_t wanted) {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  if (limit.rlim_cur >= wanted) return;
  limit.rlim_cur = wanted;
  limit.rlim_max = std::max<rlim_t>(limit.rlim_max, wanted);
  if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
    fail("%zu sockets need as many descriptors; setrlimit: %s", wanted, std::strerror(errno));
}

// All flows of the client. One thread at a time.
class Flows {
 public:
  Flows(const sockaddr_in& to, size_t ports, size_t client_ports, uint16_t first_port, size_t burst,
        size_t size)
      : missing_(client_ports, (uint32_t{1} << ports) - 1),
        bytes_(ports * burst * size),
        places_(ports * burst),
        messages_(ports * burst) {
    for (size_t port = 0; port < ports; ++port) {
      servers_.push_back(to);
      servers_.back().sin_port = htons(static_cast<uint16_t>(ntohs(to.sin_port) + kFirstFlowPort + port));
    }
    for (size_t port = 0; port < client_ports; ++port)
      sockets_.push_back(udp_bind(static_cast<uint16_t>(first_port + port)));
    for (size_t index = 0; index < messages_.size(); ++index) {
      places_[index] = {bytes_.data() + index * size, size};
      msghdr& header = messages_[index].msg_hdr;
      header.msg_iov = &places_[index];
      header.msg_iovlen = 1;
      header.msg_name = &servers_[index / burst];
      header.msg_namelen = sizeof servers_[0];
    }
    // Coprime to the number of ports and far from it: the order is a permutation without runs.
    while (std::gcd(stride_, client_ports) != 1) ++stride_;
  }

  void open_all() {
    const int64_t deadline = now_ns() + kOpenNs;
    for (size_t first = 0; first < sockets_.size(); first += kGroup)
      open(first, std::min(first + kGroup, sockets_.size()), deadline);
  }

  [[nodiscard]] uint64_t next() const { return next_; }

  // A burst to every flow of the next client's port.
  void burst() {
    at_ = (at_ + stride_) % sockets_.size();
    const Descriptor& socket = sockets_[at_];
    for (size_t index = 0; index < messages_.size(); ++index) {
      const DatagramHeader header{kMagic, static_cast<uint32_t>(at_), next_ + index};
      std::memcpy(places_[index].iov_base, &header, sizeof header);
    }
    for (size_t sent = 0; sent < messages_.size();) {
      const int more =
          sendmmsg(socket.get(), messages_.data() + sent, static_cast<unsigned>(messages_.size() - sent), 0);
      if (more > 0)
        sent += static_cast<size_t>(more);
      else if (errno != EINTR && errno != EAGAIN && errno != ENOBUFS)
        fail("sendmmsg: %s", std::strerror(errno));
    }
    next_ += messages_.size();
  }

 private:
  void open(size_t first, size_t last, int64_t deadline) {
    for (int tries = 0; tries < kTries && now_ns() < deadline; ++tries) {
      for (size_t port = first; port < last; ++port) send_openings(port);
      const int64_t again = now_ns() + kAgainNs;
      for (size_t port = first; port < last; ++port) take_answers(port, again);
      if (std::all_of(missing_.begin() + static_cast<std::ptrdiff_t>(first),
                      missing_.begin() + static_cast<std::ptrdiff_t>(last),
                      [](uint32_t left) { return left == 0; }))
        return;
    }
    for (size_t port = first; port < last; ++port) {
      if (missing_[port] == 0) continue;
      const auto server = static_cast<size_t>(std::countr_zero(missing_[port]));
      fail("no answer from %s (UDP, flow %zu of %zu) within %d tries", text_of(servers_[server]).c_str(),
           port * servers_.size() + server, sockets_.size() * servers_.size(), kTries);
    }
  }

  void send_openings(size_t port) {
    for (size_t server = 0; server < servers_.size(); ++server) {
      if ((missing_[port] >> server & 1) == 0) continue;
      const DatagramHeader header{kMagic, static_cast<uint32_t>(server), kOpening};
      // One that is refused (a full queue) is sent again with those that were lost.
      (void)sendto(sockets_[port].get(), &header, sizeof header, 0,
                   reinterpret_cast<const sockaddr*>(&servers_[server]), sizeof servers_[server]);
    }
  }

  // Until this port misses none any more or it is time to send again.
  void take_answers(size_t port, int64_t again) {
    while (missing_[port] != 0) {
      DatagramHeader header{};
      const ssize_t got = recv(sockets_[port].get(), &header, sizeof header, MSG_DONTWAIT);
      if (got == sizeof header) {
        if (header.magic == kMagic && header.flow < servers_.size())
          missing_[port] &= ~(uint32_t{1} << header.flow);
        continue;
      }
      const int64_t left = again - now_ns();
      if (left <= 0) return;
      pollfd readable{sockets_[port].get(), POLLIN, 0};
      (void)poll(&readable, 1, static_cast<int>(left / 1'000'000) + 1);
    }
  }

  std::vector<sockaddr_in> servers_;
  std::vector<Descriptor> sockets_;  // one for each of the client's ports
  std::vector<uint32_t> missing_;    // for each of them, the server's ports that have not answered
  std::vector<char> bytes_;
  std::vector<iovec> places_;
  std::vector<mmsghdr> messages_;
  size_t stride_ = 3847, at_ = 0;
  uint64_t next_ = 0;
};

}  // namespace

void run_flows(const Arguments& arguments) {
  const Target target = Target::from(arguments);
  const auto flows = static_cast<size_t>(arguments.number("flows", 100'000, 1, 400'000));
  const auto ports = static_cast<size_t>(arguments.number("ports", 10, 1, 16));
  const auto first_port = static_cast<uint16_t>(arguments.number("first-port", 10'000, 1024, 65'535));
  const auto burst = static_cast<size_t>(arguments.number("burst", 4, 1, 64));
  const auto size = static_cast<size_t>(arguments.number("size", 64, sizeof(DatagramHeader), 1400));
  Target::all_read(arguments);
  const size_t client_ports = (flows + ports - 1) / ports;
  if (first_port + client_ports > 65'536)
    fail_usage(
        "%zu flows over %zu ports of the server need %zu ports of the client; there are not so many from %u "
        "on",
        flows, ports, client_ports, unsigned{first_port});
  raise_descriptor_limit(client_ports + 64);
  const uint64_t at_once = ports * burst, window = 4 * at_once;

  Control control = Control::connect(target.control);
  control.say("udp-flows " + target.request() + " ports=" + std::to_string(ports) +
              " every=" + std::to_string(at_once) + " acknowledge=" + std::to_string(target.second_port));
  control.expect("ready", 2);
  sockaddr_in second = target.data;
  second.sin_port = htons(target.second_port);
  const Descriptor acknowledged = greet(second);
  Flows all(target.data, ports, client_ports, first_port, burst, size);
  const int64_t from = now_ns();
  all.open_all();
  const double opening = static_cast<double>(now_ns() - from) / 1e9;
  std::atomic<bool> stop{false};
  uint64_t stalls = 0;
  std::thread sending([&] { stalls = send_windowed(all, acknowledged, window, at_once, stop); });
  const Arguments result = control.expect("result", target.warm + target.seconds + 10);
  stop.store(true, std::memory_order_relaxed);
  sending.join();
  sleep_until_ns(now_ns() + kDrainNs);
  control.say("total");
  const Arguments total = control.expect("total", 10);
  const auto ns = static_cast<double>(result.number("ns", 0, 1, INT64_MAX));
  const auto datagrams = result.number("datagrams", 0, 0, INT64_MAX);
  if (datagrams == 0) fail("nothing arrived at %s while it was measured", text_of(target.data).c_str());
  const auto sent = static_cast<int64_t>(all.next());
  std::printf(
      "{\"rate\":%.1f,\"flows\":%zu,\"opening\":%.6f,\"seconds\":%.6f,\"sent\":%lld,\"lost\":%lld,\"stalls\":"
      "%llu}\n",
      static_cast<double>(datagrams) * 1e9 / ns, client_ports * ports, opening, ns / 1e9,
      static_cast<long long>(sent),
      static_cast<long long>(std::max<int64_t>(0, sent - total.number("datagrams", 0, 0, INT64_MAX))),
      static_cast<unsigned long long>(stalls));
}

}  // namespace weft::traffic
