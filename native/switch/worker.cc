#include "switch/worker.h"

#include <algorithm>

namespace weft {
namespace {

constexpr uint32_t kReadyAtOnce = 64;
// A frame of this length ends its batch: writing it may take a receiver's stack 100 µs.
constexpr uint32_t kLargeFrame = 4096;
// A port whose turns are one small frame each, further apart than this, is in a conversation: one frame, then
// silence until it is answered. The read that would find that out is saved, and the frame leaves before it.
// Where there is another after all, the poller says so at once.
constexpr uint64_t kLoneGapNs = 2000;
// A worker that polls asks its poller, and keeps house, once in so many looks at the ports that it knows.
constexpr uint32_t kLooksARound = 8;
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
      // The last frame of a batch may be a large one.
      buffer_(kVnetHeaderLength + kMaxFrameLength + 64 + Forwarder::kBatch * kLargeFrame),
      ready_(kReadyAtOnce) {
  arrived_.reserve(Forwarder::kBatch);
  paused_.reserve(settings.max_ports);
}

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
  uint32_t looks = 0;
  while (!stop_.load(std::memory_order_relaxed)) {
    const bool polling = settings_.poll_ns != 0 && clock_.now_ns() - last_frame_ns_ < settings_.poll_ns;
    if (polling && looks > 0) {
      // More than a frame a port is no conversation: others may have as many waiting.
      looks = look() > recent_count_ ? 0 : looks - 1;
      continue;
    }
    if (!polling) recent_count_ = 0;
    round(polling ? 0 : kHousekeepingNs);
    looks = kLooksARound;
  }
}

uint32_t Worker::round(int64_t timeout_ns) noexcept {
  if (!paused_.empty()) [[unlikely]] {
    resume(clock_.now_ns());
    timeout_ns = until_resume(timeout_ns);
  }
  const uint32_t count = poller_->wait(ready_, timeout_ns);
  if (timeout_ns != 0) wakeups_.add(1);
  uint32_t frames = 0;
  for (uint32_t i = 0; i < count; ++i) {
    const uint32_t of_port = drain(ready_[i], Told::yes);
    if (of_port != 0 && settings_.poll_ns != 0) remember(ready_[i].token);
    frames += of_port;
  }
  const uint64_t now_ns = clock_.now_ns();
  if (frames != 0) last_frame_ns_ = now_ns;
  keep_house(now_ns);
  return frames;
}

uint32_t Worker::look() noexcept {
  uint32_t frames = 0;
  for (uint32_t i = 0; i < recent_count_; ++i) frames += drain({recent_[i], false}, Told::no);
  if (frames != 0) last_frame_ns_ = clock_.now_ns();
  return frames;
}

void Worker::remember(uint64_t token) noexcept {
  for (uint32_t i = 0; i < recent_count_; ++i)
    if (recent_[i] == token) return;
  if (recent_count_ < recent_.size())
    recent_[recent_count_++] = token;
  else
    recent_[oldest_recent_++ % recent_.size()] = token;
}

uint32_t Worker::drain(const Ready& ready, Told told) noexcept {
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
  const uint64_t start_ns = clock_.now_ns();
  uint64_t now_ns = start_ns;
  uint32_t frames = 0;
  bool gone = false;
  const bool limited = port->egress.limits();
  if (limited && (told == Told::no || !keep_to_bandwidth(*port, start_ns))) [[unlikely]] {
    view_.leave(index_);
    return 0;
  }
  const bool lone = told == Told::yes && port->lone && start_ns - port->turn_end_ns > kLoneGapNs;
  port->lone = false;
  // What nobody told of is most likely one frame again: it leaves before others are looked for.
  const bool one_first = lone || told == Told::no;
  while (frames < settings_.drain_frames) {
    const ReceiveStatus status =
        receive(*port, one_first && frames == 0 ? 1 : settings_.drain_frames - frames);
    frames += static_cast<uint32_t>(arrived_.size());
    // Nothing, or a device that is broken: that is the poller's to tell.
    if (told == Told::no && frames == 0) {
      view_.leave(index_);
      return 0;
    }
    if (!arrived_.empty()) forwarder_.forward(view, *port, arrived_, now_ns);
    // Only a queue that was seen empty makes a port lone, so that every other turn looks: beside a flood all
    // turns are far apart, and a port with a backlog would be held to one frame a round.
    port->lone = frames == 1 && arrived_.size() == 1 && arrived_.front().length < kLargeFrame &&
                 status == ReceiveStatus::empty;
    if (limited) [[unlikely]] {
      uint64_t bytes = 0;
      for (const Arrived& frame : arrived_) bytes += frame.length - std::min(frame.length, kVnetHeaderLength);
      port->egress.pay(now_ns, bytes);
      if (status == ReceiveStatus::frame && !keep_to_bandwidth(*port, clock_.now_ns())) break;
    }
    if (lone && status == ReceiveStatus::frame) break;
    if (status != ReceiveStatus::frame) {
      // A broken device that cannot be read would be reported for ever.
      gone =
          status == ReceiveStatus::gone || (ready.broken && frames == 0 && status == ReceiveStatus::failed);
      break;
    }
    now_ns = clock_.now_ns();
    if (now_ns - start_ns >= settings_.drain_ns) break;
  }
  forwarder_.flush();
  turns_.add(1);
  port->turn_end_ns = clock_.now_ns();
  port->counters[index_].busy_ns.add(port->turn_end_ns - start_ns);
  if (gone) {
    port->status.store(PortStatus::gone, std::memory_order_relaxed);
    poller_->remove(*port->device);
  }
  view_.leave(index_);
  return frames;
}

// Reads a batch of frames into `arrived_`: until there are `limit` or a full batch, one is large, or none is
// left. Returns why it ended; `frame` where there may be more.
ReceiveStatus Worker::receive(Port& port, uint32_t limit) noexcept {
  arrived_.clear();
  limit = std::min(limit, Forwarder::kBatch);
  std::span<uint8_t> room = buffer_;
  while (arrived_.size() < limit) {
    const Received received = port.device->receive(room);
    if (received.status != ReceiveStatus::frame) return received.status;
    arrived_.push_back({room.data(), received.length});
    if (received.length >= kLargeFrame) break;
    // Each frame begins a cache line.
    room = room.subspan((received.length + 63) / 64 * 64);
  }
  return ReceiveStatus::frame;
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
