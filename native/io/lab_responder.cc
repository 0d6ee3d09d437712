#include "io/lab_responder.h"

#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <future>
#include <span>
#include <string_view>

#include "io/lab_datagram.h"
#include "io/lab_sctp.h"

namespace weft::lab {
namespace {

using namespace std::chrono_literals;

// A client that says nothing (nc, a probe of another tool) still gets its answer after this long.
constexpr auto kSilence = 50ms;
// A client that does not close after our answer is closed then.
constexpr auto kLinger = 2s;
// One pod's flood must not keep the thread from the others.
constexpr int kBurst = 64;

constexpr uint32_t key_of(Transport transport, uint16_t port) {
  return static_cast<uint32_t>(transport) << 16 | port;
}

uint32_t random_tag() {
  uint32_t tag = 0;
  while (tag == 0) {
    if (::getrandom(&tag, sizeof tag, 0) != sizeof tag) tag = 0x77656674;  // any non-zero value serves
  }
  return tag;
}

}  // namespace

Result<std::unique_ptr<Responder>> Responder::start() {
  std::unique_ptr<Responder> responder(new Responder());
  responder->epoll_ = Descriptor(::epoll_create1(EPOLL_CLOEXEC));
  if (!responder->epoll_.valid()) return io::call_failed("lab-responder", "epoll_create1", "responder");
  responder->wake_ = Descriptor(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!responder->wake_.valid()) return io::call_failed("lab-responder", "eventfd", "responder");
  epoll_event event{.events = EPOLLIN, .data = {.u64 = 0}};
  if (::epoll_ctl(responder->epoll_.get(), EPOLL_CTL_ADD, responder->wake_.get(), &event) != 0) {
    return io::call_failed("lab-responder", "epoll_ctl", "eventfd");
  }
  responder->thread_ = std::thread([raw = responder.get()] { raw->run(); });
  return responder;
}

Responder::~Responder() {
  if (!thread_.joinable()) return;
  call([this] { stopping_ = true; });
  thread_.join();
}

void Responder::call(std::function<void()> work) {
  std::promise<void> done;
  {
    const std::lock_guard lock(mutex_);
    work_.push([&] {
      work();
      done.set_value();
    });
  }
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(wake_.get(), &one, sizeof one);
  done.get_future().wait();
}

Result<std::vector<PortFailure>> Responder::serve(const ServedPod& pod) {
  std::vector<PortFailure> failures;
  Status status = Ok{};
  call([&] {
    auto visit = Visit::enter(pod.netns);
    if (visit) {
      failures = serve_here(pod);
    } else {
      status = visit.error();
    }
  });
  if (!status) return status.error();
  return failures;
}

void Responder::remove(const std::string& key) {
  call([&] { remove_here(key); });
}

void Responder::run() {
  std::array<epoll_event, 128> events;
  while (!stopping_) {
    const int count =
        ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), next_timeout());
    for (int i = 0; i < count; ++i) {
      on_event(events[static_cast<size_t>(i)].data.u64, events[static_cast<size_t>(i)].events);
    }
    expire();
  }
}

int Responder::next_timeout() const {
  if (timers_.empty()) return -1;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(timers_.top().at - Clock::now()).count();
  return left < 0 ? 0 : static_cast<int>(left);
}

void Responder::on_event(uint64_t id, uint32_t /*events*/) {
  if (id == 0) {
    uint64_t count = 0;
    [[maybe_unused]] const ssize_t got = ::read(wake_.get(), &count, sizeof count);
    for (;;) {
      std::function<void()> work;
      {
        const std::lock_guard lock(mutex_);
        if (work_.empty()) return;
        work = std::move(work_.front());
        work_.pop();
      }
      work();
    }
  }
  const auto found = sockets_.find(id);
  if (found == sockets_.end()) return;  // closed by an earlier event of this batch
  Socket& socket = found->second;
  switch (socket.kind) {
    case Kind::wake:
      break;
    case Kind::tcp_listener:
      accept_all(*socket.pod, socket.fd.get());
      break;
    case Kind::tcp_connection:
      on_connection(id, socket);
      break;
    case Kind::udp:
      answer_udp(socket);
      break;
    case Kind::sctp4:
    case Kind::sctp6:
      answer_sctp(socket);
      break;
  }
}

