#include "io/lab_prober.h"

#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/resource.h>

// After netinet/in.h, which it needs.
#include <linux/errqueue.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <map>
#include <numeric>
#include <queue>
#include <span>
#include <thread>
#include <unordered_map>

#include "io/lab_icmp_error.h"
#include "io/lab_netns.h"
#include "io/lab_sctp_socket.h"

namespace weft::lab {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr uint8_t kTcp = 6;
constexpr uint8_t kUdp = 17;
constexpr uint8_t kSctp = 132;
constexpr std::string_view kQuestion = "weft-probe\n";
constexpr uint32_t kLongestWait = 3000;     // milliseconds, whatever the slowest answer was
constexpr milliseconds kAnswerWait{1000};   // from an accepted connection to its answer, at least
constexpr uint16_t kFirstSctpPort = 32768;  // probes over raw sockets share them, told apart by source port
// UDP and SCTP ask again this many times within one wait: nobody else would repeat a lost datagram.
constexpr int kAsks = 3;

struct Try {
  size_t probe = 0;
  Descriptor fd;  // not used by SCTP
  Clock::time_point started;
  Clock::time_point deadline;
  Clock::time_point next_ask;
  bool connected = false;
  std::string text;
  uint32_t tag = 0;  // SCTP
};

constexpr uint64_t kSctpBit = uint64_t{1} << 63;  // of the ids of SCTP sockets among those of tries
constexpr int kBurst = 256;                       // arrivals of one socket before the others have their turn

class Engine {
 public:
  explicit Engine(const ProbeRun& run) : run_(run), results_(run.probes.size()) {}

