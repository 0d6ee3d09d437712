// Policy on packets: who is judged, who is exempt, what a policy change does to what is already flowing.
#include <doctest/doctest.h>

#include <algorithm>

#include "switch_harness.h"

namespace weft::test {
namespace {

constexpr uint8_t kTcp = 6, kUdp = 17;

// a → b:80/TCP is all that b lets in; c may send nothing but DNS to b; d is free.
struct Judged : Harness {
  ImageBuilder image;
  uint32_t a = 0, b = 0, c = 0, d = 0;
  Judged() {
    add("a", {"10.0.0.1", "fd00::1"});
    add("b", {"10.0.0.2", "fd00::2"});
    add("c", {"10.0.0.3"});
    add("d", {"10.0.0.4"});
    add("host", {"192.168.0.1"}, {.kind = PortKind::host});
    a = image.pod({"10.0.0.1", "fd00::1"});
    b = image.pod({"10.0.0.2", "fd00::2"});
    c = image.pod({"10.0.0.3"});
    d = image.pod({"10.0.0.4"});
    image.pod({"10.1.0.9"}, false);
    image.own_node("192.168.0.1");
    image.other_node("192.168.0.2");
    image.isolate(b, Direction::ingress, {{.peer = a, .protocol = kTcp, .first = 80, .last = 80}});
    image.isolate(c, Direction::egress, {{.peer = d, .protocol = kUdp, .first = 53, .last = 53}});
    sw->set_image(image.load());
  }
};

TEST_CASE_FIXTURE(
    Judged, "both directions are judged, replies follow, and protocols without ports need a rule for all") {
  play({
      {"a", "tcp 10.0.0.1:1000 > 10.0.0.2:80 S", "b: tcp 10.0.0.1:1000 > 10.0.0.2:80 S"},
      {"b", "tcp 10.0.0.2:80 > 10.0.0.1:1000 SA ack 1001", "a: tcp 10.0.0.2:80 > 10.0.0.1:1000 SA"},
      {"a", "tcp 10.0.0.1:1000 > 10.0.0.2:81 S", "drop policy-ingress"},
      {"a", "udp 10.0.0.1:1000 > 10.0.0.2:80", "drop policy-ingress"},
      {"a", "icmp 10.0.0.1 > 10.0.0.2 echo 1", "drop policy-ingress"},
      {"a", "tcp [fd00::1]:1000 > [fd00::2]:80 S", "b: tcp [fd00::1]:1000 > [fd00::2]:80 S"},
      {"d", "tcp 10.0.0.4:1000 > 10.0.0.2:80 S", "drop policy-ingress"},
      {"b", "tcp 10.0.0.2:1000 > 10.0.0.4:80 S", "d: tcp 10.0.0.2:1000 > 10.0.0.4:80 S"},
      {"d", "tcp 10.0.0.4:80 > 10.0.0.2:1000 SA ack 1001", "b: tcp 10.0.0.4:80 > 10.0.0.2:1000 SA"},
      {"c", "udp 10.0.0.3:9 > 10.0.0.4:53", "d: udp 10.0.0.3:9 > 10.0.0.4:53"},
      {"d", "udp 10.0.0.4:53 > 10.0.0.3:9 len 4", "c: udp 10.0.0.4:53 > 10.0.0.3:9 len 4"},
      {"c", "udp 10.0.0.3:9 > 10.0.0.4:54", "drop policy-egress"},
      {"c", "tcp 10.0.0.3:9 > 10.0.0.4:53 S", "drop policy-egress"},
      {"c", "icmp 10.0.0.3 > 10.0.0.4 echo 1", "drop policy-egress"},
      {"c", "udp 10.0.0.3:9 > 1.1.1.1:53", "drop policy-egress"},
      {"d", "icmp 10.0.0.4 > 10.0.0.3 echo 1", "c: icmp 10.0.0.4 > 10.0.0.3 echo 1"},
      {"c", "icmp 10.0.0.3 > 10.0.0.4 reply 1", "d: icmp 10.0.0.3 > 10.0.0.4 reply 1"},
      {"c", "icmp 10.0.0.3 > 10.0.0.4 reply 2", "drop conntrack-invalid"},
  });
}

TEST_CASE_FIXTURE(Judged,
                  "the own node's sockets may always come in; nobody else who comes by the host port may") {
  play({
      {"host", "tcp 192.168.0.1:999 > 10.0.0.2:22 S", "b: tcp 192.168.0.1:999 > 10.0.0.2:22 S"},
      {"host", "tcp 192.168.0.2:999 > 10.0.0.2:80 S", "drop policy-ingress"},
      {"host", "tcp 10.1.0.9:999 > 10.0.0.2:80 S", "drop policy-ingress"},
      {"host", "tcp 8.8.8.8:999 > 10.0.0.2:80 S", "drop policy-ingress"},
      {"host", "tcp 8.8.8.8:999 > 10.0.0.4:80 S", "d: tcp 8.8.8.8:999 > 10.0.0.4:80 S"},
      {"host", "tcp 10.0.0.1:999 > 10.0.0.2:80 S", "drop spoof-ip"},
  });
}

TEST_CASE_FIXTURE(
    Judged, "a pod may always reach its own node, unless configured otherwise, and never another for free") {
  play({
      {"c", "tcp 10.0.0.3:9 > 192.168.0.1:10250 S", "host: tcp 10.0.0.3:9 > 192.168.0.1:10250 S"},
      {"c", "tcp 10.0.0.3:9 > 192.168.0.2:10250 S", "drop policy-egress"},
  });
  image.judge_own_node = true;
  sw->set_image(image.load());
  play({{"c", "tcp 10.0.0.3:10 > 192.168.0.1:10250 S", "drop policy-egress"}});
}

TEST_CASE_FIXTURE(
    Judged,
    "what the host masquerades is not the node: judged like a stranger, replied to by the host port") {
  image.forwarded("10.0.0.254");
  image.isolate(d, Direction::ingress, {{.peer = ImageBuilder::kEverybody, .first = 80, .last = 80}});
  image.isolate(c, Direction::egress, {});
  sw->set_image(image.load());
  play({
      {"host", "tcp 192.168.0.1:1 > 10.0.0.2:443 S", "b: tcp 192.168.0.1:1 > 10.0.0.2:443 S"},
      {"host", "tcp 10.0.0.254:1 > 10.0.0.2:443 S", "drop policy-ingress"},
      {"host", "tcp 10.0.0.254:1 > 10.0.0.2:80 S", "drop policy-ingress"},
      {"host", "tcp 10.0.0.254:1 > 10.0.0.4:80 S", "d: tcp 10.0.0.254:1 > 10.0.0.4:80 S"},
      {"d", "tcp 10.0.0.4:80 > 10.0.0.254:1 SA ack 1001", "host: tcp 10.0.0.4:80 > 10.0.0.254:1 SA"},
      {"host", "tcp 10.0.0.254:1 > 10.0.0.1:80 S", "a: tcp 10.0.0.254:1 > 10.0.0.1:80 S"},
      {"c", "tcp 10.0.0.3:9 > 10.0.0.254:10250 S", "host: tcp 10.0.0.3:9 > 10.0.0.254:10250 S"},
  });
}

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

TEST_CASE_FIXTURE(Judged, "a pod that the image does not know sends and gets nothing") {
  add("new", {"10.0.0.5"});
  play({
      {"new", "udp 10.0.0.5:1 > 10.0.0.4:2", "drop unknown-port-address"},
      {"d", "udp 10.0.0.4:1 > 10.0.0.5:2", "drop unknown-port-address"},
      {"host", "udp 192.168.0.1:1 > 10.0.0.5:2", "drop unknown-port-address"},
      {"host", "udp 10.0.0.5:1 > 10.0.0.4:2", "drop spoof-ip"},
      {"new", "udp 10.0.0.5:1 > 1.1.1.1:2", "drop unknown-port-address"},
      {"new", "icmp 10.0.0.5 > 169.254.1.1 echo 1", "new: icmp 169.254.1.1 > 10.0.0.5 reply 1"},
  });
  image.pod({"10.0.0.5"});
  sw->set_image(image.load());
  play({{"new", "udp 10.0.0.5:1 > 10.0.0.4:2", "d: udp 10.0.0.5:1 > 10.0.0.4:2"}});
}

TEST_CASE_FIXTURE(Judged, "a local pod whose port is not there is nowhere, and is not sent to the host") {
  image.pod({"10.0.0.6"});
  sw->set_image(image.load());
  play({{"d", "udp 10.0.0.4:1 > 10.0.0.6:2",
         "d: icmp 169.254.1.1 > 10.0.0.4 error 3/1 quoting udp 10.0.0.4:1 > 10.0.0.6:2; drop no-route"},
        {"host", "udp 10.0.0.6:1 > 10.0.0.4:2", "drop spoof-ip"}});
}

TEST_CASE_FIXTURE(Judged, "a link-local IPv4 address is forwarded only where it is the own node's") {
  play({{"d", "udp 10.0.0.4:1 > 169.254.20.10:53", "drop link-local"}});
  image.own_node("169.254.20.10");
  sw->set_image(image.load());
  play({{"d", "udp 10.0.0.4:1 > 169.254.20.10:53", "host: udp 10.0.0.4:1 > 169.254.20.10:53"}});
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

TEST_CASE_FIXTURE(Judged, "a ping with identifier 0 does not let the other end ping back") {
  play({{"d", "icmp 10.0.0.4 > 10.0.0.3 echo 0", "c: icmp 10.0.0.4 > 10.0.0.3 echo 0"},
        {"c", "icmp 10.0.0.3 > 10.0.0.4 reply 0", "d: icmp 10.0.0.3 > 10.0.0.4 reply 0"},
        {"c", "icmp 10.0.0.3 > 10.0.0.4 echo 0", "drop policy-egress"}});
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

TEST_CASE_FIXTURE(
    Judged,
    "ICMP errors about a connection pass where policy lets no ICMP in, and only to whom they concern") {
  play({
      {"b", "udp 10.0.0.2:7 > 10.0.0.4:9 len 20", "d: udp 10.0.0.2:7 > 10.0.0.4:9 len 20"},
      {"d", "icmp 10.0.0.4 > 10.0.0.2 error 3/3 quoting udp 10.0.0.2:7 > 10.0.0.4:9 len 20",
       "b: icmp 10.0.0.4 > 10.0.0.2 error 3/3 quoting udp 10.0.0.2:7 > 10.0.0.4:9"},
      {"d", "icmp 10.0.0.4 > 10.0.0.2 error 3/3 quoting udp 10.0.0.2:7 > 10.0.0.4:10 len 20",
       "drop icmp-unrelated"},
      {"d", "icmp 10.0.0.4 > 10.0.0.1 error 3/3 quoting udp 10.0.0.2:7 > 10.0.0.4:9 len 20",
       "drop icmp-unrelated"},
      {"a", "icmp 10.0.0.1 > 10.0.0.2 error 3/3 quoting udp 10.0.0.2:7 > 10.0.0.4:9 len 20",
       "drop icmp-unrelated"},
      {"b", "udp 10.0.0.2:7 > 1.1.1.1:9 len 20", "host: udp 10.0.0.2:7 > 1.1.1.1:9 len 20"},
      {"host", "icmp 9.9.9.9 > 10.0.0.2 error 3/4 mtu 1400 quoting udp 10.0.0.2:7 > 1.1.1.1:9 len 20",
       "b: icmp 9.9.9.9 > 10.0.0.2 error 3/4 mtu 1400 quoting udp 10.0.0.2:7 > 1.1.1.1:9"},
      {"d", "icmp 10.0.0.4 > 10.0.0.2 error 5/1 mtu 1 quoting udp 10.0.0.2:7 > 10.0.0.4:9 len 20",
       "drop router-advertisement"},
  });
}

TEST_CASE_FIXTURE(Judged, "where policy is configured to reject, the sender is told at once") {
  image.reject_ingress = true;
  sw->set_image(image.load());
  play({
      {"d", "tcp 10.0.0.4:1000 > 10.0.0.2:80 S",
       "d: tcp 10.0.0.2:80 > 10.0.0.4:1000 RA; drop policy-ingress"},
      {"d", "udp 10.0.0.4:1000 > 10.0.0.2:80",
       "d: icmp 169.254.1.1 > 10.0.0.4 error 3/13 quoting udp 10.0.0.4:1000 > 10.0.0.2:80; drop "
       "policy-ingress"},
      {"c", "udp 10.0.0.3:9 > 10.0.0.4:54", "drop policy-egress"},
  });
  image.reject_egress = true;
  sw->set_image(image.load());
  play({{"c", "tcp 10.0.0.3:9 > 10.0.0.4:54 S", "c: tcp 10.0.0.4:54 > 10.0.0.3:9 RA; drop policy-egress"}});
}

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
