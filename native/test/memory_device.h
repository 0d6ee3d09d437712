// A device, a poller and a clock without a kernel: what tests plug into a switch. Safe to use from several
// threads.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "switch/device.h"
#include "switch/poller.h"
#include "switch/worker_clock.h"

namespace weft::test {

using Bytes = std::vector<uint8_t>;

class ManualClock final : public Clock {
 public:
  [[nodiscard]] uint64_t now_ns() noexcept override { return now.fetch_add(step) + step; }
  std::atomic<uint64_t> now{1'000'000'000'000};
  std::atomic<uint64_t> step{0};  // time that passes with each look at the clock
};

// One condition variable for all memory pollers: simple, and no lost wake-up between device and poller.
struct MemoryBell {
  std::mutex mutex;
  std::condition_variable changed;
  void ring() {
    {
      const std::lock_guard hold(mutex);
    }
    changed.notify_all();
  }
};

class MemoryDevice final : public Device {
 public:
  explicit MemoryDevice(MemoryBell& bell, DeviceOffloads offloads = {true, true, true, true})
      : bell_(bell), offloads_(offloads) {}

  Received receive(std::span<uint8_t> buffer) noexcept override {
    const std::lock_guard hold(mutex_);
    if (gone_) return {ReceiveStatus::gone, 0};
    if (in_.empty()) return {ReceiveStatus::empty, 0};
    const Bytes frame = std::move(in_.front());
    in_.pop_front();
    std::memcpy(buffer.data(), frame.data(), frame.size());
    return {ReceiveStatus::frame, static_cast<uint32_t>(frame.size())};
  }
  SendStatus send(std::span<const uint8_t> frame) noexcept override {
    const std::lock_guard hold(mutex_);
    if (gone_) return SendStatus::gone;
    if (send_status != SendStatus::sent) return send_status;
    sent_count.fetch_add(1, std::memory_order_relaxed);
    if (keep) out_.emplace_back(frame.begin(), frame.end());
    return SendStatus::sent;
  }
  [[nodiscard]] DeviceOffloads offloads() const noexcept override { return offloads_; }
  [[nodiscard]] int descriptor() const noexcept override { return -1; }

  // The pod's side.
  void push(Bytes frame) {
    {
      const std::lock_guard hold(mutex_);
      in_.push_back(std::move(frame));
    }
    bell_.ring();
  }
  std::vector<Bytes> take() {
    const std::lock_guard hold(mutex_);
    return std::exchange(out_, {});
  }
  void vanish() {
    {
      const std::lock_guard hold(mutex_);
      gone_ = true;
    }
    bell_.ring();
  }
  [[nodiscard]] size_t waiting() {
    const std::lock_guard hold(mutex_);
    return in_.size();
  }
  [[nodiscard]] bool readable() {
    const std::lock_guard hold(mutex_);
    return gone_ || !in_.empty();
  }

  std::atomic<SendStatus> send_status{SendStatus::sent};
  std::atomic<uint64_t> sent_count{0};
  std::atomic<bool> keep{true};  // false: count what is sent and forget it

 private:
  MemoryBell& bell_;
  const DeviceOffloads offloads_;
  std::mutex mutex_;
  std::deque<Bytes> in_;
  std::vector<Bytes> out_;
  bool gone_ = false;
};

class MemoryPoller final : public Poller {
 public:
  explicit MemoryPoller(MemoryBell& bell) : bell_(bell) {}

  Status add(Device& device, uint64_t token) override {
    const std::lock_guard hold(bell_.mutex);
    devices_[&static_cast<MemoryDevice&>(device)] = token;
    return Ok{};
  }
  void remove(Device& device) noexcept override {
    const std::lock_guard hold(bell_.mutex);
    devices_.erase(&static_cast<MemoryDevice&>(device));
  }
  uint32_t wait(std::span<Ready> ready, int64_t timeout_ns) noexcept override {
    std::unique_lock hold(bell_.mutex);
    uint32_t count = 0;
    const auto look = [&] {
      for (auto& [device, token] : devices_)
        if (count < ready.size() && device->readable()) ready[count++] = {token, false};
      return count > 0 || woken_;
    };
    if (timeout_ns < 0)
      bell_.changed.wait(hold, look);
    else if (timeout_ns > 0)
      bell_.changed.wait_for(hold, std::chrono::nanoseconds(timeout_ns), look);
    else
      look();
    woken_ = false;
    return count;
  }
  void wake() noexcept override {
    {
      const std::lock_guard hold(bell_.mutex);
      woken_ = true;
    }
    bell_.changed.notify_all();
  }

 private:
  MemoryBell& bell_;
  std::map<MemoryDevice*, uint64_t> devices_;
  bool woken_ = false;
};

}  // namespace weft::test
