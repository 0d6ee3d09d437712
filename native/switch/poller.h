// How a worker sleeps until one of its devices can be read. `io` implements it with epoll, tests in memory.
// Level-triggered: a device with frames left is reported again by the next wait().
//
// Threads: wait() by the one worker that owns the poller; everything else by any thread at any time.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "base/result.h"
#include "switch/device.h"

namespace weft {

struct Ready {
  uint64_t token = 0;
  bool broken = false;  // POLLERR or POLLHUP: reading will tell whether the device is gone
};

class Poller {
 public:
  virtual ~Poller() = default;

  // From now on wait() reports `token` while `device` can be read. The device outlives its registration.
  virtual Status add(Device& device, uint64_t token) = 0;
  // Unknown devices are ignored. A wait() that has already returned may still hold the token.
  virtual void remove(Device& device) noexcept = 0;

  // Fills `ready` and returns how many. timeout_ns: 0 does not sleep, negative sleeps until something
  // happens. Returns 0 on timeout and after wake().
  virtual uint32_t wait(std::span<Ready> ready, int64_t timeout_ns) noexcept = 0;

  // Makes the current wait(), or the next, return.
  virtual void wake() noexcept = 0;
};

using PollerFactory = std::function<Result<std::unique_ptr<Poller>>()>;

}  // namespace weft
