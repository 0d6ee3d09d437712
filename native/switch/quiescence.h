// When the control thread may free what workers could still be reading (quiescent-state based reclamation, as
// in userspace RCU, Desnoyers et al. 2012, section 5). All ordered atomics of the switch outside of its rings
// are in this file.
//
// There is one pointer to the current View and one epoch. A worker that is about to read the View notes the
// epoch in its own slot and then loads the pointer; when it is done with everything it took from that View it
// writes 0 (quiescent). The control thread stores the new pointer, advances the epoch, and waits until every
// slot is 0 or holds at least the new epoch.
//
// Why that is enough. All five operations are sequentially consistent, so they have one order S. Say a worker
// loads the old pointer: its load precedes the control thread's store in S. Its slot was written before that
// load and with an epoch that it had read still earlier, so a smaller one than the control thread's new
// epoch; and the control thread reads the slot after its store. So it sees that smaller epoch (and waits), or
// what the worker wrote later: 0, after its last use of the old View. The wait's read of that 0 or later
// epoch synchronises with the worker's write: the free happens after the last use.
//
// A worker pays two sequentially consistent stores for each port's turn (up to 64 frames), nothing a packet.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>

#include "switch/settings.h"

namespace weft {

template <class T>
class Guarded {
 public:
  // Worker `worker`: the current value, valid until leave(). Never null once the first replace() has
  // returned.
  T* enter(uint32_t worker) noexcept {
    slots_[worker].epoch.store(epoch_.load());
    return current_.load();
  }
  void leave(uint32_t worker) noexcept { slots_[worker].epoch.store(0); }

  // Control thread: makes `next` current and returns the value before it, which no worker can hold any more.
  // Waits at most for one port's turn of each worker.
  T* replace(T* next) noexcept {
    T* before = current_.load();
    current_.store(next);
    wait();
    return before;
  }

  // Control thread: returns when every worker has passed a quiescent point since the call.
  void wait() noexcept {
    const uint64_t target = epoch_.fetch_add(1) + 1;
    for (Slot& slot : slots_) {
      for (int spins = 0;; ++spins) {
        const uint64_t epoch = slot.epoch.load();
        if (epoch == 0 || epoch >= target) break;
        if (spins < 64)
          std::this_thread::yield();
        else
          std::this_thread::sleep_for(std::chrono::microseconds(50));
      }
    }
  }

  // Control thread.
  [[nodiscard]] T* current() const noexcept { return current_.load(); }

 private:
  struct alignas(64) Slot {
    std::atomic<uint64_t> epoch{0};
  };
  std::array<Slot, kMaxWorkers> slots_;
  std::atomic<uint64_t> epoch_{1};
  std::atomic<T*> current_{nullptr};
};

}  // namespace weft
