#include "traffic/schedule.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <vector>

#include "traffic/clock.h"
#include "traffic/datagram.h"
#include "traffic/failure.h"
#include "traffic/histogram.h"
#include "traffic/processor.h"

namespace weft::traffic {

namespace {

// More requests than this without an answer are no latency any more: the path does not keep up.
constexpr uint64_t kMostOutstanding = 1 << 16;
constexpr int64_t kStreamPatienceNs = 2'000'000'000;

class Schedule {
 public:
  Schedule(Descriptor socket, const ScheduleOptions& options)
      : socket_(std::move(socket)),
        options_(options),
        answered_(kMostOutstanding, 1),
        out_(options.size, 'w'),
        in_(std::max<size_t>(options.size * 64, 1 << 16)) {
    if (fcntl(socket_.get(), F_SETFL, O_NONBLOCK) != 0) fail("fcntl: %s", std::strerror(errno));
  }

  // Sends request `first`…`last - 1`, each when it is due, and takes answers meanwhile.
  void run(int64_t start, uint64_t first, uint64_t last, bool counts) {
    counts_ = counts;
    start_ = start;
    base_ = first;
    for (uint64_t next = first; next < last;) {
      int64_t now = now_ns();
      while (next < last && due(next) <= now) {
        late_.add(now - due(next));
        send_one(next++);
      }
      take();
      now = now_ns();
      if (next < last && due(next) > now) wait(due(next) - now);
    }
    next_ = last;
  }

  // Waits for what is still on its way; what does not come within the patience is lost.
  void finish() {
    const int64_t deadline = now_ns() + (options_.stream ? kStreamPatienceNs : kDatagramPatienceNs);
    for (take(); outstanding_ > 0 && now_ns() < deadline; take()) wait(deadline - now_ns());
    if (outstanding_ > 0 && options_.stream)
      fail("%llu requests to %s had no answer within 2 s", static_cast<unsigned long long>(outstanding_),
           text_of(options_.target.data).c_str());
    for (uint64_t sequence = next_ - std::min(next_, kMostOutstanding); sequence < next_; ++sequence) {
      if (answered_[sequence % kMostOutstanding] != 0) continue;
      ++lost_;
      --outstanding_;
      answered_[sequence % kMostOutstanding] = 1;
      if (counts_) histogram_.add(kDatagramPatienceNs);
    }
  }

  void forget() { late_ = {}, lost_ = 0; }
  [[nodiscard]] const Histogram& histogram() const { return histogram_; }
  [[nodiscard]] const Histogram& late() const { return late_; }
  [[nodiscard]] uint64_t lost() const { return lost_; }

 private:
  [[nodiscard]] int64_t due(uint64_t sequence) const {
    return start_ + static_cast<int64_t>(static_cast<double>(sequence - base_) * 1e9 / options_.rate);
  }

  void send_one(uint64_t sequence) {
    uint8_t& answered = answered_[sequence % kMostOutstanding];
    if (answered == 0) {
      if (options_.stream)
        fail("%s does not keep up with %g requests a second", text_of(options_.target.data).c_str(),
             options_.rate);
      ++lost_;
      --outstanding_;
      if (counts_) histogram_.add(kDatagramPatienceNs);
    }
    answered = 0;
    ++outstanding_;
    const DatagramHeader header{kMagic, 0, sequence};
    if (!options_.stream) std::memcpy(out_.data(), &header, sizeof header);
    for (size_t sent = 0; sent < out_.size();) {
      const ssize_t more = send(socket_.get(), out_.data() + sent, out_.size() - sent, MSG_NOSIGNAL);
      if (more > 0)
        sent += static_cast<size_t>(more);
      else if (errno == EAGAIN && options_.stream)
        take();
      else if (errno == EAGAIN || errno == ENOBUFS)
        return;  // its answer will be missing
      else if (errno != EINTR)
        fail("send to %s: %s", text_of(options_.target.data).c_str(), std::strerror(errno));
    }
  }

