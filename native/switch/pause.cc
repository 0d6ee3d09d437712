// A port that has used up its bandwidth is not read until it has some again: its frames stay in its own
// queue, where its kernel holds back its sockets, and nothing is lost that a slow link would not lose. The
// poller is told to forget the port meanwhile, or a level-triggered wait would report it for ever.
#include <algorithm>

#include "switch/worker.h"

namespace weft {
namespace {

// A paused port is looked at again at least so often: its limit may have changed.
constexpr uint64_t kLongestPauseNs = 100'000'000;

}  // namespace

// true: it may be read on. Else it is paused. The caller holds the view that has the port.
bool Worker::keep_to_bandwidth(Port& port, uint64_t now_ns) noexcept {
  const uint64_t wait_ns = port.egress.wait(now_ns);
  if (wait_ns == 0) return true;
  const uint64_t until_ns = now_ns + std::min(wait_ns, kLongestPauseNs);
  poller_->remove(*port.device);
  for (Paused& paused : paused_) {
    if (paused.index != port.index) continue;
    paused = {port.index, port.instance, now_ns, until_ns};
    return false;
  }
  paused_.push_back({port.index, port.instance, now_ns, until_ns});
  return false;
}

// Ports whose time has come are polled again.
void Worker::resume(uint64_t now_ns) noexcept {
  const View& view = *view_.enter(index_);
  size_t kept = 0;
  for (Paused paused : paused_) {
    if (paused.until_ns <= now_ns) {
      Port* port = view.port(paused.index, paused.instance);
      if (port == nullptr || port->status.load(std::memory_order_relaxed) == PortStatus::gone) continue;
      port->counters[index_].throttled_ns.add(now_ns - paused.since_ns);
      const uint64_t wait_ns = port->egress.wait(now_ns);
      if (wait_ns == 0 && poller_->add(*port->device, token(*port))) continue;
      paused.since_ns = now_ns;
      paused.until_ns = now_ns + (wait_ns == 0 ? kLongestPauseNs : std::min(wait_ns, kLongestPauseNs));
    }
    paused_[kept++] = paused;
  }
  paused_.resize(kept);
  view_.leave(index_);
}

// How long a wait of `timeout_ns` may be: to the end of the next pause at most.
int64_t Worker::until_resume(int64_t timeout_ns) noexcept {
  if (paused_.empty() || timeout_ns == 0) return timeout_ns;
  const uint64_t next_ns = std::ranges::min(paused_, {}, &Paused::until_ns).until_ns;
  const uint64_t now_ns = clock_.now_ns();
  const int64_t left_ns = next_ns > now_ns ? static_cast<int64_t>(next_ns - now_ns) : 1;
  return timeout_ns < 0 ? left_ns : std::min(timeout_ns, left_ns);
}

}  // namespace weft
