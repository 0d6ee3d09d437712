// The pods' applications, all in one thread: for each pod its served ports are sockets opened inside the
// pod's network namespace, and each answers with the pod's name. TCP: accept, wait for the first bytes (an
// HTTP request is answered as HTTP) or a moment of silence, write the name and a newline, close. UDP: the
// name for each datagram, from the address it was sent to. SCTP: INIT ACK with the name as cookie for INIT,
// ABORT for a port that is not served, over a raw socket.
//
// One thread with one epoll set serves hundreds of pods: a process for each would cost 200 × 40 MB. Sockets
// stay usable from outside of the namespace that they were opened in; only opening them takes a visit
// (lab_netns.h), and the thread makes it.
//
// Ownership: the object owns thread and sockets. serve, remove: any thread but the own one; they wait for the
// own one.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <queue>
#include <string>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/result.h"
#include "io/lab_netns.h"

namespace weft::lab {

enum class Transport : uint8_t { tcp = 6, udp = 17, sctp = 132 };

struct ServedPort {
  Transport transport = Transport::tcp;
  uint16_t port = 0;
};

struct ServedPod {
  std::string key;    // names the pod in remove()
  std::string name;   // the answer
  std::string netns;  // path; empty: the namespace of the process (hostNetwork)
  std::vector<ServedPort> ports;
  bool shares_namespace = false;  // others answer in this namespace too: SCTP ABORT is not ours to send
};

struct PortFailure {
  ServedPort port;
  std::string message;
};

class Responder {
 public:
  static Result<std::unique_ptr<Responder>> start();
  ~Responder();
  Responder(const Responder&) = delete;
  Responder& operator=(const Responder&) = delete;

  // Opens what is new, closes what is no longer served; ports that could not be opened come back. A pod whose
  // namespace changed must be removed first.
  Result<std::vector<PortFailure>> serve(const ServedPod& pod);
  // Closes the pod's sockets; an unknown key is fine.
  void remove(const std::string& key);

 private:
  using Clock = std::chrono::steady_clock;
  enum class Kind : uint8_t { wake, tcp_listener, tcp_connection, udp, sctp4, sctp6 };
  struct Pod;
  struct Socket {
    Kind kind = Kind::wake;
    Descriptor fd;
    Pod* pod = nullptr;            // null for wake
    bool answered = false;         // tcp_connection: the name was written
    Clock::time_point deadline{};  // tcp_connection: answer without being asked, then: close
  };
  struct Pod {
    ServedPod spec;
    std::unordered_map<uint32_t, uint64_t>
        sockets;  // transport << 16 | port → socket id; SCTP's raw sockets have port 0 and 1
    std::unordered_set<uint16_t> sctp_ports;
  };
  struct Timer {
    Clock::time_point at;
    uint64_t socket;
    bool operator>(const Timer& other) const { return at > other.at; }
  };

  Responder() = default;
  void run();
  void call(std::function<void()> work);
  std::vector<PortFailure> serve_here(const ServedPod& spec);
  void open_ports(Pod& pod, std::vector<PortFailure>& failures);
  Status open_sctp(Pod& pod);
  uint64_t add(Kind kind, Descriptor fd, Pod* pod);
  void drop(uint64_t id);
  void remove_here(const std::string& key);
  void on_event(uint64_t id, uint32_t events);
  void accept_all(Pod& pod, int listener);
  void on_connection(uint64_t id, Socket& socket);
  void answer(uint64_t id, Socket& socket, bool http);
  static void answer_udp(const Socket& socket);
  static void answer_sctp(const Socket& socket);
  void expire();
  [[nodiscard]] int next_timeout() const;

  Descriptor epoll_;
  Descriptor wake_;
  std::thread thread_;
  std::mutex mutex_;  // guards work_
  std::queue<std::function<void()>> work_;

  // The thread's own from here on.
  bool stopping_ = false;
  std::unordered_map<uint64_t, Socket> sockets_;
  std::unordered_map<std::string, std::unique_ptr<Pod>> pods_;
  std::priority_queue<Timer, std::vector<Timer>, std::greater<>> timers_;
  uint64_t next_id_ = 1;  // 0 is the wake descriptor
};

}  // namespace weft::lab