uint64_t Responder::add(Kind kind, Descriptor fd, Pod* pod) {
  const uint64_t id = next_id_++;
  epoll_event event{.events = EPOLLIN, .data = {.u64 = id}};
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd.get(), &event) != 0) return 0;
  sockets_.emplace(id, Socket{.kind = kind, .fd = std::move(fd), .pod = pod});
  return id;
}

void Responder::drop(uint64_t id) {
  sockets_.erase(id);
}  // closing a descriptor takes it out of the epoll set

std::vector<PortFailure> Responder::serve_here(const ServedPod& spec) {
  std::vector<PortFailure> failures;
  auto& slot = pods_[spec.key];
  if (!slot) slot = std::make_unique<Pod>();
  Pod& pod = *slot;
  pod.spec = spec;

  std::unordered_set<uint32_t> wanted;
  pod.sctp_ports.clear();
  for (const ServedPort& port : spec.ports) {
    if (port.transport == Transport::sctp) {
      pod.sctp_ports.insert(port.port);
    } else {
      wanted.insert(key_of(port.transport, port.port));
    }
  }
  for (auto it = pod.sockets.begin(); it != pod.sockets.end();) {
    const bool is_sctp = it->first >> 16 == static_cast<uint32_t>(Transport::sctp);
    const bool keep = is_sctp ? !pod.sctp_ports.empty() : wanted.contains(it->first);
    if (!keep) drop(it->second);
    it = keep ? std::next(it) : pod.sockets.erase(it);
  }
  open_ports(pod, failures);
  return failures;
}

void Responder::open_ports(Pod& pod, std::vector<PortFailure>& failures) {
  for (const ServedPort& port : pod.spec.ports) {
    if (port.transport == Transport::sctp) continue;
    const uint32_t key = key_of(port.transport, port.port);
    if (pod.sockets.contains(key)) continue;
    const bool tcp = port.transport == Transport::tcp;
    auto fd = bind_wildcard(tcp ? SOCK_STREAM : SOCK_DGRAM, port.port);
    if (!fd) {
      failures.push_back({port, fd.error().message});
      continue;
    }
    if (!tcp) want_packet_info(fd.value().get());
    pod.sockets[key] = add(tcp ? Kind::tcp_listener : Kind::udp, std::move(fd).value(), &pod);
  }
  if (pod.sctp_ports.empty() || pod.sockets.contains(key_of(Transport::sctp, 0))) return;
  if (const Status status = open_sctp(pod); !status) {
    for (const uint16_t port : pod.sctp_ports) {
      failures.push_back({{Transport::sctp, port}, status.error().message});
    }
  }
}

Status Responder::open_sctp(Pod& pod) {
  for (const int family : {AF_INET, AF_INET6}) {
    Descriptor fd(::socket(family, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_SCTP));
    if (!fd.valid()) {
      if (family == AF_INET6 && errno == EAFNOSUPPORT) continue;
      return io::call_failed("lab-responder", "socket(SOCK_RAW)", "SCTP");
    }
    want_packet_info(fd.get());
    const bool four = family == AF_INET;
    pod.sockets[key_of(Transport::sctp, four ? 0 : 1)] =
        add(four ? Kind::sctp4 : Kind::sctp6, std::move(fd), &pod);
  }
  return Ok{};
}

void Responder::remove_here(const std::string& key) {
  const auto found = pods_.find(key);
  if (found == pods_.end()) return;
  Pod* pod = found->second.get();
  std::erase_if(sockets_, [&](const auto& entry) { return entry.second.pod == pod; });
  pods_.erase(found);
}

