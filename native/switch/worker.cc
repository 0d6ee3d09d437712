#include "switch/worker.h"

#include <algorithm>

namespace weft {
namespace {

constexpr uint32_t kReadyAtOnce = 64;
// Frames between two looks at the clock, where frames are small. A large one may have taken a receiver's
// stack 100 µs.
constexpr uint32_t kFramesPerClock = 8;
constexpr uint32_t kLargeFrame = 4096;
// The whole connection table is looked at once in this time, and fragments at least this often.
constexpr uint64_t kSweepPeriodNs = 30'000'000'000;
constexpr int64_t kHousekeepingNs = 500'000'000;

}  // namespace

Worker::Worker(const Settings& settings, ConnectionTable& table, Balancer& balancer,
               Guarded<const View>& view, Clock& clock, std::unique_ptr<Poller> poller, uint32_t index)
    : settings_(settings),
      table_(table),
      view_(view),
      clock_(clock),
      poller_(std::move(poller)),
      index_(index),
      forwarder_(settings, table, balancer, index),
      buffer_(kVnetHeaderLength + kMaxFrameLength + 64),
      ready_(kReadyAtOnce) {}

Worker::~Worker() {
  stop();
}

void Worker::start(ThreadBegin begin) {
  stop_.store(false);
  thread_ = std::thread([this, begin = std::move(begin)] {
    if (begin) begin(index_);
    run();
  });
}

void Worker::stop() {
  if (!thread_.joinable()) return;
  stop_.store(true);
  poller_->wake();
  thread_.join();
}

void Worker::run() noexcept {
  while (!stop_.load(std::memory_order_relaxed)) {
    const bool polling = settings_.poll_ns != 0 && clock_.now_ns() - last_frame_ns_ < settings_.poll_ns;
    round(polling ? 0 : kHousekeepingNs);
  }
}

uint32_t Worker::round(int64_t timeout_ns) noexcept {
  const uint32_t count = poller_->wait(ready_, timeout_ns);
  if (timeout_ns != 0) wakeups_.add(1);
  uint32_t frames = 0;
  for (uint32_t i = 0; i < count; ++i) frames += drain(ready_[i]);
  const uint64_t now_ns = clock_.now_ns();
  if (frames != 0) last_frame_ns_ = now_ns;
  keep_house(now_ns);
  return frames;
}

uint32_t Worker::drain(const Ready& ready) noexcept {
  const View& view = *view_.enter(index_);
  const auto index = static_cast<PortIndex>(ready.token & 0xffff);
  const auto instance = static_cast<PortInstance>(ready.token >> 16);
  Port* port = view.port(index, instance);
  // Removed since the wait, or given up below: there is nothing to do.
  if (port == nullptr || port->status.load(std::memory_order_relaxed) == PortStatus::gone) {
    if (port != nullptr) poller_->remove(*port->device);
    view_.leave(index_);
    return 0;
  }
  turns_.add(1);
  const uint64_t start_ns = clock_.now_ns();
  uint64_t now_ns = start_ns;
  uint32_t frames = 0;
  bool gone = false;
  while (frames < settings_.drain_frames) {
    const Received received = port->device->receive(buffer_);
    if (received.status != ReceiveStatus::frame) {
      // A broken device that cannot be read would be reported for ever.
      gone = received.status == ReceiveStatus::gone ||
             (ready.broken && frames == 0 && received.status == ReceiveStatus::failed);
      break;
    }
    forwarder_.forward(view, *port, buffer_, received.length, now_ns);
    ++frames;
    if (received.length >= kLargeFrame || frames % kFramesPerClock == 0) {
      now_ns = clock_.now_ns();
      if (now_ns - start_ns >= settings_.drain_ns) break;
    }
  }
  port->counters[index_].busy_ns.add(clock_.now_ns() - start_ns);
  if (gone) {
    port->status.store(PortStatus::gone, std::memory_order_relaxed);
    poller_->remove(*port->device);
  }
  view_.leave(index_);
  return frames;
}

void Worker::keep_house(uint64_t now_ns) noexcept {
  const View& view = *view_.enter(index_);
  forwarder_.tick(view, now_ns);
  view_.leave(index_);
  if (index_ != 0) return;
  // Worker 0 lets connections expire, a slice of the table in proportion to the time that has passed.
  const uint64_t passed = last_sweep_ns_ == 0 ? 0 : std::min(now_ns - last_sweep_ns_, kSweepPeriodNs);
  const uint64_t budget = uint64_t{table_.capacity()} * (passed / 1000) / (kSweepPeriodNs / 1000);
  if (last_sweep_ns_ != 0 && budget < 64) return;
  last_sweep_ns_ = now_ns;
  table_.sweep(static_cast<uint32_t>(budget), now_ns);
}

}  // namespace weft
