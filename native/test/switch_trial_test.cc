// Trials: what the shadow says is told and counted, and no packet meets anything of it.
#include <doctest/doctest.h>

#include "switch_harness.h"

namespace weft::test {
namespace {

constexpr uint8_t kTcp = 6;
constexpr auto kDenied = DropReason::policy_ingress;

// The real image: everybody may reach b's port 80, nobody else anything of b; d is free. The shadow: b lets
// nobody in, and d only a.
struct Tried : Harness {
  ImageBuilder real, shadow;
  uint32_t a = 0, b = 0, d = 0;
  std::shared_ptr<const Image> enforced;

  explicit Tried(Options options = {}) : Harness(std::move(options)) {
    add("a", {"10.0.0.1"});
    add("b", {"10.0.0.2"});
    add("d", {"10.0.0.4"});
    add("host", {"192.168.0.1"}, {.kind = PortKind::host});
    for (ImageBuilder* image : {&real, &shadow}) {
      a = image->pod({"10.0.0.1"});
      b = image->pod({"10.0.0.2"});
      d = image->pod({"10.0.0.4"});
      image->own_node("192.168.0.1");
      image->service("10.96.0.1", 443, kTcp, {{"10.0.0.2", 80}});
    }
    real.isolate(b, Direction::ingress, {{.protocol = kTcp, .first = 80, .last = 80}});
    enforced = real.load();
    sw->set_image(enforced);
  }
  // Another trial than any before.
  void start() {
    sw->set_images(enforced, Switch::Shadow{++trial_, shadow.load()});
    collect();
  }
  void counted(uint64_t judged, uint64_t denied, uint64_t allowed, uint64_t unnamed = 0) {
    const TrialCounts counts = sw->trial_counts();
    CHECK_EQ(counts.judged, judged);
    CHECK_EQ(counts.denied, denied);
    CHECK_EQ(counts.allowed, allowed);
    CHECK_EQ(counts.unnamed, unnamed);
  }
  std::vector<TrialEvent> told() {
    std::vector<TrialEvent> events;
    sw->drain_trial(1000, [&](const TrialEvent& event) { events.push_back(event); });
    return events;
  }

