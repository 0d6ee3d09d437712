// Forwarding, answers by the gateway, and who may send what: no policy isolates anybody here.
#include <doctest/doctest.h>

#include "switch_harness.h"

namespace weft::test {
namespace {

// Pods a and b (both families), the host, and a pod of another node behind it.
struct Plain : Harness {
  ImageBuilder image;
  Plain() {
    add("a", {"10.0.0.1", "fd00::1"});
    add("b", {"10.0.0.2", "fd00::2"});
    add("host", {"192.168.0.1", "fd99::1"}, {.kind = PortKind::host});
    image.pod({"10.0.0.1", "fd00::1"});
    image.pod({"10.0.0.2", "fd00::2"});
    image.pod({"10.1.0.9", "fd01::9"}, false);
    image.own_node("192.168.0.1");
    image.own_node("fd99::1");
    sw->set_image(image.load());
  }
};

TEST_CASE_FIXTURE(Plain, "an echo request that cannot be answered is counted as a drop") {
  Bytes request = frame(link("a"), "icmp 10.0.0.1 > 169.254.1.1 echo 3");
  ip_of(request)[20 + 2] ^= 0x55;
  CHECK_EQ(send("a", request), "drop transport-checksum");
  device("a").send_status = SendStatus::full;
  CHECK_EQ(send("a", "icmp 10.0.0.1 > 169.254.1.1 echo 3"), "drop tx-full");
}

TEST_CASE_FIXTURE(Plain, "packets between pods, the node and the world are forwarded with one hop less") {
  play({
      {"a", "tcp 10.0.0.1:1000 > 10.0.0.2:80 S", "b: tcp 10.0.0.1:1000 > 10.0.0.2:80 S"},
      {"b", "tcp 10.0.0.2:80 > 10.0.0.1:1000 SA ack 1001", "a: tcp 10.0.0.2:80 > 10.0.0.1:1000 SA"},
      {"a", "tcp [fd00::1]:1000 > [fd00::2]:80 S", "b: tcp [fd00::1]:1000 > [fd00::2]:80 S"},
      {"a", "udp 10.0.0.1:1000 > 10.0.0.2:53 len 20", "b: udp 10.0.0.1:1000 > 10.0.0.2:53 len 20"},
      {"b", "udp 10.0.0.2:53 > 10.0.0.1:1000 len 9", "a: udp 10.0.0.2:53 > 10.0.0.1:1000 len 9"},
      {"a", "sctp 10.0.0.1:1000 > 10.0.0.2:9 INIT", "b: sctp 10.0.0.1:1000 > 10.0.0.2:9 INIT"},
      {"b", "sctp 10.0.0.2:9 > 10.0.0.1:1000 INIT_ACK", "a: sctp 10.0.0.2:9 > 10.0.0.1:1000 INIT_ACK"},
      {"a", "icmp 10.0.0.1 > 10.0.0.2 echo 7", "b: icmp 10.0.0.1 > 10.0.0.2 echo 7"},
      {"b", "icmp 10.0.0.2 > 10.0.0.1 reply 7", "a: icmp 10.0.0.2 > 10.0.0.1 reply 7"},
      {"a", "icmp fd00::1 > fd00::2 echo 8", "b: icmp fd00::1 > fd00::2 echo 8"},
      {"b", "icmp fd00::2 > fd00::1 reply 8", "a: icmp fd00::2 > fd00::1 reply 8"},
      {"a", "proto 47 10.0.0.1 > 10.0.0.2 len 30", "b: proto 47 10.0.0.1 > 10.0.0.2 len 30"},
      {"a", "udp 10.0.0.1:1 > 192.168.0.1:53", "host: udp 10.0.0.1:1 > 192.168.0.1:53"},
      {"a", "udp 10.0.0.1:1 > 10.1.0.9:53", "host: udp 10.0.0.1:1 > 10.1.0.9:53"},
      {"a", "udp 10.0.0.1:1 > 1.1.1.1:53", "host: udp 10.0.0.1:1 > 1.1.1.1:53"},
      {"host", "udp 1.1.1.1:53 > 10.0.0.1:1", "a: udp 1.1.1.1:53 > 10.0.0.1:1"},
      {"host", "tcp 192.168.0.1:999 > 10.0.0.2:80 S", "b: tcp 192.168.0.1:999 > 10.0.0.2:80 S"},
      {"host", "tcp [fd01::9]:999 > [fd00::2]:80 S", "b: tcp [fd01::9]:999 > [fd00::2]:80 S"},
  });
  device("a").push(frame(link("a"), "udp 10.0.0.1:1000 > 10.0.0.2:53 ttl 9"));
  work();
  const std::vector<Bytes> out = device("b").take();
  REQUIRE(out.size() == 1);
  CHECK(ttl_of(out[0]) == 8);
  CHECK(std::equal(out[0].begin() + 10, out[0].begin() + 16, link("b").source.begin()));
  CHECK(std::equal(out[0].begin() + 16, out[0].begin() + 22, link("b").destination.begin()));
}

TEST_CASE_FIXTURE(Plain, "what cannot be delivered is answered to its sender") {
  play({
      {"a", "udp 10.0.0.1:5 > 10.0.0.2:6 ttl 1",
       "a: icmp 169.254.1.1 > 10.0.0.1 error 11/0 quoting udp 10.0.0.1:5 > 10.0.0.2:6; drop ttl-exceeded"},
      {"a", "udp [fd00::1]:5 > [fd00::2]:6 ttl 1",
       "a: icmp fe80::1 > fd00::1 error 3/0 quoting udp [fd00::1]:5 > [fd00::2]:6; drop ttl-exceeded"},
      {"host", "udp 8.8.8.8:5 > 10.0.0.77:6",
       "host: icmp 169.254.1.1 > 8.8.8.8 error 3/0 quoting udp 8.8.8.8:5 > 10.0.0.77:6; drop no-route"},
      {"a", "udp 10.0.0.1:5 > 169.254.1.1:53",
       "a: icmp 169.254.1.1 > 10.0.0.1 error 3/3 quoting udp 10.0.0.1:5 > 169.254.1.1:53; drop "
       "gateway-service"},
      {"a", "tcp 10.0.0.1:5 > 169.254.1.1:53 S",
       "a: tcp 169.254.1.1:53 > 10.0.0.1:5 RA; drop gateway-service"},
      {"a", "udp 10.0.0.1:5 > 169.254.169.254:80", "drop link-local"},
      {"a", "udp [fd00::1]:5 > [fe80::7]:80", "drop link-local"},
  });
}

TEST_CASE_FIXTURE(Plain, "the gateway answers ARP, neighbour solicitations and echo, and nobody else's") {
  play({
      {"a", "arp 10.0.0.1 asks 169.254.1.1", "a: arp 169.254.1.1 is-at 02:77:65:66:74:01 tells 10.0.0.1"},
      {"a", "arp 10.0.0.1 asks 10.0.0.2", "drop neighbour-other"},
      {"a", "arp 0.0.0.0 asks 10.0.0.1", "drop neighbour-other"},
      {"a", "arp 10.0.0.1 asks 10.0.0.1", "drop neighbour-other"},
      {"a", "arp 10.0.0.2 asks 169.254.1.1", "drop spoof-arp"},
      {"a", "arp 169.254.1.1 asks 10.0.0.2", "drop spoof-arp"},
      {"a", "nd fd00::1 solicits fe80::1", "a: nd fe80::1 advertises fe80::1"},
      {"a", "nd fe80::5 solicits fe80::1", "a: nd fe80::1 advertises fe80::1"},
      {"a", "nd fd00::2 solicits fe80::1", "drop spoof-nd"},
      {"a", "nd fe80::5 solicits fd00::2", "drop neighbour-other"},
      {"a", "icmp 10.0.0.1 > 169.254.1.1 echo 3", "a: icmp 169.254.1.1 > 10.0.0.1 reply 3"},
      {"a", "icmp fd00::1 > fe80::1 echo 3", "a: icmp fe80::1 > fd00::1 reply 3"},
      {"a", "icmp fe80::5 > fe80::1 echo 3", "a: icmp fe80::1 > fe80::5 reply 3"},
  });
}

TEST_CASE("ARP and neighbour solicitations are answered without an image, and nothing passes") {
  Harness lab;
  lab.add("a", {"10.0.0.1", "fd00::1"});
  lab.add("b", {"10.0.0.2"});
  lab.play({
      {"a", "arp 10.0.0.1 asks 169.254.1.1", "a: arp 169.254.1.1 is-at 02:77:65:66:74:01 tells 10.0.0.1"},
      {"a", "nd fd00::1 solicits fe80::1", "a: nd fe80::1 advertises fe80::1"},
      {"a", "icmp 10.0.0.1 > 10.0.0.2 echo 3", "drop no-image"},
      {"a", "tcp 10.0.0.1:1 > 10.0.0.2:2 S", "drop no-image"},
      {"a", "udp 10.0.0.1:1 > 10.0.0.2:2 frag 9@0+ len 1000", "drop no-image"},
      {"a", "icmp 10.0.0.1 > 10.0.0.2 error 3/1 quoting udp 10.0.0.2:1 > 10.0.0.1:2", "drop no-image"},
  });
}

TEST_CASE_FIXTURE(Plain, "a pod sends only from its own MAC and addresses") {
  play({
      {"a", "udp 10.0.0.2:1 > 10.0.0.2:2", "drop spoof-ip"},
      {"a", "udp 10.0.0.99:1 > 10.0.0.2:2", "drop spoof-ip"},
      {"a", "udp [fd00::2]:1 > [fd00::2]:2", "drop spoof-ip"},
      {"a", "udp [fe80::3]:1 > [fd00::2]:2", "drop link-local"},
      {"a", "udp 169.254.1.1:1 > 10.0.0.2:2", "drop spoof-ip"},
      {"a", "udp 192.168.0.1:1 > 10.0.0.2:2", "drop spoof-ip"},
      {"host", "udp 10.0.0.1:1 > 10.0.0.2:2", "drop spoof-ip"},
      {"host", "udp 169.254.1.1:1 > 10.0.0.2:2", "drop spoof-ip"},
  });
  Link other = link("a");
  other.source[5] = 0x99;
  CHECK_EQ(send("a", frame(other, "udp 10.0.0.1:1 > 10.0.0.2:2")), "drop spoof-mac");
  CHECK_EQ(send("a", frame(other, "arp 10.0.0.1 asks 169.254.1.1")), "drop spoof-mac");
  Bytes lying_arp = frame(link("a"), "arp 10.0.0.1 asks 169.254.1.1");
  lying_arp[24 + 8 + 5] = 0x99;
  CHECK_EQ(send("a", lying_arp), "drop spoof-arp");
}

TEST_CASE_FIXTURE(Plain, "groups, other destinations and router messages have their own reasons") {
  Link group = link("a"), broadcast = link("a"), stranger = link("a");
  group.destination = {0x01, 0x00, 0x5e, 0, 0, 1};
  broadcast.destination = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
  stranger.destination = {0x02, 9, 9, 9, 9, 9};
  struct Row {
    Link link;
    std::string text;
    std::string expected;
  };
  for (const Row& row : std::vector<Row>{
           {group, "udp 10.0.0.1:1 > 224.0.0.251:5353", "drop multicast"},
           {link("a"), "udp 10.0.0.1:1 > 224.0.0.251:5353", "drop multicast"},
           {group, "proto 2 10.0.0.1 > 224.0.0.22 len 8", "drop multicast-listener"},
           {broadcast, "udp 10.0.0.1:68 > 255.255.255.255:67", "drop broadcast"},
           {broadcast, "udp 10.0.0.1:68 > 10.0.0.2:67", "drop broadcast"},
           {group, "mld fe80::5 > ff02::16", "drop multicast-listener"},
           {group, "mld :: > ff02::16", "drop multicast-listener"},
           {group, "nd fe80::5 solicits-router ff02::2", "drop router-solicitation"},
           {group, "nd fe80::5 is-router ff02::1", "drop router-advertisement"},
           {group, "nd :: solicits fd00::1", "drop neighbour-other"},
           {group, "nd :: solicits fe80::1", "drop neighbour-other"},
           {group, "nd fd00::1 solicits fe80::1", "a: nd fe80::1 advertises fe80::1"},
           {link("a"), "nd fd00::1 advertises fd00::1", "drop neighbour-other"},
           {link("a"), "nd fd00::1 advertises fd00::2", "drop spoof-nd"},
           {link("a"), "nd fe80::5 advertises fe80::1", "drop spoof-nd"},
           {broadcast, "arp 10.0.0.1 asks 169.254.1.1",
            "a: arp 169.254.1.1 is-at 02:77:65:66:74:01 tells 10.0.0.1"},
           {stranger, "udp 10.0.0.1:1 > 10.0.0.2:2", "drop not-for-gateway"},
       }) {
    CAPTURE(row.text);
    CHECK_EQ(send("a", frame(row.link, row.text)), row.expected);
  }
}

TEST_CASE_FIXTURE(
    Plain, "packets larger than the way out are answered with its MTU, segments counted by their size") {
  add("small", {"10.0.0.3", "fd00::3"}, {.mtu = 1280});
  image.pod({"10.0.0.3", "fd00::3"});
  sw->set_image(image.load());
  play({
      {"a", "udp 10.0.0.1:5 > 10.0.0.3:6 df len 1252", "small: udp 10.0.0.1:5 > 10.0.0.3:6 len 1252"},
      {"a", "udp 10.0.0.1:5 > 10.0.0.3:6 df len 1253",
       "a: icmp 169.254.1.1 > 10.0.0.1 error 3/4 mtu 1280 quoting udp 10.0.0.1:5 > 10.0.0.3:6; drop "
       "packet-too-big"},
      {"a", "udp 10.0.0.1:5 > 10.0.0.3:6 len 1400",
       "small: udp 10.0.0.1:5 > 10.0.0.3:6 len 1248 frag 0@0+; small: udp 10.0.0.1 > 10.0.0.3 len 152 frag "
       "0@1256"},
      {"a", "udp [fd00::1]:5 > [fd00::3]:6 len 1300",
       "a: icmp fe80::1 > fd00::1 error 2/0 mtu 1280 quoting udp [fd00::1]:5 > [fd00::3]:6; drop "
       "packet-too-big"},
      {"a", "tcp 10.0.0.1:7 > 10.0.0.3:6 S", "small: tcp 10.0.0.1:7 > 10.0.0.3:6 S"},
  });
  Bytes partial = frame(link("a"), "udp 10.0.0.1:5 > 10.0.0.3:6 len 1400");
  make_partial(partial, 0);
  device("a").push(partial);
  work();
  const std::vector<Bytes> pieces = device("small").take();
  REQUIRE(pieces.size() == 2);
  // Put together again, the fragments are the packet that was sent, its checksum completed.
  Bytes whole = pieces[0];
  whole.insert(whole.end(), pieces[1].begin() + 10 + 14 + 20, pieces[1].end());
  const Bytes sent = frame(link("a"), "udp 10.0.0.1:5 > 10.0.0.3:6 len 1400");
  CHECK(std::equal(whole.begin() + 44, whole.end(), sent.begin() + 44, sent.end()));
  Bytes fits = frame(link("a"), "tcp 10.0.0.1:7 > 10.0.0.3:6 A df len 5000");
  make_partial(fits, 1240);
  CHECK_EQ(send("a", fits), "small: tcp 10.0.0.1:7 > 10.0.0.3:6 A len 5000 gso 1240");
  Bytes large = frame(link("a"), "tcp 10.0.0.1:7 > 10.0.0.3:6 A df len 5000");
  make_partial(large, 1241);
  CHECK_EQ(send("a", large),
           "a: icmp 169.254.1.1 > 10.0.0.1 error 3/4 mtu 1280 quoting tcp 10.0.0.1:7 > 10.0.0.3:6; drop "
           "packet-too-big");
}

TEST_CASE_FIXTURE(Plain, "a device without offloads gets segments with complete checksums") {
  add("bare", {"10.0.0.4"}, {.offloads = {}});
  image.pod({"10.0.0.4"});
  sw->set_image(image.load());
  CHECK_EQ(send("a", "tcp 10.0.0.1:7 > 10.0.0.4:6 S"), "bare: tcp 10.0.0.1:7 > 10.0.0.4:6 S");
  Bytes large = frame(link("a"), "tcp 10.0.0.1:7 > 10.0.0.4:6 PA len 2500");
  make_partial(large, 1000);
  CHECK_EQ(send("a", large),
           "bare: tcp 10.0.0.1:7 > 10.0.0.4:6 A len 1000; bare: tcp 10.0.0.1:7 > 10.0.0.4:6 A len 1000; "
           "bare: tcp 10.0.0.1:7 > 10.0.0.4:6 PA len 500");
  Bytes partial = frame(link("a"), "udp 10.0.0.1:7 > 10.0.0.4:6 len 33");
  make_partial(partial, 0);
  device("a").push(partial);
  work();
  const std::vector<Bytes> out = device("bare").take();
  REQUIRE(out.size() == 1);
  CHECK(describe(out[0]) == "udp 10.0.0.1:7 > 10.0.0.4:6 len 33");
  CHECK(load_vnet(out[0].data()) == VnetHeader{});
}

TEST_CASE_FIXTURE(Plain, "a hostile vnet header is one drop reason and nothing is sent") {
  Bytes tiny = frame(link("a"), "tcp 10.0.0.1:7 > 10.0.0.2:6 A len 2500");
  make_partial(tiny, 1);
  CHECK_EQ(send("a", tiny), "drop vnet-gso-size");
  CHECK_EQ(send("a", Bytes(10)), "drop frame-short");
  CHECK_EQ(send("a", Bytes(3)), "drop frame-short");
  Bytes start = frame(link("a"), "udp 10.0.0.1:7 > 10.0.0.2:6 len 100");
  make_partial(start, 0);
  start[6] = 60;
  CHECK_EQ(send("a", start), "drop vnet-checksum-start");
}

TEST_CASE_FIXTURE(Plain, "a receiver that takes nothing costs only its own packets") {
  device("b").send_status = SendStatus::full;
  CHECK_EQ(send("a", "udp 10.0.0.1:7 > 10.0.0.2:6"), "drop tx-full");
  device("b").send_status = SendStatus::down;
  CHECK_EQ(send("a", "udp 10.0.0.1:7 > 10.0.0.2:6"), "drop port-closed");
  device("b").send_status = SendStatus::sent;
  CHECK_EQ(send("a", "udp 10.0.0.1:7 > 10.0.0.2:6"), "b: udp 10.0.0.1:7 > 10.0.0.2:6");
  device("b").vanish();
  work();
  CHECK_EQ(send("a", "udp 10.0.0.1:7 > 10.0.0.2:6"), "drop port-closed");
  CHECK_EQ(send("a", "icmp 10.0.0.1 > 169.254.1.1 echo 3"), "a: icmp 169.254.1.1 > 10.0.0.1 reply 3");
  for (const PortSnapshot& port : sw->snapshot().ports)
    CHECK((port.status == PortStatus::gone) == (port.id == "b"));
}

}  // namespace
}  // namespace weft::test
