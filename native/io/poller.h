// The switch's Poller by epoll, with an eventfd by which other threads wake it. Level-triggered on purpose: a
// worker that leaves frames in a TAP because its turn was over is told again, and no frame can be forgotten.
#pragma once

#include <memory>

#include "io/descriptor.h"
#include "switch/poller.h"

namespace weft::io {

class EpollPoller final : public Poller {
 public:
  // Error: poller-open.
  static Result<std::unique_ptr<Poller>> open();

  // Any token but ~0, which is the eventfd's.
  Status add(Device& device, uint64_t token) override;
  void remove(Device& device) noexcept override;
  uint32_t wait(std::span<Ready> ready, int64_t timeout_ns) noexcept override;
  void wake() noexcept override;

 private:
  EpollPoller(Descriptor epoll, Descriptor event) : epoll_(std::move(epoll)), event_(std::move(event)) {}
  Descriptor epoll_;
  Descriptor event_;
};

}  // namespace weft::io
