// A bounded queue between one writing worker and the control thread. When it is full the new element is
// refused and counted: the packet path never waits for whoever reads.
//
// Ordering: push() writes the slot and then publishes `head_` with release; pop() acquires `head_` before it
// reads the slot, and publishes `tail_` with release after it, which push() acquires before it overwrites the
// slot.
#pragma once

#include <atomic>
#include <bit>
#include <cstdint>
#include <vector>

namespace weft {

template <class T>
class Ring {
 public:
  // Rounded up to a power of two.
  explicit Ring(uint32_t capacity) : slots_(std::bit_ceil(capacity == 0 ? 1u : capacity)) {}

  // Writer. False when no more than `reserve` slots are free: that many are kept for what matters more.
  bool push(const T& element, uint64_t reserve = 0) noexcept {
    const uint64_t head = head_.load(std::memory_order_relaxed);
    if (head - tail_.load(std::memory_order_acquire) + reserve >= slots_.size()) {
      lost_.store(lost_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
      return false;
    }
    slots_[head & (slots_.size() - 1)] = element;
    head_.store(head + 1, std::memory_order_release);
    return true;
  }

  // Reader. False when empty.
  bool pop(T& element) noexcept {
    const uint64_t tail = tail_.load(std::memory_order_relaxed);
    if (tail == head_.load(std::memory_order_acquire)) return false;
    element = slots_[tail & (slots_.size() - 1)];
    tail_.store(tail + 1, std::memory_order_release);
    return true;
  }

  [[nodiscard]] uint64_t capacity() const noexcept { return slots_.size(); }
  // Elements refused so far; any thread.
  [[nodiscard]] uint64_t lost() const noexcept { return lost_.load(std::memory_order_relaxed); }

 private:
  std::vector<T> slots_;
  alignas(64) std::atomic<uint64_t> head_{0};
  std::atomic<uint64_t> lost_{0};
  alignas(64) std::atomic<uint64_t> tail_{0};
};

}  // namespace weft
