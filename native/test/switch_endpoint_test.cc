// Endpoints of a Service that leave while flows go to them.
#include <doctest/doctest.h>

#include "switch_harness.h"

namespace weft::test {
namespace {

constexpr uint8_t kTcp = 6, kUdp = 17, kSctp = 132;

// a is the client; b and d are pods here; 10.1.0.9 is one elsewhere, 198.51.100.1 an endpoint outside of the
// cluster and 192.168.0.2 another node.
struct Endpoints : Harness {
  Endpoints() {
    add("a", {"10.0.0.1"});
    add("b", {"10.0.0.2"});
    add("d", {"10.0.0.4"});
    add("host", {"192.168.0.1"}, {.kind = PortKind::host});
  }
  // The pod that is elsewhere lives unless `without` it.
  static ImageBuilder world(bool without = false) {
    ImageBuilder image;
    image.pod({"10.0.0.1"});
    image.pod({"10.0.0.2"});
    image.pod({"10.0.0.4"});
    if (!without) image.pod({"10.1.0.9"}, false);
    image.own_node("192.168.0.1");
    image.other_node("192.168.0.2");
    return image;
  }
  void lead(ImageBuilder image, const ImageBuilder::Backends& to, const ImageBuilder::Backends& kept = {},
            bool udp_only = false) {
    image.service("10.96.0.1", 80, kUdp, to, 0, {.kept = kept});
    if (!udp_only) {
      image.service("10.96.0.1", 80, kTcp, to, 0, {.kept = kept});
      image.service("10.96.0.1", 80, kSctp, to, 0, {.kept = kept});
    }
    sw->set_image(image.load());
  }
  // A connection from a's port `port` to the endpoint behind `out` ("b: … > 10.0.0.2:8080").
  void connect(const std::string& out, const std::string& to, const std::string& port) {
    play({{"a", "tcp 10.0.0.1:" + port + " > 10.96.0.1:80 S seq 100",
           out + ": tcp 10.0.0.1:" + port + " > " + to + " S"},
          {out, "tcp " + to + " > 10.0.0.1:" + port + " SA seq 5 ack 101",
           "a: tcp 10.96.0.1:80 > 10.0.0.1:" + port + " SA"},
          {"a", "tcp 10.0.0.1:" + port + " > 10.96.0.1:80 A seq 101 ack 6",
           out + ": tcp 10.0.0.1:" + port + " > " + to + " A"}});
  }
};

TEST_CASE_FIXTURE(Endpoints, "datagrams move on at the client's next packet, whoever sent last") {
  lead(world(), {{"10.0.0.2", 53}});
  play({{"a", "udp 10.0.0.1:1 > 10.96.0.1:80", "b: udp 10.0.0.1:1 > 10.0.0.2:53"},
        {"b", "udp 10.0.0.2:53 > 10.0.0.1:1", "a: udp 10.96.0.1:80 > 10.0.0.1:1"}});
  lead(world(), {{"10.0.0.4", 53}});
  play({
      // An answer on its way gets through, again and again, and does not hold the client.
      {"b", "udp 10.0.0.2:53 > 10.0.0.1:1 len 2", "a: udp 10.96.0.1:80 > 10.0.0.1:1 len 2"},
      {"b", "udp 10.0.0.2:53 > 10.0.0.1:1 len 3", "a: udp 10.96.0.1:80 > 10.0.0.1:1 len 3"},
      {"a", "udp 10.0.0.1:1 > 10.96.0.1:80", "d: udp 10.0.0.1:1 > 10.0.0.4:53"},
      {"d", "udp 10.0.0.4:53 > 10.0.0.1:1", "a: udp 10.96.0.1:80 > 10.0.0.1:1"},
  });
}

TEST_CASE_FIXTURE(Endpoints, "datagrams stay with an endpoint that serves, though it gets no new flows") {
  lead(world(), {{"10.0.0.2", 53}});
  play({{"a", "udp 10.0.0.1:1 > 10.96.0.1:80", "b: udp 10.0.0.1:1 > 10.0.0.2:53"}});
  lead(world(), {{"10.0.0.4", 53}}, {{"10.0.0.2", 53}});
  play({{"a", "udp 10.0.0.1:1 > 10.96.0.1:80", "b: udp 10.0.0.1:1 > 10.0.0.2:53"},
        {"a", "udp 10.0.0.1:2 > 10.96.0.1:80", "d: udp 10.0.0.1:2 > 10.0.0.4:53"}});
}

TEST_CASE_FIXTURE(Endpoints, "datagrams without any endpoint are refused, and recover with the first") {
  const std::string refused =
      "a: icmp 169.254.1.1 > 10.0.0.1 error 3/3 quoting udp 10.0.0.1:1 > 10.96.0.1:80; drop "
      "service-no-endpoint";
  lead(world(), {});
  play({{"a", "udp 10.0.0.1:1 > 10.96.0.1:80", refused}});
  lead(world(), {{"10.0.0.2", 53}});
  play({{"a", "udp 10.0.0.1:1 > 10.96.0.1:80", "b: udp 10.0.0.1:1 > 10.0.0.2:53"}});
  lead(world(), {});
  play({{"a", "udp 10.0.0.1:1 > 10.96.0.1:80", refused}});
  lead(world(), {{"10.0.0.4", 53}});
  play({{"a", "udp 10.0.0.1:1 > 10.96.0.1:80", "d: udp 10.0.0.1:1 > 10.0.0.4:53"}});
}

TEST_CASE_FIXTURE(Endpoints, "a connection stays with an endpoint that is kept, or whose pod or host lives") {
  const ImageBuilder::Backends old = {{"10.0.0.2", 80}};
  struct Case {
    const char* what;
    ImageBuilder::Backends first;
    ImageBuilder::Backends now, kept;
    const char* out;
    const char* to;
  };
  int port = 1000;
  for (const Case& one : {
           Case{"not ready, or leaving", old, {{"10.0.0.4", 80}}, old, "b", "10.0.0.2:80"},
           Case{"deselected here", old, {{"10.0.0.4", 80}}, {}, "b", "10.0.0.2:80"},
           Case{"deselected elsewhere", {{"10.1.0.9", 80}}, old, {}, "host", "10.1.0.9:80"},
           Case{"on a node's network", {{"192.168.0.2", 80}}, old, {}, "host", "192.168.0.2:80"},
           Case{"the last one", old, {}, {}, "b", "10.0.0.2:80"},
       }) {
    CAPTURE(one.what);
    const std::string number = std::to_string(++port);
    lead(world(), one.first);
    connect(one.out, one.to, number);
    lead(world(), one.now, one.kept);
    play({{"a", "tcp 10.0.0.1:" + number + " > 10.96.0.1:80 A seq 101 ack 6",
           std::string(one.out) + ": tcp 10.0.0.1:" + number + " > " + one.to + " A"},
          {one.out, std::string("tcp ") + one.to + " > 10.0.0.1:" + number + " A seq 6 ack 101",
           "a: tcp 10.96.0.1:80 > 10.0.0.1:" + number + " A"}});
  }
}

TEST_CASE_FIXTURE(Endpoints, "a connection whose endpoint is gone ends at the client's next packet") {
  lead(world(), {{"10.1.0.9", 80}});
  connect("host", "10.1.0.9:80", "1");
  lead(world(true), {{"10.0.0.4", 80}});
  play({
      {"host", "tcp 10.1.0.9:80 > 10.0.0.1:1 A seq 6 ack 101", "a: tcp 10.96.0.1:80 > 10.0.0.1:1 A"},
      {"a", "tcp 10.0.0.1:1 > 10.96.0.1:80 A seq 101 ack 6",
       "a: tcp 10.96.0.1:80 > 10.0.0.1:1 R; drop service-endpoint-gone"},
      // The next one is a connection of its own.
      {"a", "tcp 10.0.0.1:1 > 10.96.0.1:80 S seq 900", "d: tcp 10.0.0.1:1 > 10.0.0.4:80 S"},
  });
  CHECK(table->counts().used == 1);
}

TEST_CASE_FIXTURE(Endpoints, "an endpoint outside of the cluster is gone when the Service has it no more") {
  lead(world(), {{"198.51.100.1", 80}});
  connect("host", "198.51.100.1:80", "1");
  lead(world(), {});
  play({{"a", "tcp 10.0.0.1:1 > 10.96.0.1:80 A seq 101 ack 6",
         "a: tcp 10.96.0.1:80 > 10.0.0.1:1 R; drop service-endpoint-gone"}});
}

TEST_CASE_FIXTURE(Endpoints, "an association whose endpoint is gone is aborted") {
  lead(world(), {{"198.51.100.1", 80}});
  play({{"a", "sctp 10.0.0.1:1 > 10.96.0.1:80 INIT", "host: sctp 10.0.0.1:1 > 198.51.100.1:80 INIT"},
        {"host", "sctp 198.51.100.1:80 > 10.0.0.1:1 INIT_ACK", "a: sctp 10.96.0.1:80 > 10.0.0.1:1 INIT_ACK"},
        {"a", "sctp 10.0.0.1:1 > 10.96.0.1:80 COOKIE_ECHO",
         "host: sctp 10.0.0.1:1 > 198.51.100.1:80 COOKIE_ECHO"},
        {"host", "sctp 198.51.100.1:80 > 10.0.0.1:1 COOKIE_ACK",
         "a: sctp 10.96.0.1:80 > 10.0.0.1:1 COOKIE_ACK"}});
  lead(world(), {{"10.0.0.4", 80}});
  play({{"a", "sctp 10.0.0.1:1 > 10.96.0.1:80 DATA",
         "a: sctp 10.96.0.1:80 > 10.0.0.1:1 ABORT; drop service-endpoint-gone"}});
}

TEST_CASE_FIXTURE(Endpoints,
                  "an attempt without an answer tries another endpoint than one that is only kept") {
  lead(world(), {{"10.0.0.2", 80}});
  play({{"a", "tcp 10.0.0.1:1 > 10.96.0.1:80 S", "b: tcp 10.0.0.1:1 > 10.0.0.2:80 S"}});
  lead(world(), {{"10.0.0.4", 80}}, {{"10.0.0.2", 80}});
  play({{"a", "tcp 10.0.0.1:1 > 10.96.0.1:80 S", "d: tcp 10.0.0.1:1 > 10.0.0.4:80 S"}});
}

TEST_CASE_FIXTURE(Endpoints, "a connection outlives its Service, datagrams do not") {
  lead(world(), {{"10.1.0.9", 80}});
  connect("host", "10.1.0.9:80", "1");
  play({{"a", "udp 10.0.0.1:1 > 10.96.0.1:80", "host: udp 10.0.0.1:1 > 10.1.0.9:80"}});
  ImageBuilder gone = world(true);
  gone.service("10.96.0.1", 1, kTcp, {});
  sw->set_image(gone.load());
  play({{"a", "tcp 10.0.0.1:1 > 10.96.0.1:80 A seq 101 ack 6", "host: tcp 10.0.0.1:1 > 10.1.0.9:80 A"},
        {"a", "udp 10.0.0.1:1 > 10.96.0.1:80",
         "a: icmp 169.254.1.1 > 10.0.0.1 error 3/3 quoting udp 10.0.0.1:1 > 10.96.0.1:80; drop "
         "service-port"}});
}

}  // namespace
}  // namespace weft::test
