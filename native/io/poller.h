// Level-triggered epoll for one worker, with an eventfd by which other threads wake it. wait() is the
// worker's; add, remove and wake may be called by any thread (the kernel serialises epoll_ctl).
//
// Level-triggered on purpose: a worker that leaves frames in a TAP because its drain budget is used up is
// told again, and no frame can be forgotten.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "base/result.h"
#include "io/descriptor.h"

namespace weft::io {

struct PollEvent {
  uint64_t token = 0;
  bool readable = false;
  bool failed = false;  // POLLERR or POLLHUP: the device is gone
};

class EpollPoller {
 public:
  // Error: poller-open.
  static Result<EpollPoller> open();

  // `token` comes back with each event of this descriptor; ~0 is reserved.
  Status add(int descriptor, uint64_t token);
  // Of a descriptor that was closed already: nothing to do.
  void remove(int descriptor);
  // Number of events; waits at most `timeout_ns` (0: not at all; negative: until one comes). A wake ends it
  // without an event.
  int wait(std::span<PollEvent> events, int64_t timeout_ns);
  void wake();

 private:
  EpollPoller(Descriptor epoll, Descriptor event) : epoll_(std::move(epoll)), event_(std::move(event)) {}
  Descriptor epoll_;
  Descriptor event_;
};

}  // namespace weft::io
