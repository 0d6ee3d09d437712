// Policy on what flows already: what a change ends, and what nobody can bring back or slip in beside it.
#include <doctest/doctest.h>

#include "judged_world.h"

namespace weft::test {
namespace {

TEST_CASE_FIXTURE(Judged, "a connection that one end gave up is no way in for the other") {
  play({
      {"b", "tcp 10.0.0.2:1000 > 10.0.0.4:80 S", "d: tcp 10.0.0.2:1000 > 10.0.0.4:80 S"},
      {"d", "tcp 10.0.0.4:80 > 10.0.0.2:1000 SA seq 5 ack 1001", "b: tcp 10.0.0.4:80 > 10.0.0.2:1000 SA"},
      {"b", "tcp 10.0.0.2:1000 > 10.0.0.4:80 A seq 1001 ack 6", "d: tcp 10.0.0.2:1000 > 10.0.0.4:80 A"},
      {"d", "tcp 10.0.0.4:80 > 10.0.0.2:1000 S seq 90000", "b: tcp 10.0.0.4:80 > 10.0.0.2:1000 S"},
      {"b", "tcp 10.0.0.2:1000 > 10.0.0.4:80 SA seq 2000000000 ack 90001", "drop conntrack-invalid"},
      {"d", "tcp 10.0.0.4:80 > 10.0.0.2:1000 S seq 90000", "drop policy-ingress"},
  });
}

TEST_CASE_FIXTURE(
    Judged, "a policy change ends the connections that it forbids at their next packet, from either side") {
  play({
      {"a", "tcp 10.0.0.1:1000 > 10.0.0.2:80 S", "b: tcp 10.0.0.1:1000 > 10.0.0.2:80 S"},
      {"b", "tcp 10.0.0.2:80 > 10.0.0.1:1000 SA seq 500 ack 1001", "a: tcp 10.0.0.2:80 > 10.0.0.1:1000 SA"},
      {"a", "tcp 10.0.0.1:1000 > 10.0.0.2:80 A seq 1001 ack 501", "b: tcp 10.0.0.1:1000 > 10.0.0.2:80 A"},
      {"a", "tcp 10.0.0.1:2000 > 10.0.0.2:80 S", "b: tcp 10.0.0.1:2000 > 10.0.0.2:80 S"},
  });
  // The same rules again: nothing happens to what flows.
  sw->set_image(image.load());
  play({{"b", "tcp 10.0.0.2:80 > 10.0.0.1:1000 A seq 501 ack 1001 len 9",
         "a: tcp 10.0.0.2:80 > 10.0.0.1:1000 A len 9"},
        {"a", "tcp 10.0.0.1:1000 > 10.0.0.2:80 A seq 1001 ack 510", "b: tcp 10.0.0.1:1000 > 10.0.0.2:80 A"}});
  ImageBuilder closed = image;
  closed.isolate(b, Direction::ingress, {});
  sw->set_image(closed.load());
  play({{"b", "tcp 10.0.0.2:80 > 10.0.0.1:1000 A seq 510 ack 1001", "drop policy-ingress"}});
  // Forbidden, it stays known: forgotten, b's next segment would be picked up as a connection that b began.
  play({{"b", "tcp 10.0.0.2:80 > 10.0.0.1:1000 A seq 510 ack 1001", "drop policy-ingress"}});
  play({{"a", "tcp 10.0.0.1:1000 > 10.0.0.2:80 A seq 1001 ack 510", "drop policy-ingress"},
        {"a", "tcp 10.0.0.1:2000 > 10.0.0.2:80 S", "drop policy-ingress"}});
  sw->set_image(image.load());
  play({{"a", "tcp 10.0.0.1:1000 > 10.0.0.2:80 A seq 1001 ack 510", "b: tcp 10.0.0.1:1000 > 10.0.0.2:80 A"}});
  CHECK(std::string(table->check() == nullptr ? "" : table->check()) == "");
}

TEST_CASE_FIXTURE(Judged, "after a change to egress a reply does not keep the connection alive either") {
  play({{"c", "udp 10.0.0.3:9 > 10.0.0.4:53", "d: udp 10.0.0.3:9 > 10.0.0.4:53"}});
  ImageBuilder closed = image;
  closed.isolate(c, Direction::egress, {});
  sw->set_image(closed.load());
  flows();
  // The reply is judged as what it answers: c's question, which c may no longer ask.
  play({{"d", "udp 10.0.0.4:53 > 10.0.0.3:9", "drop policy-egress"},
        {"d", "udp 10.0.0.4:53 > 10.0.0.3:9", "drop policy-egress"}});
  const std::vector<FlowEvent> events = flows();
  // When the question is forgotten, d may speak to c on its own account.
  pass(31'000'000'000);
  play({{"d", "udp 10.0.0.4:53 > 10.0.0.3:9", "c: udp 10.0.0.4:53 > 10.0.0.3:9"}});
  REQUIRE(events.size() == 2);
  CHECK(events[0].verdict == FlowVerdict::denied);
  CHECK(to_string(events[0].tuple.source) == "10.0.0.3");
  CHECK(events[0].tuple.destination_port == 53);
  CHECK(events[0].in_port == handle("c").index);
  CHECK(events[0].out_port == handle("d").index);
  CHECK(events[0].source_class == 1 + c);
}

TEST_CASE_FIXTURE(Judged, "a server that goes on sending does not bring a forbidden connection back") {
  const std::string data = "tcp 10.0.0.2:80 > 10.0.0.1:1000 A seq 501 ack 1001 len 9";
  play({
      {"a", "tcp 10.0.0.1:1000 > 10.0.0.2:80 S", "b: tcp 10.0.0.1:1000 > 10.0.0.2:80 S"},
      {"b", "tcp 10.0.0.2:80 > 10.0.0.1:1000 SA seq 500 ack 1001", "a: tcp 10.0.0.2:80 > 10.0.0.1:1000 SA"},
      {"a", "tcp 10.0.0.1:1000 > 10.0.0.2:80 A seq 1001 ack 501", "b: tcp 10.0.0.1:1000 > 10.0.0.2:80 A"},
  });
  ImageBuilder closed = image;
  closed.isolate(b, Direction::ingress, {});
  sw->set_image(closed.load());
  // As long as its TCP sends again, however rarely, over a restart of the switch, and also where the client
  // tries to make the switch forget by a SYN.
  for (int i = 0; i < 8; ++i) {
    play({{"b", data, "drop policy-ingress"},
          {"a", "tcp 10.0.0.1:1000 > 10.0.0.2:80 S seq 5000", "drop policy-ingress"}});
    if (i == 4) {
      restart();
      sw->set_image(closed.load());
    }
    pass(7'300'000'000'000);
  }
  play({{"a", "tcp 10.0.0.1:1000 > 10.0.0.2:80 A seq 1001 ack 510", "drop policy-ingress"}});
  // On the same ports b may begin a connection to a, which is another one.
  play({{"b", "tcp 10.0.0.2:80 > 10.0.0.1:1000 S", "a: tcp 10.0.0.2:80 > 10.0.0.1:1000 S"},
        {"a", "tcp 10.0.0.1:1000 > 10.0.0.2:80 SA ack 1001", "b: tcp 10.0.0.1:1000 > 10.0.0.2:80 SA"}});
}

TEST_CASE_FIXTURE(Judged, "a reset that the receiver need not believe does not make the switch forget") {
  play({
      {"a", "tcp 10.0.0.1:1000 > 10.0.0.2:80 S", "b: tcp 10.0.0.1:1000 > 10.0.0.2:80 S"},
      {"b", "tcp 10.0.0.2:80 > 10.0.0.1:1000 SA seq 500 ack 1001", "a: tcp 10.0.0.2:80 > 10.0.0.1:1000 SA"},
      {"a", "tcp 10.0.0.1:1000 > 10.0.0.2:80 A seq 1001 ack 501 len 100",
       "b: tcp 10.0.0.1:1000 > 10.0.0.2:80 A len 100"},
      {"b", "tcp 10.0.0.2:80 > 10.0.0.1:1000 A seq 501 ack 1101", "a: tcp 10.0.0.2:80 > 10.0.0.1:1000 A"},
      // In the window, but not what b expects next; and a fragment that never gets whole.
      {"a", "tcp 10.0.0.1:1000 > 10.0.0.2:80 R seq 1150", "b: tcp 10.0.0.1:1000 > 10.0.0.2:80 R"},
      {"a", "tcp 10.0.0.1:1000 > 10.0.0.2:80 R seq 1101 frag 7@0+ len 20",
       "b: tcp 10.0.0.1:1000 > 10.0.0.2:80 R len 20 frag 7@0+"},
  });
  // Right, but for its checksum.
  Bytes broken = frame(link("a"), "tcp 10.0.0.1:1000 > 10.0.0.2:80 R seq 1101");
  ip_of(broken)[20 + 16] ^= 0x55;
  CHECK_EQ(send("a", broken), "drop transport-checksum");
  pass(20'000'000'000);
  const FlowTuple key = {Address::v4(0x0a000001), Address::v4(0x0a000002), 1000, 80, kTcp, 4, 0};
  const Lookup found = table->find(key, clock.now.load());
  CHECK(found.hit());
  CHECK(found.state == State::tcp_established);
  CHECK(found.side == Side::original);
  play({{"a", "tcp 10.0.0.1:1000 > 10.0.0.2:80 R seq 1101", "b: tcp 10.0.0.1:1000 > 10.0.0.2:80 R"}});
  CHECK(table->find(key, clock.now.load()).state == State::tcp_closed);
}

TEST_CASE_FIXTURE(Judged, "a connection picked up mid-stream is judged in its packet's own direction") {
  play({
      {"a", "tcp 10.0.0.1:1000 > 10.0.0.2:80 A ack 7 len 5", "b: tcp 10.0.0.1:1000 > 10.0.0.2:80 A len 5"},
      {"b", "tcp 10.0.0.2:80 > 10.0.0.1:1000 A seq 7 ack 1005", "a: tcp 10.0.0.2:80 > 10.0.0.1:1000 A"},
      {"d", "tcp 10.0.0.4:80 > 10.0.0.2:5000 A ack 7 len 5", "drop policy-ingress"},
      {"b", "tcp 10.0.0.2:5000 > 10.0.0.4:80 A ack 7 len 5", "d: tcp 10.0.0.2:5000 > 10.0.0.4:80 A len 5"},
      {"a", "tcp 10.0.0.1:1001 > 10.0.0.2:80 R", "drop conntrack-invalid"},
      {"a", "tcp 10.0.0.1:1001 > 10.0.0.2:80 SA ack 5", "drop conntrack-invalid"},
      {"a", "icmp 10.0.0.1 > 10.0.0.2 error 3/3 quoting udp 10.0.0.2:1 > 10.0.0.1:2", "drop icmp-unrelated"},
  });
}

TEST_CASE_FIXTURE(Judged,
                  "a flow to an address that becomes a pod of this node does not stay with the host") {
  play({{"d", "udp 10.0.0.4:1 > 10.0.0.9:2", "host: udp 10.0.0.4:1 > 10.0.0.9:2"}});
  image.isolate(image.pod({"10.0.0.9"}), Direction::ingress, {{.protocol = kUdp, .first = 2, .last = 2}});
  sw->set_image(image.load());
  play({{"d", "udp 10.0.0.4:1 > 10.0.0.9:2",
         "d: icmp 169.254.1.1 > 10.0.0.4 error 3/1 quoting udp 10.0.0.4:1 > 10.0.0.9:2; drop no-route"}});
  add("e", {"10.0.0.9"});
  play({{"d", "udp 10.0.0.4:1 > 10.0.0.9:2", "e: udp 10.0.0.4:1 > 10.0.0.9:2"}});
}

}  // namespace
}  // namespace weft::test