  void answer(uint64_t sequence, int64_t now) {
    uint8_t& answered = answered_[sequence % kMostOutstanding];
    if (answered != 0) return;  // given up already
    answered = 1;
    --outstanding_;
    // An answer to the phase before has no due time in this one.
    if (counts_ && sequence >= base_) histogram_.add(now - due(sequence));
  }

  void take() {
    for (;;) {
      const ssize_t got = recv(socket_.get(), in_.data(), in_.size(), MSG_DONTWAIT);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0 && errno == EAGAIN) return;
      if (got < 0)
        fail("receive from %s: %s", text_of(options_.target.data).c_str(),
             errno == ECONNREFUSED ? "nobody receives on that port" : std::strerror(errno));
      const int64_t now = now_ns();
      if (options_.stream) {
        if (got == 0) fail("%s closed the connection", text_of(options_.target.data).c_str());
        // Answers come in the order of the requests.
        for (taken_ += static_cast<size_t>(got); taken_ >= options_.size; taken_ -= options_.size)
          answer(in_order_++, now);
        continue;
      }
      if (static_cast<size_t>(got) < sizeof(DatagramHeader)) continue;
      DatagramHeader header{};
      std::memcpy(&header, in_.data(), sizeof header);
      if (header.magic == kMagic) answer(header.sequence, now);
    }
  }

  // Until an answer comes, at most `ns`.
  void wait(int64_t ns) {
    pollfd readable{socket_.get(), POLLIN, 0};
    const timespec limit{static_cast<time_t>(ns / 1'000'000'000), static_cast<long>(ns % 1'000'000'000)};
    (void)ppoll(&readable, 1, &limit, nullptr);
  }

  Descriptor socket_;
  ScheduleOptions options_;
  std::vector<uint8_t> answered_;  // by sequence, modulo its size; 0: on its way
  std::vector<char> out_, in_;
  Histogram histogram_, late_;
  int64_t start_ = 0;
  uint64_t base_ = 0, next_ = 0;
  uint64_t outstanding_ = 0, lost_ = 0;
  uint64_t in_order_ = 0;  // the next answer of a stream
  size_t taken_ = 0;       // bytes of an answer that has come in part
  bool counts_ = false;
};

}  // namespace

void run_schedule(Descriptor socket, const ScheduleOptions& options) {
  // A sleep may otherwise last 50 us longer than asked.
  prctl(PR_SET_TIMERSLACK, 1);
  const ProcessorTime idle_from = processor_time();
  sleep_until_ns(now_ns() + seconds_to_ns(options.idle));
  const double idle = processors_used(idle_from, processor_time());
  Schedule schedule(std::move(socket), options);
  const auto warm = static_cast<uint64_t>(std::max(1.0, options.rate * options.target.warm));
  const auto count = static_cast<uint64_t>(std::max(1.0, options.rate * options.target.seconds));
  schedule.run(now_ns(), 0, warm, false);
  schedule.finish();
  if (schedule.lost() == warm)
    fail("no answer from %s (UDP) within %g s", text_of(options.target.data).c_str(), options.target.warm);
  schedule.forget();
  const ProcessorTime from = processor_time();
  const int64_t start = now_ns();
  schedule.run(start, warm, warm + count, true);
  const ProcessorTime to = processor_time();
  const int64_t end = now_ns();
  schedule.finish();
  const Histogram& histogram = schedule.histogram();
  const double elapsed = static_cast<double>(end - start) / 1e9;
  std::printf(
      "{\"rate\":%.1f,\"p50\":%.3f,\"p99\":%.3f,\"p999\":%.3f,\"cpu\":%.2f,\"idle\":%.2f,\"late\":%.3f,"
      "\"seconds\":%.6f,"
      "\"lost\":%llu}\n",
      static_cast<double>(histogram.total() - schedule.lost()) / elapsed, histogram.percentile(0.5) / 1e3,
      histogram.percentile(0.99) / 1e3, histogram.percentile(0.999) / 1e3,
      100 * std::max(0.0, processors_used(from, to) - idle), 100 * idle,
      schedule.late().percentile(0.5) / 1e3, elapsed, static_cast<unsigned long long>(schedule.lost()));
}

}  // namespace weft::traffic