 private:
  uint64_t trial_ = 0;
};

const std::string kSyn = "tcp 10.0.0.1:1000 > 10.0.0.2:80 S";

TEST_CASE_FIXTURE(Tried,
                  "new flows whose verdict would change are told with both verdicts, and go their way") {
  shadow.isolate(b, Direction::ingress, {});
  start();
  play({
      {"a", kSyn, "b: " + kSyn},
      {"b", "tcp 10.0.0.2:80 > 10.0.0.1:1000 SA ack 1001", "a: tcp 10.0.0.2:80 > 10.0.0.1:1000 SA"},
      {"a", "udp 10.0.0.1:5 > 10.0.0.2:6", "drop policy-ingress"},
      {"a", "udp 10.0.0.1:5 > 10.0.0.4:6", "d: udp 10.0.0.1:5 > 10.0.0.4:6"},
      {"host", "tcp 192.168.0.1:9 > 10.0.0.2:22 S", "b: tcp 192.168.0.1:9 > 10.0.0.2:22 S"},
  });
  // Denied by both, allowed by both, and exempt in both: judged, not told.
  counted(4, 1, 0);
  const auto events = told();
  REQUIRE_EQ(events.size(), 1);
  const TrialEvent& event = events[0];
  CHECK_EQ(event.actual.verdict, FlowVerdict::allowed);
  CHECK_EQ(event.actual.tuple.destination_port, 80);
  CHECK_NE(event.actual.ingress_rule, kNoRule);
  CHECK_EQ(event.actual.in_port, handle("a").index);
  CHECK_EQ(event.actual.out_port, handle("b").index);
  CHECK_EQ(event.shadow.reason, kDenied);
  CHECK_EQ(event.shadow.ingress_rule, kNoRule);
  CHECK(sw->shadow_of(event.actual.generation)->isolated(event.destination_program, Direction::ingress));
}

TEST_CASE_FIXTURE(Tried,
                  "a flow that policy denies and the shadow allows is told once, however often it is tried") {
  start();
  for (int i = 0; i < 5; ++i) CHECK_EQ(send("a", "tcp 10.0.0.1:1000 > 10.0.0.2:81 S"), "drop policy-ingress");
  CHECK_EQ(send("a", "tcp 10.0.0.1:1001 > 10.0.0.2:81 S"), "drop policy-ingress");
  counted(2, 0, 2);
  const auto events = told();
  REQUIRE_EQ(events.size(), 2);
  CHECK_EQ(events[0].actual.verdict, FlowVerdict::denied);
  CHECK_EQ(events[0].actual.reason, kDenied);
  CHECK_EQ(events[0].shadow.reason, DropReason::none);
}

TEST_CASE_FIXTURE(Tried,
                  "a connection that was there before is judged at its next packet, of either side, once") {
  CHECK_EQ(send("a", kSyn), "b: " + kSyn);
  CHECK_EQ(send("a", "udp 10.0.0.1:5 > 10.0.0.4:6"), "d: udp 10.0.0.1:5 > 10.0.0.4:6");
  shadow.isolate(b, Direction::ingress, {});
  start();
  counted(0, 0, 0);
  for (int i = 0; i < 3; ++i) {
    CHECK_EQ(send("b", "tcp 10.0.0.2:80 > 10.0.0.1:1000 SA ack 1001"),
             "a: tcp 10.0.0.2:80 > 10.0.0.1:1000 SA");
    CHECK_EQ(send("a", "udp 10.0.0.1:5 > 10.0.0.4:6"), "d: udp 10.0.0.1:5 > 10.0.0.4:6");
  }
  counted(2, 1, 0);
  const auto events = told();
  REQUIRE_EQ(events.size(), 1);
  // Told as its initiator sent it, though the responder's packet met it.
  CHECK_EQ(events[0].actual.tuple.source, address("10.0.0.1"));
  CHECK_EQ(events[0].actual.in_port, handle("a").index);
  // A change of the world: both images are others, the connection is judged by both again, and is no other
  // flow.
  enforced = real.load();
  sw->set_images(enforced, Switch::Shadow{1, shadow.load()});
  CHECK_EQ(send("b", "tcp 10.0.0.2:80 > 10.0.0.1:1000 SA ack 1001"), "a: tcp 10.0.0.2:80 > 10.0.0.1:1000 SA");
  counted(2, 1, 0);
  CHECK(told().empty());
}

TEST_CASE_FIXTURE(
    Tried, "a shadow that changes during the trial tells of connections whose verdict changes with it") {
  start();
  CHECK_EQ(send("a", kSyn), "b: " + kSyn);
  counted(1, 0, 0);
  shadow.isolate(b, Direction::ingress, {});
  sw->set_images(enforced, Switch::Shadow{1, shadow.load()});
  CHECK_EQ(send("a", kSyn), "b: " + kSyn);
  CHECK_EQ(told().size(), 1);
  counted(1, 0, 0);
}

TEST_CASE_FIXTURE(Tried, "a Service is judged by its backend and told by both addresses") {
  shadow.isolate(b, Direction::ingress, {});
  start();
  CHECK_EQ(send("a", "tcp 10.0.0.1:1000 > 10.96.0.1:443 S"), "b: tcp 10.0.0.1:1000 > 10.0.0.2:80 S");
  const auto events = told();
  REQUIRE_EQ(events.size(), 1);
  CHECK_EQ(events[0].actual.tuple.destination, address("10.96.0.1"));
  CHECK_EQ(events[0].actual.backend, address("10.0.0.2"));
  CHECK_EQ(events[0].actual.backend_port, 80);
}

TEST_CASE_FIXTURE(Tried, "a trial's end judges nothing again, and the next one counts from nothing") {
  shadow.isolate(b, Direction::ingress, {});
  start();
  CHECK_EQ(send("a", kSyn), "b: " + kSyn);
  counted(1, 1, 0);
  const uint64_t generation = sw->generation();
  CHECK_EQ(sw->set_images(enforced, std::nullopt), generation);
  CHECK_EQ(sw->trial(), 0);
  CHECK_EQ(sw->shadow(), nullptr);
  CHECK(told().empty());
  counted(0, 0, 0);
  CHECK_EQ(send("a", "tcp 10.0.0.1:1001 > 10.0.0.2:80 S"), "b: tcp 10.0.0.1:1001 > 10.0.0.2:80 S");
  counted(0, 0, 0);
  start();
  CHECK_GT(sw->generation(), generation);
  CHECK_EQ(send("a", kSyn), "b: " + kSyn);
  counted(1, 1, 0);
  // Without one in between, too: it is another trial.
  start();
  CHECK_EQ(send("a", kSyn), "b: " + kSyn);
  counted(1, 1, 0);
  // An image set by itself leaves no shadow that would compare with another world.
  sw->set_image(enforced);
  CHECK_EQ(sw->trial(), 0);
}

TEST_CASE_FIXTURE(Tried, "a real change of policy during a trial is enforced like any other") {
  start();
  CHECK_EQ(send("a", kSyn), "b: " + kSyn);
  ImageBuilder closed = shadow;
  closed.isolate(b, Direction::ingress, {});
  enforced = closed.load();
  sw->set_images(enforced, Switch::Shadow{1, shadow.load()});
  CHECK_EQ(send("a", kSyn), "drop policy-ingress");
  CHECK_EQ(send("a", kSyn), "drop policy-ingress");
  const auto events = told();
  REQUIRE_EQ(events.size(), 1);
  CHECK_EQ(events[0].shadow.reason, DropReason::none);
}

TEST_CASE("a flood of flows that would change neither fills the log for other ports nor goes uncounted") {
  Harness::Options options;
  options.settings.live.flows_per_second = 1;
  options.settings.live.flow_burst = 3;
  Tried tried(std::move(options));
  tried.shadow.isolate(tried.b, Direction::ingress, {});
  tried.start();
  for (int port = 1000; port < 1100; ++port) {
    const std::string syn = "tcp 10.0.0.1:" + std::to_string(port) + " > 10.0.0.2:80 S";
    CHECK_EQ(tried.send("a", syn), "b: " + syn);
  }
  const std::string other = "tcp 10.0.0.4:9 > 10.0.0.2:80 S";
  CHECK_EQ(tried.send("d", other), "b: " + other);
  // Nor those of its own to elsewhere.
  CHECK_EQ(tried.send("a", "tcp 10.0.0.1:7 > 10.96.0.1:443 S"), "b: tcp 10.0.0.1:7 > 10.0.0.2:80 S");
  tried.counted(102, 102, 0, 96);
  const auto events = tried.told();
  REQUIRE_EQ(events.size(), 6);
  CHECK_EQ(events[4].actual.in_port, tried.handle("d").index);
  CHECK_EQ(events[5].actual.tuple.destination, address("10.96.0.1"));
}

TEST_CASE_FIXTURE(Tried, "after a restart of the switch there is no trial, and policy is the real image's") {
  shadow.isolate(b, Direction::ingress, {});
  start();
  CHECK_EQ(send("a", kSyn), "b: " + kSyn);
  restart();
  sw->set_image(enforced);
  CHECK_EQ(sw->trial(), 0);
  CHECK_EQ(send("a", kSyn), "b: " + kSyn);
  CHECK_EQ(send("a", "udp 10.0.0.1:5 > 10.0.0.2:6"), "drop policy-ingress");
  counted(0, 0, 0);
}

}  // namespace
}  // namespace weft::test
