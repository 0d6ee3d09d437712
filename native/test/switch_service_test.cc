// Services: translated before policy, both ways, hairpin, affinity, nobody there.
#include <doctest/doctest.h>

#include <set>

#include "switch_harness.h"

namespace weft::test {
namespace {

constexpr uint8_t kTcp = 6, kUdp = 17, kSctp = 132;

// The service 10.96.0.1 has b; 10.96.0.2 has b, d and a remote pod; 10.96.0.3 has a itself; 10.96.0.4 has
// nobody.
struct Balanced : Harness {
  ImageBuilder image;
  uint32_t b = 0;
  Balanced() {
    add("a", {"10.0.0.1", "fd00::1"});
    add("b", {"10.0.0.2", "fd00::2"});
    add("d", {"10.0.0.4"});
    add("host", {"192.168.0.1"}, {.kind = PortKind::host});
    image.pod({"10.0.0.1", "fd00::1"});
    b = image.pod({"10.0.0.2", "fd00::2"});
    image.pod({"10.0.0.4"});
    image.pod({"10.1.0.9"}, false);
    image.own_node("192.168.0.1");
    for (uint8_t protocol : {kTcp, kUdp, kSctp})
      image.service("10.96.0.1", 80, protocol, {{"10.0.0.2", 8080}});
    image.service("fd96::1", 80, kTcp, {{"fd00::2", 8080}});
    image.service("10.96.0.2", 80, kTcp, {{"10.0.0.2", 8080}, {"10.0.0.4", 8080}, {"10.1.0.9", 8080}});
    image.service("10.96.0.3", 80, kTcp, {{"10.0.0.1", 8080}});
    image.service("fd96::3", 80, kTcp, {{"fd00::1", 8080}});
    image.service("10.96.0.4", 80, kTcp, {});
    image.service("10.96.0.4", 80, kUdp, {});
    image.service("10.96.0.5", 80, kTcp, {{"10.0.0.2", 8080}, {"10.0.0.4", 8080}, {"10.1.0.9", 8080}}, 60);
    image.service("192.168.0.1", 30080, kTcp, {{"10.0.0.4", 8080}});
    sw->set_image(image.load());
  }
};

TEST_CASE_FIXTURE(Balanced, "a service's address is translated to the pod's and back") {
  play({
      {"a", "tcp 10.0.0.1:1000 > 10.96.0.1:80 S", "b: tcp 10.0.0.1:1000 > 10.0.0.2:8080 S"},
      {"b", "tcp 10.0.0.2:8080 > 10.0.0.1:1000 SA ack 1001", "a: tcp 10.96.0.1:80 > 10.0.0.1:1000 SA"},
      {"a", "udp 10.0.0.1:1000 > 10.96.0.1:80 len 9", "b: udp 10.0.0.1:1000 > 10.0.0.2:8080 len 9"},
      {"b", "udp 10.0.0.2:8080 > 10.0.0.1:1000 len 8", "a: udp 10.96.0.1:80 > 10.0.0.1:1000 len 8"},
      {"a", "sctp 10.0.0.1:1000 > 10.96.0.1:80 INIT", "b: sctp 10.0.0.1:1000 > 10.0.0.2:8080 INIT"},
      {"b", "sctp 10.0.0.2:8080 > 10.0.0.1:1000 INIT_ACK", "a: sctp 10.96.0.1:80 > 10.0.0.1:1000 INIT_ACK"},
      {"a", "tcp [fd00::1]:1000 > [fd96::1]:80 S", "b: tcp [fd00::1]:1000 > [fd00::2]:8080 S"},
      {"b", "tcp [fd00::2]:8080 > [fd00::1]:1000 SA ack 1001", "a: tcp [fd96::1]:80 > [fd00::1]:1000 SA"},
      {"a", "tcp 10.0.0.1:1001 > 192.168.0.1:30080 S", "d: tcp 10.0.0.1:1001 > 10.0.0.4:8080 S"},
      {"d", "tcp 10.0.0.4:8080 > 10.0.0.1:1001 SA ack 1001", "a: tcp 192.168.0.1:30080 > 10.0.0.1:1001 SA"},
  });
}

TEST_CASE_FIXTURE(Balanced, "a client may reach the same pod by its service and directly from one port") {
  // The reply's tuple is taken by the direct connection: the translated one gets another source port, and its
  // client does not notice.
  play({{"a", "udp 10.0.0.1:1000 > 10.0.0.2:8080 len 1", "b: udp 10.0.0.1:1000 > 10.0.0.2:8080 len 1"}});
  const std::string sent = send("a", "udp 10.0.0.1:1000 > 10.96.0.1:80 len 2");
  REQUIRE(sent.rfind("b: udp 10.0.0.1:", 0) == 0);
  const std::string port = sent.substr(16, sent.find(' ', 7) - 16);
  CHECK(port != "1000");
  play({{"b", "udp 10.0.0.2:8080 > 10.0.0.1:" + port + " len 3", "a: udp 10.96.0.1:80 > 10.0.0.1:1000 len 3"},
        {"b", "udp 10.0.0.2:8080 > 10.0.0.1:1000 len 4", "a: udp 10.0.0.2:8080 > 10.0.0.1:1000 len 4"}});
}

TEST_CASE_FIXTURE(Balanced, "policy sees the pod and its port, not the service") {
  image.isolate(b, Direction::ingress, {{.protocol = kTcp, .first = 80, .last = 80}});
  sw->set_image(image.load());
  play({{"a", "tcp 10.0.0.1:1000 > 10.96.0.1:80 S", "drop policy-ingress"}});
  ImageBuilder open = image;
  open.isolate(b, Direction::ingress, {{.protocol = kTcp, .first = 8080, .last = 8080}});
  sw->set_image(open.load());
  play({{"a", "tcp 10.0.0.1:1000 > 10.96.0.1:80 S", "b: tcp 10.0.0.1:1000 > 10.0.0.2:8080 S"}});
}

TEST_CASE_FIXTURE(Balanced, "a re-judged connection keeps its backend, and ends when policy forbids that") {
  play({{"a", "tcp 10.0.0.1:1000 > 10.96.0.1:80 S", "b: tcp 10.0.0.1:1000 > 10.0.0.2:8080 S"},
        {"b", "tcp 10.0.0.2:8080 > 10.0.0.1:1000 SA seq 5 ack 1001",
         "a: tcp 10.96.0.1:80 > 10.0.0.1:1000 SA"}});
  ImageBuilder moved = image;  // the service now leads elsewhere, but this connection does not
  moved.service("10.96.0.9", 80, kTcp, {{"10.0.0.4", 1}});
  sw->set_image(moved.load());
  play(
      {{"a", "tcp 10.0.0.1:1000 > 10.96.0.1:80 A seq 1001 ack 6", "b: tcp 10.0.0.1:1000 > 10.0.0.2:8080 A"}});
  moved.isolate(b, Direction::ingress, {});
  sw->set_image(moved.load());
  play({{"b", "tcp 10.0.0.2:8080 > 10.0.0.1:1000 A seq 6 ack 1001", "drop policy-ingress"},
        {"a", "tcp 10.0.0.1:1000 > 10.96.0.1:80 A seq 1001 ack 6", "drop policy-ingress"}});
}

TEST_CASE_FIXTURE(Balanced, "datagrams and unanswered attempts follow their service to another backend") {
  ImageBuilder other;
  other.pod({"10.0.0.1", "fd00::1"});
  other.pod({"10.0.0.2", "fd00::2"});
  other.pod({"10.0.0.4"});
  other.own_node("192.168.0.1");
  other.service("10.96.0.1", 80, kUdp, {{"10.0.0.4", 8080}});
  other.service("10.96.0.1", 80, kTcp, {{"10.0.0.4", 8080}});
  other.service("10.96.0.77", 80, kUdp, {{"10.0.0.4", 8080}});
  play({
      {"a", "udp 10.0.0.1:1 > 10.96.0.1:80", "b: udp 10.0.0.1:1 > 10.0.0.2:8080"},
      {"b", "udp 10.0.0.2:8080 > 10.0.0.1:1", "a: udp 10.96.0.1:80 > 10.0.0.1:1"},
      {"a", "tcp 10.0.0.1:1 > 10.96.0.1:80 S", "b: tcp 10.0.0.1:1 > 10.0.0.2:8080 S"},
      // Not a Service's address yet: the world's.
      {"a", "udp 10.0.0.1:7 > 10.96.0.77:80", "host: udp 10.0.0.1:7 > 10.96.0.77:80"},
  });
  sw->set_image(other.load());
  play({
      {"a", "udp 10.0.0.1:1 > 10.96.0.1:80", "d: udp 10.0.0.1:1 > 10.0.0.4:8080"},
      {"a", "tcp 10.0.0.1:1 > 10.96.0.1:80 S", "d: tcp 10.0.0.1:1 > 10.0.0.4:8080 S"},
      {"a", "udp 10.0.0.1:7 > 10.96.0.77:80", "d: udp 10.0.0.1:7 > 10.0.0.4:8080"},
  });
}

TEST_CASE_FIXTURE(Balanced, "new connections spread over all backends, remote ones by way of the host") {
  std::set<std::string> to;
  for (int i = 0; i < 60; ++i) {
    const std::string out = send("a", "tcp 10.0.0.1:" + std::to_string(2000 + i) + " > 10.96.0.2:80 S");
    to.insert(out.substr(0, out.find(':')));
  }
  CHECK(to == std::set<std::string>{"b", "d", "host"});
}

TEST_CASE_FIXTURE(Balanced, "with affinity a client stays with its backend until the time is over") {
  std::set<std::string> to;
  const auto connect = [&](int port) {
    const std::string out = send("a", "tcp 10.0.0.1:" + std::to_string(port) + " > 10.96.0.5:80 S");
    to.insert(out.substr(0, out.find(':')));
  };
  for (int i = 0; i < 40; ++i) connect(3000 + i);
  CHECK(to.size() == 1);
  for (int i = 0; i < 60; ++i) {
    pass(61'000'000'000);
    connect(4000 + i);
  }
  CHECK(to.size() == 3);
}

TEST_CASE_FIXTURE(Balanced,
                  "a pod reaches itself by its service, whatever policy says, and sees the gateway") {
  image.isolate(0, Direction::ingress, {});
  image.isolate(0, Direction::egress, {});
  sw->set_image(image.load());
  play({
      {"a", "tcp 10.0.0.1:1000 > 10.96.0.3:80 S", "a: tcp 169.254.1.1:1000 > 10.0.0.1:8080 S"},
      {"a", "tcp 10.0.0.1:8080 > 169.254.1.1:1000 SA ack 1001", "a: tcp 10.96.0.3:80 > 10.0.0.1:1000 SA"},
      {"a", "tcp [fd00::1]:1000 > [fd96::3]:80 S", "a: tcp [100::1]:1000 > [fd00::1]:8080 S"},
      {"a", "tcp [fd00::1]:8080 > [100::1]:1000 SA ack 1001", "a: tcp [fd96::3]:80 > [fd00::1]:1000 SA"},
      {"a", "tcp 10.0.0.1:1000 > 10.96.0.1:80 S", "drop policy-egress"},
  });
}

TEST_CASE_FIXTURE(Balanced,
                  "a service without endpoints is refused at once, and so is a port that it does not have") {
  play({
      {"a", "tcp 10.0.0.1:1000 > 10.96.0.4:80 S",
       "a: tcp 10.96.0.4:80 > 10.0.0.1:1000 RA; drop service-no-endpoint"},
      {"a", "udp 10.0.0.1:1000 > 10.96.0.4:80",
       "a: icmp 169.254.1.1 > 10.0.0.1 error 3/3 quoting udp 10.0.0.1:1000 > 10.96.0.4:80; drop "
       "service-no-endpoint"},
      {"a", "udp 10.0.0.1:1000 > 10.96.0.4:81",
       "a: icmp 169.254.1.1 > 10.0.0.1 error 3/3 quoting udp 10.0.0.1:1000 > 10.96.0.4:81; drop "
       "service-port"},
      {"a", "tcp 10.0.0.1:1000 > 10.96.0.4:81 S",
       "a: tcp 10.96.0.4:81 > 10.0.0.1:1000 RA; drop service-port"},
      {"a", "icmp 10.0.0.1 > 10.96.0.4 echo 7",
       "a: icmp 169.254.1.1 > 10.0.0.1 error 3/3 quoting icmp 10.0.0.1 > 10.96.0.4 echo 7; drop "
       "service-port"},
      {"host", "tcp 192.168.0.1:1 > 10.96.0.1:80 S",
       "host: tcp 10.96.0.1:80 > 192.168.0.1:1 RA; drop no-route"},
  });
}

TEST_CASE_FIXTURE(Balanced, "without an endpoint where the traffic policy asks for one packets are dropped") {
  image.service("10.96.0.6", 80, kTcp, {}, 0, {.drops = true});
  sw->set_image(image.load());
  play({{"a", "tcp 10.0.0.1:1000 > 10.96.0.6:80 S", "drop service-no-local-endpoint"}});
}

TEST_CASE_FIXTURE(Balanced, "a load balancer's address takes packets of its source ranges only") {
  const ImageBuilder::Backends to = {{"10.0.0.2", 8080}};
  image.service("203.0.113.1", 80, kTcp, to, 0, {.sources = {{"10.9.0.0", 112}, {"10.0.0.0", 127}}});
  image.service("203.0.113.2", 80, kTcp, to, 0, {.sources = {{"10.9.0.0", 112}, {"::", 0}}});
  image.service("203.0.113.3", 80, kTcp, to, 0, {.sources = {{"0.0.0.0", 96}}});
  image.service("fd96::9", 80, kTcp, {{"fd00::2", 8080}}, 0, {.sources = {{"0.0.0.0", 96}}});
  image.service("fd96::8", 80, kTcp, {{"fd00::2", 8080}}, 0, {.sources = {{"fd00::", 16}}});
  sw->set_image(image.load());
  play({
      {"a", "tcp 10.0.0.1:1 > 203.0.113.1:80 S", "b: tcp 10.0.0.1:1 > 10.0.0.2:8080 S"},
      {"d", "tcp 10.0.0.4:1 > 203.0.113.1:80 S", "drop service-source-range"},
      {"a", "tcp 10.0.0.1:2 > 203.0.113.2:80 S", "drop service-source-range"},
      {"a", "tcp 10.0.0.1:3 > 203.0.113.3:80 S", "b: tcp 10.0.0.1:3 > 10.0.0.2:8080 S"},
      {"a", "tcp [fd00::1]:1 > [fd96::9]:80 S", "drop service-source-range"},
      {"a", "tcp [fd00::1]:1 > [fd96::8]:80 S", "b: tcp [fd00::1]:1 > [fd00::2]:8080 S"},
  });
}

TEST_CASE_FIXTURE(Balanced, "affinity is a service port's, whichever of its addresses a client uses") {
  const ImageBuilder::Backends three = {{"10.0.0.2", 8080}, {"10.0.0.4", 8080}, {"10.1.0.9", 8080}};
  for (const char* front : {"10.96.0.20", "203.0.113.20"})
    image.service(front, 80, kTcp, three, 60, {.key = 77});
  sw->set_image(image.load());
  std::set<std::string> to;
  for (int i = 0; i < 40; ++i) {
    const char* front = i % 2 == 0 ? "10.96.0.20" : "203.0.113.20";
    const std::string out = send("a", "tcp 10.0.0.1:" + std::to_string(2000 + i) + " > " + front + ":80 S");
    to.insert(out.substr(0, out.find(':')));
  }
  CHECK(to.size() == 1);
}

TEST_CASE_FIXTURE(Balanced, "ICMP errors about a translated connection speak of the service to its client") {
  play({
      {"a", "udp 10.0.0.1:1000 > 10.96.0.1:80 len 9", "b: udp 10.0.0.1:1000 > 10.0.0.2:8080 len 9"},
      {"b", "icmp 10.0.0.2 > 10.0.0.1 error 3/3 quoting udp 10.0.0.1:1000 > 10.0.0.2:8080 len 9",
       "a: icmp 10.96.0.1 > 10.0.0.1 error 3/3 quoting udp 10.0.0.1:1000 > 10.96.0.1:80"},
      {"b", "udp 10.0.0.2:8080 > 10.0.0.1:1000 len 8", "a: udp 10.96.0.1:80 > 10.0.0.1:1000 len 8"},
      {"a", "icmp 10.0.0.1 > 10.96.0.1 error 3/3 quoting udp 10.96.0.1:80 > 10.0.0.1:1000 len 8",
       "b: icmp 10.0.0.1 > 10.0.0.2 error 3/3 quoting udp 10.0.0.2:8080 > 10.0.0.1:1000"},
      {"a", "tcp [fd00::1]:1000 > [fd96::1]:80 S", "b: tcp [fd00::1]:1000 > [fd00::2]:8080 S"},
      {"b", "icmp fd00::2 > fd00::1 error 1/4 quoting tcp [fd00::1]:1000 > [fd00::2]:8080 S",
       "a: icmp fd96::1 > fd00::1 error 1/4 quoting tcp [fd00::1]:1000 > [fd96::1]:80"},
  });
}

}  // namespace
}  // namespace weft::test