  std::vector<ProbeResult> run() {
    epoll_ = Descriptor(::epoll_create1(EPOLL_CLOEXEC));
    if (!epoll_.valid()) {
      for (ProbeResult& result : results_) fail(result, "epoll_create1");
      return std::move(results_);
    }
    std::vector<size_t> order(run_.probes.size());
    std::iota(order.begin(), order.end(), size_t{0});
    // By namespace: each group of starts costs one visit.
    std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
      return std::pair(run_.probes[a].netns, a) < std::pair(run_.probes[b].netns, b);
    });
    uint32_t wait = run_.timeout_ms;
    for (uint32_t round = 0; round <= run_.retries && !order.empty(); ++round) {
      const size_t window = window_size();
      for (size_t at = 0; at < order.size(); at += window) {
        const size_t end = std::min(order.size(), at + window);
        run_batch(std::span(order).subspan(at, end - at), milliseconds(wait));
      }
      std::erase_if(order, [&](size_t i) { return results_[i].outcome != Outcome::timeout; });
      wait = std::min(kLongestWait, std::max(run_.retry_timeout_ms, slowest_ / 1000 * 8));
    }
    return std::move(results_);
  }

 private:
  // A quarter of the descriptors stays for the rest of the process.
  [[nodiscard]] size_t window_size() const {
    rlimit limit{};
    size_t most = 256;
    if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) {
      if (limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = std::min<rlim_t>(limit.rlim_max, 65536);
        ::setrlimit(RLIMIT_NOFILE, &limit);
      }
      most = static_cast<size_t>(std::min<rlim_t>(limit.rlim_cur, 65536)) / 4 * 3;
    }
    return std::clamp<size_t>(run_.window, 1, std::max<size_t>(most, 1));
  }

  static void fail(ProbeResult& result, const char* call) {
    result.outcome = Outcome::failed;
    result.message = std::string(call) + ": " + std::strerror(errno);
  }

  void run_batch(std::span<const size_t> probes, milliseconds wait) {
    size_t at = 0;
    while (at < probes.size()) {
      const uint32_t netns = run_.probes[probes[at]].netns;
      const std::string path = netns < run_.namespaces.size() ? run_.namespaces[netns] : std::string("?");
      auto visit = Visit::enter(path);
      for (; at < probes.size() && run_.probes[probes[at]].netns == netns; ++at) {
        ProbeResult& result = results_[probes[at]];
        if (!visit) {
          result.outcome = Outcome::failed;
          result.message = visit.error().message;
          continue;
        }
        start(probes[at], wait);
        // Answers are taken while the rest starts, so that the times measured are those of the network.
        if (tries_.size() % 64 == 0) poll(0);
      }
    }
    while (!tries_.empty()) {
      poll(next_timeout());
      tick();
    }
    sctp_sockets_.clear();
    sctp_ids_.clear();
  }

  void start(size_t index, milliseconds wait) {
    const Probe& probe = run_.probes[index];
    ProbeResult& result = results_[index];
    ++result.tries;
    Try attempt;
    attempt.probe = index;
    attempt.started = Clock::now();
    attempt.deadline = attempt.started + wait;
    attempt.next_ask = probe.protocol == kTcp ? attempt.deadline : attempt.started + wait / kAsks;
    const bool ok =
        probe.protocol == kSctp ? start_sctp(attempt, probe, result) : start_socket(attempt, probe, result);
    if (!ok) return;
    const uint64_t id = next_id_++;
    if (probe.protocol == kSctp) {
      sctp_ports_[sctp_key(probe.netns, result.source_port)] = id;
    } else {
      epoll_event event{.events = probe.protocol == kTcp ? uint32_t{EPOLLOUT} : uint32_t{EPOLLIN},
                        .data = {.u64 = id}};
      if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, attempt.fd.get(), &event) != 0)
        return fail(result, "epoll_ctl");
    }
    timers_.push({std::min(attempt.next_ask, attempt.deadline), id});
    tries_.emplace(id, std::move(attempt));
  }

  bool start_socket(Try& attempt, const Probe& probe, ProbeResult& result) {
    const int family = probe.family == 4 ? AF_INET : AF_INET6;
    const int type = probe.protocol == kTcp ? SOCK_STREAM : SOCK_DGRAM;
    attempt.fd = Descriptor(::socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    const int fd = attempt.fd.get();
    if (fd < 0) return fail(result, "socket"), false;
    const int on = 1;
    // Without it only errno arrives, and it does not tell one ICMP code from the other.
    if (family == AF_INET) {
      ::setsockopt(fd, IPPROTO_IP, IP_RECVERR, &on, sizeof on);
    } else {
      ::setsockopt(fd, IPPROTO_IPV6, IPV6_RECVERR, &on, sizeof on);
    }
    if (probe.source_port != 0) {
      ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
      sockaddr_storage from{};
      const socklen_t length =
          to_sockaddr(probe.family == 4 ? Address::v4(0) : Address{}, probe.family, probe.source_port, from);
      if (::bind(fd, reinterpret_cast<sockaddr*>(&from), length) != 0) return fail(result, "bind"), false;
    }
    sockaddr_storage to{};
    const socklen_t length = to_sockaddr(probe.destination, probe.family, probe.port, to);
    if (::connect(fd, reinterpret_cast<sockaddr*>(&to), length) != 0 && errno != EINPROGRESS) {
      return fail_connect(attempt, result), false;
    }
    result.source_port = local_port(fd);
    if (probe.protocol == kUdp && ::send(fd, kQuestion.data(), kQuestion.size(), MSG_NOSIGNAL) < 0) {
      return fail_connect(attempt, result), false;
    }
    return true;
  }

  // connect and send also report what the kernel knows at once: no route, or an ICMP error that came very
  // early.
  void fail_connect(Try& attempt, ProbeResult& result) {
    const int number = errno;
    if (number == ENETUNREACH || number == EHOSTUNREACH || number == EACCES || number == ECONNREFUSED) {
      settle_error(attempt, result, number);
    } else {
      errno = number;
      fail(result, "connect");
    }
  }

  static uint16_t local_port(int fd) {
    sockaddr_storage name{};
    socklen_t length = sizeof name;
    if (::getsockname(fd, reinterpret_cast<sockaddr*>(&name), &length) != 0) return 0;
    uint16_t port = 0;  // at the same offset for both families
    std::memcpy(&port, reinterpret_cast<const char*>(&name) + 2, sizeof port);
    return ntohs(port);
  }

  bool start_sctp(Try& attempt, const Probe& probe, ProbeResult& result) {
    const SctpSocket* socket = sctp_socket(probe.netns, probe.family, result);
    if (socket == nullptr) return false;
    result.source_port = probe.source_port != 0 ? probe.source_port : next_sctp_port();
    attempt.tag = 0x10000u | result.source_port;
    if (send_init(*socket, probe, result, attempt.tag)) return true;
    fail_connect(attempt, result);
    return false;
  }

  uint16_t next_sctp_port() {
    const uint16_t port = sctp_port_;
    sctp_port_ = sctp_port_ == 0xffff ? kFirstSctpPort : static_cast<uint16_t>(sctp_port_ + 1);
    return port;
  }

  const SctpSocket* sctp_socket(uint32_t netns, uint8_t family, ProbeResult& result) {
    const auto key = std::make_pair(netns, family);
    if (const auto found = sctp_ids_.find(key); found != sctp_ids_.end())
      return &sctp_sockets_.at(found->second);
    SctpSocket socket(netns, family);
    if (!socket.valid()) return fail(result, "socket(SOCK_RAW)"), nullptr;
    const uint64_t id = kSctpBit | next_id_++;
    epoll_event event{.events = EPOLLIN, .data = {.u64 = id}};
    if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, socket.fd(), &event) != 0)
      return fail(result, "epoll_ctl"), nullptr;
    sctp_ids_[key] = id;
    return &sctp_sockets_.emplace(id, std::move(socket)).first->second;
  }

  static bool send_init(const SctpSocket& socket, const Probe& probe, const ProbeResult& result,
                        uint32_t tag) {
    return socket.send(probe.destination, build_init(result.source_port, probe.port, tag));
  }

  void poll(int timeout) {
    std::array<epoll_event, 256> events;
    const int count = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), timeout);
    for (int i = 0; i < count; ++i) {
      const uint64_t id = events[static_cast<size_t>(i)].data.u64;
      if ((id & kSctpBit) != 0) {
        if (const auto socket = sctp_sockets_.find(id); socket != sctp_sockets_.end())
          on_sctp_socket(socket->second);
        continue;
      }
      const auto found = tries_.find(id);
      if (found == tries_.end()) continue;
      const bool done = run_.probes[found->second.probe].protocol == kTcp ? on_tcp(id, found->second)
                                                                          : on_udp(found->second);
      if (done) tries_.erase(found);
    }
  }

  [[nodiscard]] int next_timeout() const {
    if (timers_.empty()) return 0;
    const auto left = std::chrono::ceil<milliseconds>(timers_.top().first - Clock::now()).count();
    return left < 0 ? 0 : static_cast<int>(left);
  }

  void tick() {
    const auto now = Clock::now();
    while (!timers_.empty() && timers_.top().first <= now) {
      const uint64_t id = timers_.top().second;
      timers_.pop();
      const auto found = tries_.find(id);
      if (found == tries_.end()) continue;
      Try& attempt = found->second;
      if (now >= attempt.deadline) {
        // An accepted connection that says nothing was let through all the same; the empty name tells.
        if (attempt.connected) answered(attempt, attempt.text);
        finish(attempt);
        tries_.erase(found);
        continue;
      }
      ask_again(attempt);
      attempt.next_ask += (attempt.deadline - attempt.started) / kAsks;
      timers_.push({std::min(attempt.next_ask, attempt.deadline), id});
    }
  }

  void ask_again(const Try& attempt) {
    const Probe& probe = run_.probes[attempt.probe];
    if (probe.protocol == kUdp) {
      ::send(attempt.fd.get(), kQuestion.data(), kQuestion.size(), MSG_NOSIGNAL);
    } else if (probe.protocol == kSctp) {
      const auto id = sctp_ids_.find(std::make_pair(probe.netns, probe.family));
      if (id != sctp_ids_.end())
        send_init(sctp_sockets_.at(id->second), probe, results_[attempt.probe], attempt.tag);
    }
  }

  // Called once for a try, whatever its outcome: an SCTP source port is free again.
  void finish(const Try& attempt) {
    if (run_.probes[attempt.probe].protocol == kSctp)
      sctp_ports_.erase(sctp_key(run_.probes[attempt.probe].netns, results_[attempt.probe].source_port));
  }

  uint32_t elapsed(const Try& attempt) const {
    return static_cast<uint32_t>(
        std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - attempt.started).count());
  }

  void answered(const Try& attempt, std::string name) {
    ProbeResult& result = results_[attempt.probe];
    while (!name.empty() && (name.back() == '\n' || name.back() == '\r')) name.pop_back();
    result.outcome = Outcome::answered;
    result.name = std::move(name);
    result.microseconds = elapsed(attempt);
    if (!result.name.empty()) slowest_ = std::max(slowest_, result.microseconds);
  }

  // Decides between refused and unreachable; takes the ICMP error from the socket's error queue when there is
  // one.
  void settle_error(const Try& attempt, ProbeResult& result, int number) {
    result.microseconds = elapsed(attempt);
    IcmpError error;
    const bool icmp = attempt.fd.valid() && take_icmp_error(attempt.fd.get(), error);
    result.icmp_type = error.type;
    result.icmp_code = error.code;
    const bool refused = number == ECONNREFUSED || number == ECONNRESET;
    // A UDP port that is closed answers with ICMP port unreachable: that is a refusal by the pod itself.
    result.outcome =
        refused || (icmp && is_port_unreachable(result, attempt)) ? Outcome::refused : Outcome::unreachable;
  }

  [[nodiscard]] bool is_port_unreachable(const ProbeResult& result, const Try& attempt) const {
    return run_.probes[attempt.probe].family == 4 ? result.icmp_type == 3 && result.icmp_code == 3
                                                  : result.icmp_type == 1 && result.icmp_code == 4;
  }

  // True when the try has its outcome.
  bool on_tcp(uint64_t id, Try& attempt) {
    const int fd = attempt.fd.get();
    ProbeResult& result = results_[attempt.probe];
    if (!attempt.connected) {
      int number = 0;
      socklen_t length = sizeof number;
      ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &number, &length);
      if (number != 0) return settle_error(attempt, result, number), true;
      attempt.connected = true;
      // Let through it is; the name may take a busy server a while, and nothing is gained by not waiting for
      // it.
      attempt.deadline = std::max(attempt.deadline, Clock::now() + kAnswerWait);
      timers_.push({attempt.deadline, id});
      ::send(fd, kQuestion.data(), kQuestion.size(), MSG_NOSIGNAL);
      epoll_event event{.events = EPOLLIN, .data = {.u64 = id}};
      ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event);
      return false;
    }
    std::array<char, 512> bytes;
    const ssize_t got = ::recv(fd, bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (got < 0) {
      if (errno == EAGAIN || errno == EINTR) return false;
      return settle_error(attempt, result, errno), true;
    }
    attempt.text.append(bytes.data(), static_cast<size_t>(got));
    if (got > 0 && attempt.text.find('\n') == std::string::npos && attempt.text.size() < 4096) return false;
    return answered(attempt, attempt.text), true;
  }

  bool on_udp(Try& attempt) {
    std::array<char, 512> bytes;
    const ssize_t got = ::recv(attempt.fd.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
    ProbeResult& result = results_[attempt.probe];
    if (got < 0) {
      if (errno == EAGAIN || errno == EINTR) return false;
      return settle_error(attempt, result, errno), true;
    }
    return answered(attempt, std::string(bytes.data(), static_cast<size_t>(got))), true;
  }

  void on_sctp_socket(const SctpSocket& socket) {
    std::optional<SctpPacket> packet;
    for (int i = 0; i < kBurst && socket.receive(packet); ++i)
      if (packet) on_sctp(socket, *packet);
    IcmpError error;
    uint16_t port = 0;
    for (int i = 0; i < kBurst && socket.take_error(error, port); ++i) {
      const auto found = find_sctp(socket.netns(), port);
      if (found == tries_.end()) continue;
      ProbeResult& result = results_[found->second.probe];
      result.icmp_type = error.type;
      result.icmp_code = error.code;
      result.outcome = Outcome::unreachable;
      result.microseconds = elapsed(found->second);
      finish(found->second);
      tries_.erase(found);
    }
  }

  using Tries = std::unordered_map<uint64_t, Try>;
  static uint64_t sctp_key(uint32_t netns, uint16_t port) { return uint64_t{netns} << 16 | port; }
  Tries::iterator find_sctp(uint32_t netns, uint16_t source_port) {
    const auto id = sctp_ports_.find(sctp_key(netns, source_port));
    return id == sctp_ports_.end() ? tries_.end() : tries_.find(id->second);
  }

  void on_sctp(const SctpSocket& socket, const SctpPacket& packet) {
    const auto found = find_sctp(socket.netns(), packet.destination_port);
    if (found == tries_.end() || packet.verification_tag != found->second.tag) return;
    Try& attempt = found->second;
    const Probe& probe = run_.probes[attempt.probe];
    if (probe.family != socket.family() || packet.source_port != probe.port) return;
    ProbeResult& result = results_[attempt.probe];
    if (!packet.checksum_ok) {
      result.outcome = Outcome::failed;
      result.message = "the answer's CRC32c is wrong";
    } else if (packet.chunk == static_cast<uint8_t>(SctpChunk::init_ack)) {
      answered(attempt, packet.cookie);
      // The server keeps no state before the cookie comes back; on the way it may.
      (void)socket.send(probe.destination, build_abort(result.source_port, probe.port, packet.initiate_tag));
    } else if (packet.chunk == static_cast<uint8_t>(SctpChunk::abort)) {
      result.outcome = Outcome::refused;
      result.microseconds = elapsed(attempt);
    } else {
      return;
    }
    finish(attempt);
    tries_.erase(found);
  }

  const ProbeRun& run_;
  std::vector<ProbeResult> results_;
  Descriptor epoll_;
  Tries tries_;
  std::priority_queue<std::pair<Clock::time_point, uint64_t>,
                      std::vector<std::pair<Clock::time_point, uint64_t>>, std::greater<>>
      timers_;
  std::unordered_map<uint64_t, SctpSocket> sctp_sockets_;
  std::map<std::pair<uint32_t, uint8_t>, uint64_t> sctp_ids_;  // namespace and family → socket
  std::unordered_map<uint64_t, uint64_t> sctp_ports_;          // sctp_key → try
  uint64_t next_id_ = 1;
  uint16_t sctp_port_ = kFirstSctpPort;
  uint32_t slowest_ = 0;  // microseconds
};

}  // namespace

std::vector<ProbeResult> run_probes(const ProbeRun& run) {
  std::vector<ProbeResult> results;
  std::thread([&] { results = Engine(run).run(); }).join();
  return results;
}

}  // namespace weft::lab
