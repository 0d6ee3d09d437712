// A worker: one thread that drains the ports given to it. It sleeps in its poller while nothing is to be
// read. One that polls reads the few ports that spoke last by itself: of a round trip over an idle machine
// what a poller has to say about each frame is a fifth.
//
// A port's turn is bounded in frames and in time, and ports that have frames left wait for the next round, so
// a flooding pod costs the others at most its turn. Between turns the worker is quiescent (see quiescence.h).
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <thread>
#include <vector>

#include "switch/forwarder.h"
#include "switch/poller.h"
#include "switch/quiescence.h"
#include "switch/thread_begin.h"
#include "switch/worker_clock.h"

namespace weft {

class Worker {
 public:
  Worker(const Settings& settings, ConnectionTable& table, Balancer& balancer, Guarded<const View>& view,
         Clock& clock, std::unique_ptr<Poller> poller, uint32_t index);
  ~Worker();

  // Control thread. `begin` is the first thing that the thread does.
  void start(ThreadBegin begin = {});
  void stop();
  [[nodiscard]] Poller& poller() noexcept { return *poller_; }
  [[nodiscard]] Forwarder& forwarder() noexcept { return forwarder_; }

  // One round: waits up to timeout_ns, gives each readable port one turn, keeps house. The thread's loop
  // body; a test calls it instead of start(). Returns the number of frames.
  uint32_t round(int64_t timeout_ns) noexcept;
  // Between rounds of a worker that polls: reads the ports that had frames in the rounds before, without
  // asking the poller. Ports with a bandwidth are left to the rounds. Returns the number of frames.
  uint32_t look() noexcept;

  [[nodiscard]] uint64_t wakeups() const noexcept { return wakeups_.value(); }
  [[nodiscard]] uint64_t turns() const noexcept { return turns_.value(); }

  // A port's token in the poller.
  static uint64_t token(const Port& port) noexcept { return uint64_t{port.instance} << 16 | port.index; }

 private:
  void run() noexcept;
  enum class Told : uint8_t { no, yes };  // by the poller, that there is something to read
  uint32_t drain(const Ready& ready, Told told) noexcept;
  void remember(uint64_t token) noexcept;
  ReceiveStatus receive(Port& port, uint32_t limit) noexcept;
  // pause.cc
  bool keep_to_bandwidth(Port& port, uint64_t now_ns) noexcept;
  void resume(uint64_t now_ns) noexcept;
  [[nodiscard]] int64_t until_resume(int64_t timeout_ns) noexcept;
  void keep_house(uint64_t now_ns) noexcept;

  const Settings& settings_;
  ConnectionTable& table_;
  Guarded<const View>& view_;
  Clock& clock_;
  const std::unique_ptr<Poller> poller_;
  const uint32_t index_;
  Forwarder forwarder_;
  std::vector<uint8_t> buffer_;   // frames of one batch, one behind the other
  std::vector<Arrived> arrived_;  // what lies there
  std::vector<Ready> ready_;
  // Ports that are left unread for their bandwidth; one entry for a port index, room for all.
  struct Paused {
    PortIndex index = kNoPort;
    PortInstance instance = 0;
    uint64_t since_ns = 0;
    uint64_t until_ns = 0;
  };
  std::vector<Paused> paused_;
  // Tokens of the ports that had frames last, where the worker polls.
  std::array<uint64_t, 4> recent_{};
  uint32_t recent_count_ = 0;
  uint32_t oldest_recent_ = 0;
  uint64_t last_frame_ns_ = 0;
  uint64_t last_sweep_ns_ = 0;
  Counter wakeups_, turns_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace weft
