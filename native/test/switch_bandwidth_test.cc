// Bandwidth of a port: rates by a clock of the test's own.
#include <doctest/doctest.h>

#include "switch/rate_limit.h"
#include "switch_harness.h"

namespace weft::test {
namespace {

constexpr uint64_t kSecond = 1'000'000'000;
constexpr uint64_t kMillisecond = 1'000'000;

TEST_CASE("a bucket gives its rate in the mean and its burst at once, for frames of every size") {
  struct Row {
    uint64_t rate, burst, frame;
  };
  for (const Row& row : std::vector<Row>{
           {1'000'000, 100'000, 1500},        // 1 Mbit/s
           {1'000'000, 1, 65'550},            // one frame is many times the burst
           {8'000'000'000, 0, 65'550},        // 8 Gbit/s, a tenth of a second at once
           {100'000'000, 10'000'000'000, 66}  // a burst of 100 s
       }) {
    CAPTURE(row.rate);
    CAPTURE(row.frame);
    RateLimit limit;
    limit.set(row.rate, row.burst, RateLimit::kShapedBurstNs);
    uint64_t now = 77 * kSecond;
    const uint64_t least = row.rate / 200;  // 5 ms
    const uint64_t burst = std::max(row.burst == 0 ? row.rate / 10 : row.burst, least);
    uint64_t bits = 0;
    while (limit.admit(now, row.frame)) bits += row.frame * 8;
    CHECK(bits >= burst);
    CHECK(bits <= burst + row.frame * 8);
    CHECK(limit.wait(now) > 0);
    // Whoever asks each millisecond for as much as there is gets the rate, and no more than the last frame
    // over.
    constexpr uint64_t kPeriod = 100 * kSecond;
    for (const uint64_t end = now + kPeriod; now < end;) {
      now += kMillisecond;
      while (limit.admit(now, row.frame)) bits += row.frame * 8;
    }
    const uint64_t all = row.rate * (kPeriod / kSecond) + burst;
    // A frame's time is rounded to a sixteenth of a nanosecond.
    CHECK(bits >= all - all / 500 - row.frame * 8);
    CHECK(bits <= all + all / 500 + row.frame * 8);
  }
}

TEST_CASE("a bucket's wait is over when it says so; without a rate there is none") {
  RateLimit limit;
  CHECK(limit.wait(5) == 0);
  CHECK(limit.admit(5, 1'000'000));
  limit.set(1'000'000, 8, 0);
  uint64_t now = kSecond;
  limit.pay(now, 125'000);  // a second's worth
  const uint64_t wait = limit.wait(now);
  CHECK(wait > kSecond - 6 * kMillisecond);
  CHECK(wait <= kSecond);
  CHECK(limit.wait(now + wait - 1) == 1);
  CHECK(limit.wait(now + wait) == 0);
  // A clock that runs backwards gives nothing.
  CHECK(limit.wait(now - 1000) == wait + 1000);
  limit.set(0, 0, 0);
  CHECK(limit.admit(now, 1500));
}

struct Limited : Harness {
  ImageBuilder image;
  Limited() {
    add("a", {"10.0.0.1"});
    add("b", {"10.0.0.2"});
    add("c", {"10.0.0.3"});
    for (const char* address : {"10.0.0.1", "10.0.0.2", "10.0.0.3"}) image.pod({address});
    sw->set_image(image.load());
  }
  void push(const std::string& from, const std::string& text, int count) {
    const Bytes packet = frame(link(from), text);
    for (int i = 0; i < count; ++i) device(from).push(packet);
  }
  // Rounds, one each millisecond.
  void rounds(int milliseconds) {
    for (int i = 0; i < milliseconds; ++i) {
      pass(kMillisecond);
      sw->worker(0).round(0);
    }
  }
};

// 958 bytes of payload make a frame of 1000 bytes.
const std::string kToB = "udp 10.0.0.1:1 > 10.0.0.2:2 len 958";

TEST_CASE_FIXTURE(Limited, "egress: what is over the rate waits in the pod's queue, and nobody else does") {
  REQUIRE(sw->set_bandwidth(handle("a"), {.egress_rate = 8'000'000, .egress_burst = 80'000}).ok());
  push("a", kToB, 5000);
  sw->worker(0).round(0);
  CHECK(totals("a").rx_packets >= 10);  // the burst, to the end of its batch
  CHECK(totals("a").rx_packets <= 10 + Forwarder::kBatch);
  // A paused port is not asked, and does not keep the worker from the others.
  for (int i = 0; i < 20; ++i) {
    push("c", "udp 10.0.0.3:1 > 10.0.0.2:3 len 4", 1);
    CHECK(sw->worker(0).round(0) == 1);
  }
  CHECK(totals("c").rx_packets == 20);
  rounds(1000);
  // A thousand bytes a millisecond.
  CHECK(totals("a").rx_packets >= 1000);
  CHECK(totals("a").rx_packets <= 1010 + Forwarder::kBatch);
  CHECK(totals("a").rx_packets == 5000 - device("a").waiting());
  CHECK(totals("b").tx_packets == totals("a").rx_packets + 20);
  CHECK(totals("a").throttled_ns > 900 * kMillisecond);
  CHECK(totals("c").throttled_ns == 0);
  CHECK(drops("a", DropReason::bandwidth) == 0);
}

TEST_CASE_FIXTURE(Limited, "egress: a new limit takes hold of a port that waits, and none lets it go") {
  REQUIRE(sw->set_bandwidth(handle("a"), {.egress_rate = 1000, .egress_burst = 8}).ok());
  push("a", kToB, 200);
  sw->worker(0).round(0);
  const size_t left = device("a").waiting();
  CHECK(left >= 200 - Forwarder::kBatch);
  rounds(1000);
  CHECK(device("a").waiting() == left);  // the first batch takes minutes
  REQUIRE(sw->set_bandwidth(handle("a"), {}).ok());
  rounds(110);
  CHECK(device("a").waiting() == 0);
}

TEST_CASE_FIXTURE(Limited, "egress: a port that is removed or vanishes while it waits is forgotten") {
  for (const char* name : {"a", "c"})
    REQUIRE(sw->set_bandwidth(handle(name), {.egress_rate = 100'000, .egress_burst = 8}).ok());
  push("a", kToB, 100);
  push("c", "udp 10.0.0.3:1 > 10.0.0.2:3 len 900", 100);
  sw->worker(0).round(0);
  remove("a");
  device("c").vanish();
  rounds(5000);
  CHECK(sw->snapshot().ports.size() == 2);
  for (const PortSnapshot& port : sw->snapshot().ports)
    if (port.id == "c") CHECK(port.status == PortStatus::gone);
  // The index lives again, without the old pause.
  add("d", {"10.0.0.1"});
  play({{"d", "udp 10.0.0.1:7 > 10.0.0.2:7", "b: udp 10.0.0.1:7 > 10.0.0.2:7"}});
}

TEST_CASE_FIXTURE(Limited, "ingress: what is over the rate is dropped with its reason, whoever sent it") {
  REQUIRE(sw->set_bandwidth(handle("b"), {.ingress_rate = 8'000'000, .ingress_burst = 800'000}).ok());
  // Twice the rate for two seconds, from two pods.
  for (int i = 0; i < 2000; ++i) {
    push("a", kToB, 1);
    push("c", "udp 10.0.0.3:1 > 10.0.0.2:3 len 958", 1);
    rounds(1);
  }
  const uint64_t passed = totals("b").tx_packets;
  CHECK(passed >= 2050);
  CHECK(passed <= 2110);
  const uint64_t lost = drops("a", DropReason::bandwidth) + drops("c", DropReason::bandwidth);
  CHECK(passed + lost == 4000);
  CHECK(totals("b").policed == lost);
  CHECK(lost > 1800);
  CHECK(totals("a").throttled_ns == 0);
  // What b itself sends, and what others receive, is free.
  play({{"b", "udp 10.0.0.2:9 > 10.0.0.3:9", "c: udp 10.0.0.2:9 > 10.0.0.3:9"}});
  REQUIRE(sw->set_bandwidth(handle("b"), {}).ok());
  const uint64_t before = totals("b").tx_packets;
  push("a", kToB, 50);
  rounds(1);
  CHECK(totals("b").tx_packets == before + 50);
}

TEST_CASE("a port has its bandwidth from its first packet on") {
  Limited lab;
  MemoryBell bell;
  PortSpec spec{.id = "slow",
                .mac = {2, 0, 0, 0, 0, 0x55},
                .addresses = {address("10.0.0.9")},
                .bandwidth = {.ingress_rate = 8000, .ingress_burst = 8}};
  lab.image.pod({"10.0.0.9"});
  lab.sw->set_image(lab.image.load());
  REQUIRE(lab.sw->add_port(std::move(spec), std::make_unique<MemoryDevice>(bell)).ok());
  CHECK_EQ(lab.send("a", "udp 10.0.0.1:1 > 10.0.0.9:2 len 900"), "");
  CHECK_EQ(lab.send("a", "udp 10.0.0.1:1 > 10.0.0.9:2 len 900"), "drop bandwidth");
}

}  // namespace
}  // namespace weft::test
