// Policy on packets: who is judged, who is exempt, and what a denial says.
#include <doctest/doctest.h>

#include "judged_world.h"

namespace weft::test {
namespace {

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

TEST_CASE_FIXTURE(Judged, "a ping with identifier 0 does not let the other end ping back") {
  play({{"d", "icmp 10.0.0.4 > 10.0.0.3 echo 0", "c: icmp 10.0.0.4 > 10.0.0.3 echo 0"},
        {"c", "icmp 10.0.0.3 > 10.0.0.4 reply 0", "d: icmp 10.0.0.3 > 10.0.0.4 reply 0"},
        {"c", "icmp 10.0.0.3 > 10.0.0.4 echo 0", "drop policy-egress"}});
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

}  // namespace
}  // namespace weft::test