void Responder::accept_all(Pod& pod, int listener) {
  for (int i = 0; i < kBurst; ++i) {
    Descriptor fd(::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!fd.valid()) return;
    const uint64_t id = add(Kind::tcp_connection, std::move(fd), &pod);
    if (id == 0) continue;
    Socket& socket = sockets_.at(id);
    socket.deadline = Clock::now() + kSilence;
    timers_.push({socket.deadline, id});
    on_connection(id, socket);  // the request may be here already
  }
}

void Responder::on_connection(uint64_t id, Socket& socket) {
  std::array<char, 4096> bytes;
  for (int i = 0; i < kBurst; ++i) {
    const ssize_t got = ::recv(socket.fd.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (got < 0) {
      if (errno == EAGAIN || errno == EINTR) return;
      return drop(id);
    }
    if (got == 0) {
      if (!socket.answered) answer(id, socket, false);
      return drop(id);
    }
    if (socket.answered) continue;
    const std::string_view text(bytes.data(), static_cast<size_t>(got));
    answer(id, socket, text.starts_with("GET ") || text.starts_with("HEAD ") || text.starts_with("POST "));
  }
}

// Writes the name and closes our half. The other half stays open until the client closes: closing with unread
// bytes would reset the connection and could take the answer away from the client.
void Responder::answer(uint64_t id, Socket& socket, bool http) {
  const std::string body = socket.pod->spec.name + "\n";
  const std::string text =
      http ? "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nContent-Length: " + std::to_string(body.size()) +
                 "\r\n\r\n" + body
           : body;
  ::send(socket.fd.get(), text.data(), text.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  ::shutdown(socket.fd.get(), SHUT_WR);
  socket.answered = true;
  socket.deadline = Clock::now() + kLinger;
  timers_.push({socket.deadline, id});
}

void Responder::answer_udp(const Socket& socket) {
  const std::string& name = socket.pod->spec.name;
  const std::span<const uint8_t> bytes(reinterpret_cast<const uint8_t*>(name.data()), name.size());
  Datagram datagram;
  for (int i = 0; i < kBurst && receive(socket.fd.get(), datagram); ++i) {
    if (datagram.peer_length > 0) reply(socket.fd.get(), datagram, bytes);
    datagram.peer_length = 0;
  }
}

void Responder::answer_sctp(const Socket& socket) {
  const Pod& pod = *socket.pod;
  Datagram datagram;
  for (int i = 0; i < kBurst && receive(socket.fd.get(), datagram); ++i) {
    std::span<const uint8_t> bytes(datagram.bytes.data(), datagram.length);
    datagram.length = 0;
    if (socket.kind == Kind::sctp4) {  // an IPv4 raw socket delivers the IP header too
      const size_t header = bytes.empty() ? 0 : static_cast<size_t>(bytes[0] & 0x0f) * 4;
      if (header < 20 || header > bytes.size()) continue;
      bytes = bytes.subspan(header);
    }
    const auto packet = parse_sctp(bytes);
    if (!packet || !packet->checksum_ok || packet->chunk != static_cast<uint8_t>(SctpChunk::init)) continue;
    if (pod.sctp_ports.contains(packet->destination_port)) {
      reply(socket.fd.get(), datagram, build_init_ack(*packet, random_tag(), pod.spec.name));
    } else if (!pod.spec.shares_namespace) {
      reply(socket.fd.get(), datagram,
            build_abort(packet->destination_port, packet->source_port, packet->initiate_tag));
    }
  }
}

void Responder::expire() {
  const auto now = Clock::now();
  while (!timers_.empty() && timers_.top().at <= now) {
    const uint64_t id = timers_.top().socket;
    timers_.pop();
    const auto found = sockets_.find(id);
    if (found == sockets_.end() || found->second.deadline > now)
      continue;  // gone, or a later timer has its deadline
    if (found->second.answered) {
      drop(id);
    } else {
      answer(id, found->second, false);
    }
  }
}

}  // namespace weft::lab
