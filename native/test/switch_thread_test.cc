// Workers on threads, while the control thread swaps images and adds and removes ports. Meant for the thread
// sanitizer as much as for what it counts; every wait is bounded.
#include <doctest/doctest.h>

#include <chrono>
#include <thread>

#include "switch_harness.h"

namespace weft::test {
namespace {

using namespace std::chrono_literals;

template <class Condition>
bool eventually(Condition&& condition) {
  const auto end = std::chrono::steady_clock::now() + 20s;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(200us);
  }
  return true;
}

Harness::Options two_workers() {
  Harness::Options options;
  options.settings.workers = 2;
  return options;
}

TEST_CASE("two workers forward between their ports while images change, and no denied packet passes") {
  Harness lab(two_workers());
  lab.add("a", {"10.0.0.1"});
  lab.add("b", {"10.0.0.2"});
  lab.add("c", {"10.0.0.3"});
  ImageBuilder open;
  open.pod({"10.0.0.1"});
  const uint32_t b = open.pod({"10.0.0.2"});
  const uint32_t c = open.pod({"10.0.0.3"});
  // c never lets anybody in; b changes.
  open.isolate(c, Direction::ingress, {});
  ImageBuilder closed = open;
  closed.isolate(b, Direction::ingress, {});
  // Nor may b begin: its packets would begin a connection of their own, and a's would be replies to it.
  closed.isolate(b, Direction::egress, {});
  lab.device("a").keep = lab.device("b").keep = lab.device("c").keep = false;
  REQUIRE(lab.sw->start().ok());
  lab.sw->set_image(open.load());

  std::atomic<bool> done{false};
  const Bytes to_b = frame(lab.link("a"), "udp 10.0.0.1:1 > 10.0.0.2:53 len 100");
  const Bytes to_c = frame(lab.link("a"), "udp 10.0.0.1:1 > 10.0.0.3:53 len 100");
  const Bytes back = frame(lab.link("b"), "udp 10.0.0.2:53 > 10.0.0.1:1 len 100");
  std::thread source([&] {
    while (!done) {
      if (lab.device("a").waiting() < 100) {
        lab.device("a").push(to_b);
        lab.device("a").push(to_c);
      }
      if (lab.device("b").waiting() < 100) lab.device("b").push(back);
      std::this_thread::yield();
    }
  });
  uint64_t generation = 0;
  for (int i = 0; i < 50; ++i) {
    const uint64_t next = lab.sw->set_image(i % 2 == 0 ? closed.load() : open.load());
    CHECK(next > generation);
    generation = next;
    if (i % 2 == 0) {
      // From the return on, nothing reaches b: the connection is judged again, its replies too.
      const uint64_t sent = lab.device("b").sent_count;
      std::this_thread::sleep_for(1ms);
      CHECK(lab.device("b").sent_count == sent);
    }
  }
  lab.sw->set_image(open.load());
  const uint64_t sent = lab.device("b").sent_count;
  CHECK(eventually([&] { return lab.device("b").sent_count > sent + 100; }));
  CHECK(eventually([&] { return lab.device("a").sent_count > 0; }));
  CHECK(lab.device("c").sent_count == 0);
  done = true;
  source.join();
  lab.sw->stop();
  CHECK(lab.drops("a", DropReason::policy_ingress) > 0);
  CHECK(std::string(lab.table->check() == nullptr ? "" : lab.table->check()) == "");
}

TEST_CASE("trials that begin, change and end under running workers cost no packet and let none through") {
  Harness lab(two_workers());
  lab.add("a", {"10.0.0.1"});
  lab.add("b", {"10.0.0.2"});
  lab.add("c", {"10.0.0.3"});
  ImageBuilder real;
  real.pod({"10.0.0.1"});
  const uint32_t b = real.pod({"10.0.0.2"});
  const uint32_t c = real.pod({"10.0.0.3"});
  // The shadows have it the other way round.
  ImageBuilder shadow = real;
  real.isolate(c, Direction::ingress, {});
  shadow.isolate(b, Direction::ingress, {});
  const std::shared_ptr<const Image> enforced = real.load();
  lab.device("a").keep = lab.device("b").keep = lab.device("c").keep = false;
  lab.sw->set_image(enforced);
  REQUIRE(lab.sw->start().ok());
  std::atomic<bool> done{false};
  uint64_t pushed = 0;
  const Bytes to_b = frame(lab.link("a"), "udp 10.0.0.1:1 > 10.0.0.2:53 len 100");
  const Bytes to_c = frame(lab.link("a"), "udp 10.0.0.1:1 > 10.0.0.3:53 len 100");
  std::thread source([&] {
    while (!done) {
      if (lab.device("a").waiting() < 100) {
        lab.device("a").push(to_b);
        lab.device("a").push(to_c);
        ++pushed;
      }
      std::this_thread::yield();
    }
  });
  uint64_t told = 0;
  for (uint64_t trial = 1; trial <= 20; ++trial) {
    for (int change = 0; change < 3; ++change) {
      lab.sw->set_images(enforced, Switch::Shadow{trial, shadow.load()});
      CHECK(eventually([&] {
        const TrialCounts counts = lab.sw->trial_counts();
        return counts.denied == 1 && counts.allowed == 1;
      }));
      told += lab.sw->drain_trial(100, [&](const TrialEvent& event) {
        CHECK((event.actual.verdict == FlowVerdict::allowed) != (event.shadow.reason == DropReason::none));
      });
    }
    // Another trial follows without a pause, or none.
    if (trial % 2 == 0) lab.sw->set_images(enforced, std::nullopt);
  }
  CHECK(told >= 20);
  done = true;
  source.join();
  CHECK(eventually([&] { return lab.device("b").sent_count == pushed; }));
  lab.sw->stop();
  CHECK(lab.device("c").sent_count == 0);
}

TEST_CASE("ports come and go under running workers") {
  Harness lab(two_workers());
  lab.add("a", {"10.0.0.1"});
  ImageBuilder image;
  image.pod({"10.0.0.1"});
  for (int i = 2; i < 8; ++i) image.pod({"10.0.0." + std::to_string(i)});
  lab.sw->set_image(image.load());
  lab.device("a").keep = false;
  REQUIRE(lab.sw->start().ok());
  std::atomic<bool> done{false};
  std::vector<Bytes> to;
  for (int i = 2; i < 8; ++i)
    to.push_back(frame(lab.link("a"), "udp 10.0.0.1:1 > 10.0.0." + std::to_string(i) + ":53 len 100"));
  MemoryDevice& a = lab.device("a");
  std::thread source([&] {
    for (size_t i = 0; !done; ++i) {
      if (a.waiting() < 100) a.push(to[i % to.size()]);
      std::this_thread::yield();
    }
  });
  uint64_t forwarded = 0;
  for (int round = 0; round < 20; ++round) {
    for (int i = 2; i < 8; ++i) lab.add("p" + std::to_string(i), {"10.0.0." + std::to_string(i)});
    REQUIRE(lab.sw->set_capture(lab.handle("p3"), CaptureMode::all, 64).ok());
    CHECK(eventually([&] { return lab.totals("p2").tx_packets > 0 && lab.totals("p7").tx_packets > 0; }));
    lab.sw->drain_captures(1000, [&](const CaptureRecord& record, std::span<const uint8_t> bytes) {
      CHECK(bytes.size() == std::min(64u, record.frame_length));
    });
    for (int i = 2; i < 8; ++i) {
      forwarded += lab.totals("p" + std::to_string(i)).tx_packets;
      lab.remove("p" + std::to_string(i));
    }
    lab.flows();
  }
  done = true;
  source.join();
  lab.sw->stop();
  // Sums never go back: what removed ports had counted is kept.
  CHECK(lab.sw->snapshot().removed.tx_packets >= forwarded);
  CHECK(lab.sw->snapshot().ports.size() == 1);
  CHECK(lab.table->counts().used == 0);
}

TEST_CASE("a pod that floods leaves another its share") {
  Harness lab;
  for (int i = 1; i < 4; ++i) lab.add("p" + std::to_string(i), {"10.0.0." + std::to_string(i)});
  ImageBuilder image;
  for (int i = 1; i < 4; ++i) image.pod({"10.0.0." + std::to_string(i)});
  lab.sw->set_image(image.load());
  for (int i = 1; i < 4; ++i) lab.device("p" + std::to_string(i)).keep = false;
  // p1 has always more to send than its turn; p2 sends a little. Both to p3.
  const Bytes flood = frame(lab.link("p1"), "udp 10.0.0.1:1 > 10.0.0.3:53 len 100");
  const Bytes modest = frame(lab.link("p2"), "udp 10.0.0.2:1 > 10.0.0.3:53 len 100");
  const uint32_t turn = lab.sw->settings().drain_frames;
  for (int round = 0; round < 100; ++round) {
    while (lab.device("p1").waiting() < 4 * turn) lab.device("p1").push(flood);
    for (uint32_t i = 0; i < turn / 2; ++i) lab.device("p2").push(modest);
    lab.sw->worker(0).round(0);
    CHECK(lab.device("p2").waiting() == 0);
  }
  CHECK(lab.totals("p2").rx_packets == 100 * turn / 2);
  CHECK(lab.totals("p1").rx_packets == 100 * turn);
}

TEST_CASE("an idle worker sleeps, and wakes for a frame and for stop") {
  Harness lab;
  lab.add("a", {"10.0.0.1"});
  REQUIRE(lab.sw->start().ok());
  std::this_thread::sleep_for(50ms);
  CHECK(lab.sw->snapshot().workers[0].wakeups < 10);
  lab.device("a").push(frame(lab.link("a"), "icmp 10.0.0.1 > 169.254.1.1 echo 1"));
  CHECK(eventually([&] { return lab.device("a").sent_count == 1; }));
  const auto start = std::chrono::steady_clock::now();
  lab.sw->stop();
  CHECK(std::chrono::steady_clock::now() - start < 400ms);
  REQUIRE(lab.sw->start().ok());
  lab.device("a").push(frame(lab.link("a"), "icmp 10.0.0.1 > 169.254.1.1 echo 1"));
  CHECK(eventually([&] { return lab.device("a").sent_count == 2; }));
}

}  // namespace
}  // namespace weft::test
