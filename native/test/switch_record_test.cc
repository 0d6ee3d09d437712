// What is told of packets: flow events within their rate, and captures.
#include <doctest/doctest.h>

#include <algorithm>

#include "judged_world.h"

namespace weft::test {
namespace {

TEST_CASE_FIXTURE(Judged, "flow events name ends, verdict, rule and reason") {
  flows();
  send("a", "tcp 10.0.0.1:1000 > 10.0.0.2:80 S");
  send("d", "tcp 10.0.0.4:1000 > 10.0.0.2:80 S");
  send("c", "udp 10.0.0.3:9 > 10.0.0.4:54");
  send("a", "udp 10.0.0.2:9 > 10.0.0.4:54");
  const std::vector<FlowEvent> events = flows();
  REQUIRE(events.size() == 4);
  CHECK(events[0].verdict == FlowVerdict::allowed);
  CHECK(events[0].ingress_rule == 0);
  CHECK(events[0].egress_rule == kNoRule);
  CHECK(events[0].tuple.destination_port == 80);
  CHECK(events[0].in_port == handle("a").index);
  CHECK(events[0].out_port == handle("b").index);
  CHECK(events[0].source_class == 1 + a);
  CHECK(events[0].generation == sw->generation());
  CHECK(events[1].verdict == FlowVerdict::denied);
  CHECK(events[1].reason == DropReason::policy_ingress);
  CHECK(events[1].direction == Direction::ingress);
  CHECK(events[1].destination_class == 1 + b);
  CHECK(events[2].reason == DropReason::policy_egress);
  CHECK(events[2].direction == Direction::egress);
  CHECK(events[3].verdict == FlowVerdict::dropped);
  CHECK(events[3].reason == DropReason::spoof_ip);
}

TEST_CASE("a pod that opens many connections does not crowd out what is denied to others") {
  Harness::Options options;
  options.settings.flow_ring = 16;
  Harness lab(options);
  lab.add("a", {"10.0.0.1"});
  lab.add("b", {"10.0.0.2"});
  lab.add("c", {"10.0.0.3"});
  ImageBuilder image;
  image.pod({"10.0.0.1"});
  image.pod({"10.0.0.2"});
  image.isolate(image.pod({"10.0.0.3"}), Direction::egress, {});
  lab.sw->set_image(image.load());
  for (int i = 1; i < 100; ++i) lab.send("a", "udp 10.0.0.1:" + std::to_string(i) + " > 10.0.0.2:53");
  for (int i = 0; i < 3; ++i) lab.send("c", "udp 10.0.0.3:1 > 10.0.0.2:53");
  const std::vector<FlowEvent> events = lab.flows();
  CHECK(std::count_if(events.begin(), events.end(),
                      [](const FlowEvent& event) { return event.reason == DropReason::policy_egress; }) == 3);
}

TEST_CASE_FIXTURE(
    Judged,
    "a port's drops and new connections are told within its rate, and what was kept back is counted") {
  LiveSettings live = sw->settings().live;
  live.flows_per_second = 10;
  live.flow_burst = 5;
  live.flow_sample = 3;
  sw->configure(live);
  for (int i = 0; i < 20; ++i) send("c", "udp 10.0.0.3:9 > 10.0.0.4:54");
  CHECK(flows().size() == 5);
  pass(100'000'000);
  send("c", "udp 10.0.0.3:9 > 10.0.0.4:54");
  const std::vector<FlowEvent> later = flows();
  REQUIRE(later.size() == 1);
  CHECK(later[0].suppressed == 15);
  // New connections have a rate of their own, of the same size.
  int next = 100;
  const auto open = [&](int count) {
    for (int i = 0; i < count; ++i) send("d", "udp 10.0.0.4:9 > 10.0.0.3:" + std::to_string(next++));
  };
  open(9);
  CHECK(flows().size() == 3);
  open(30);
  CHECK(flows().size() == 2);
  pass(100'000'000);
  open(3);
  const std::vector<FlowEvent> opened = flows();
  REQUIRE(opened.size() == 1);
  CHECK(opened[0].verdict == FlowVerdict::allowed);
  CHECK(opened[0].suppressed == 8);
}

TEST_CASE_FIXTURE(Judged, "a capture has each packet with what became of it, and costs nothing afterwards") {
  struct Seen {
    CaptureSide side;
    std::string text;
    DropReason reason;
    RuleIndex ingress_rule;
  };
  const auto drain = [&] {
    std::vector<Seen> seen;
    sw->drain_captures(1000, [&](const CaptureRecord& record, std::span<const uint8_t> bytes) {
      Bytes frame(10 + bytes.size());
      std::copy(bytes.begin(), bytes.end(), frame.begin() + 10);
      CHECK(record.port == handle("b").index);
      CHECK(record.frame_length == bytes.size());
      seen.push_back({record.side, describe(frame), record.reason, record.ingress_rule});
    });
    return seen;
  };
  REQUIRE(sw->set_capture(handle("b"), CaptureMode::all, 65535).ok());
  send("a", "tcp 10.0.0.1:1000 > 10.0.0.2:80 S");
  send("b", "udp 10.0.0.7:1 > 10.0.0.4:9");
  send("b", "icmp 10.0.0.2 > 169.254.1.1 echo 4");
  std::vector<Seen> seen = drain();
  REQUIRE(seen.size() == 4);
  CHECK(seen[0].side == CaptureSide::to_pod);
  CHECK(seen[0].text == "tcp 10.0.0.1:1000 > 10.0.0.2:80 S");
  CHECK(seen[0].ingress_rule == 0);
  CHECK(seen[1].reason == DropReason::spoof_ip);
  CHECK(seen[2].text == "icmp 169.254.1.1 > 10.0.0.2 reply 4");
  CHECK(seen[3].text == "icmp 10.0.0.2 > 169.254.1.1 echo 4");
  // What was meant for it and denied, too; not what was meant for another.
  send("a", "udp 10.0.0.1:1 > 10.0.0.2:81");
  send("a", "udp 10.0.0.8:1 > 10.0.0.4:9");
  seen = drain();
  REQUIRE(seen.size() == 1);
  CHECK(seen[0].side == CaptureSide::to_pod);
  CHECK(seen[0].text == "udp 10.0.0.1:1 > 10.0.0.2:81");
  CHECK(seen[0].reason == DropReason::policy_ingress);
  REQUIRE(sw->set_capture(handle("b"), CaptureMode::drops, 65535).ok());
  send("b", "udp 10.0.0.2:1 > 10.0.0.4:9");
  send("b", "udp 10.0.0.7:1 > 10.0.0.4:9");
  seen = drain();
  REQUIRE(seen.size() == 1);
  CHECK(seen[0].text == "udp 10.0.0.7:1 > 10.0.0.4:9");
  REQUIRE(sw->set_capture(handle("b"), CaptureMode::off, 0).ok());
  send("b", "udp 10.0.0.7:1 > 10.0.0.4:9");
  CHECK(drain().empty());
}

}  // namespace
}  // namespace weft::test
