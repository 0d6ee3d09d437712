// Ports that come and go, restarts over a table that was kept, and shares.
#include <doctest/doctest.h>

#include "switch_harness.h"

namespace weft::test {
namespace {

struct Life : Harness {
  ImageBuilder image;
  uint32_t b = 0;
  explicit Life(Options options = {}) : Harness(options) {
    add("a", {"10.0.0.1"});
    add("b", {"10.0.0.2"});
    add("host", {"192.168.0.1"}, {.kind = PortKind::host});
    image.pod({"10.0.0.1"});
    b = image.pod({"10.0.0.2"});
    image.own_node("192.168.0.1");
    image.service("10.96.0.1", 80, 6, {{"10.0.0.2", 8080}});
    sw->set_image(image.load());
  }
};

TEST_CASE_FIXTURE(Life, "removing a port ends its connections and makes its address unreachable") {
  play({{"a", "tcp 10.0.0.1:1 > 10.0.0.2:80 S", "b: tcp 10.0.0.1:1 > 10.0.0.2:80 S"},
        {"a", "tcp 10.0.0.1:2 > 192.168.0.1:80 S", "host: tcp 10.0.0.1:2 > 192.168.0.1:80 S"}});
  const PortHandle old = handle("b");
  remove("b");
  CHECK(table->counts().used == 1);
  CHECK_EQ(sw->remove_port(old).error().code, "port-unknown");
  play({{"a", "tcp 10.0.0.1:1 > 10.0.0.2:80 A ack 5",
         "a: icmp 169.254.1.1 > 10.0.0.1 error 3/1 quoting tcp 10.0.0.1:1 > 10.0.0.2:80; drop no-route"}});
  // Another pod takes over index and address: it is another life.
  add("b2", {"10.0.0.2"});
  CHECK_FALSE((handle("b2").index == old.index && handle("b2").instance == old.instance));
  play({{"a", "tcp 10.0.0.1:1 > 10.0.0.2:80 S", "b2: tcp 10.0.0.1:1 > 10.0.0.2:80 S"}});
}

TEST_CASE_FIXTURE(Life, "a port is refused with the reason and changes nothing") {
  MemoryBell bell;
  const auto refused = [&](PortSpec spec) {
    Result<PortHandle> added = sw->add_port(std::move(spec), std::make_unique<MemoryDevice>(bell));
    return added.ok() ? std::string("added") : added.error().code;
  };
  const MacAddress mac = {2, 0, 0, 0, 0, 0x77};
  CHECK_EQ(refused({.id = "c", .mac = mac, .addresses = {address("10.0.0.2")}}), "address-taken");
  CHECK_EQ(refused({.id = "c", .mac = mac, .addresses = {address("10.0.0.5"), address("10.0.0.5")}}),
           "address-taken");
  CHECK_EQ(refused({.id = "a", .mac = mac, .addresses = {address("10.0.0.5")}}), "connections-port-open");
  CHECK_EQ(refused({.id = "c", .kind = PortKind::host, .mac = mac, .addresses = {}}), "host-exists");
  CHECK_EQ(refused({.id = "c", .mac = mac, .addresses = {}, .mtu = 500}), "mtu-invalid");
  CHECK_EQ(refused({.id = "c", .mac = {3, 0, 0, 0, 0, 1}, .addresses = {}}), "mac-invalid");
  CHECK(sw->snapshot().ports.size() == 3);
}

TEST_CASE_FIXTURE(Life, "a port may change its addresses; connections of the old one end") {
  play({{"a", "udp 10.0.0.1:1 > 10.0.0.2:80", "b: udp 10.0.0.1:1 > 10.0.0.2:80"},
        {"b", "udp 10.0.0.2:5 > 10.0.0.1:6", "a: udp 10.0.0.2:5 > 10.0.0.1:6"}});
  image.pod({"10.0.0.7"});
  sw->set_image(image.load());
  const std::vector<Address> moved = {address("10.0.0.7")};
  REQUIRE(sw->update_addresses(handle("b"), moved).ok());
  CHECK_EQ(sw->update_addresses(handle("a"), moved).error().code, "address-taken");
  play({{"a", "udp 10.0.0.1:1 > 10.0.0.7:80", "b: udp 10.0.0.1:1 > 10.0.0.7:80"},
        {"b", "udp 10.0.0.2:80 > 10.0.0.1:1", "drop spoof-ip"},
        {"a", "udp 10.0.0.1:6 > 10.0.0.2:5",
         "a: icmp 169.254.1.1 > 10.0.0.1 error 3/1 quoting udp 10.0.0.1:6 > 10.0.0.2:5; drop no-route"},
        {"a", "udp 10.0.0.1:1 > 10.0.0.2:80",
         "a: icmp 169.254.1.1 > 10.0.0.1 error 3/1 quoting udp 10.0.0.1:1 > 10.0.0.2:80; drop no-route"}});
}

TEST_CASE_FIXTURE(
    Life, "after a restart nothing passes without an image, and then connections go on, judged again") {
  play({{"a", "tcp 10.0.0.1:1 > 10.96.0.1:80 S", "b: tcp 10.0.0.1:1 > 10.0.0.2:8080 S"},
        {"b", "tcp 10.0.0.2:8080 > 10.0.0.1:1 SA seq 5 ack 1001", "a: tcp 10.96.0.1:80 > 10.0.0.1:1 SA"},
        {"a", "tcp 10.0.0.1:1 > 10.96.0.1:80 A seq 1001 ack 6", "b: tcp 10.0.0.1:1 > 10.0.0.2:8080 A"},
        {"a", "udp 10.0.0.1:2 > 10.0.0.2:9", "b: udp 10.0.0.1:2 > 10.0.0.2:9"}});
  const uint64_t before = sw->generation();
  restart();
  CHECK(recovered == 2);
  play({{"b", "tcp 10.0.0.2:8080 > 10.0.0.1:1 A seq 6 ack 1001 len 3", "drop no-image"}});
  // The new policy lets no new connection to b's 8080 through mid-stream; the old one's entry is the
  // permission, if it still holds.
  ImageBuilder closed = image;
  closed.isolate(b, Direction::ingress, {{.protocol = 6, .first = 8080, .last = 8080}});
  CHECK(sw->set_image(closed.load()) > before);
  play({{"b", "tcp 10.0.0.2:8080 > 10.0.0.1:1 A seq 6 ack 1001 len 3",
         "a: tcp 10.96.0.1:80 > 10.0.0.1:1 A len 3"},
        {"a", "tcp 10.0.0.1:1 > 10.96.0.1:80 A seq 1001 ack 9", "b: tcp 10.0.0.1:1 > 10.0.0.2:8080 A"},
        {"a", "udp 10.0.0.1:2 > 10.0.0.2:9", "drop policy-ingress"}});
  CHECK(sw->release_unclaimed() == 0);
}

TEST_CASE_FIXTURE(
    Life,
    "after a restart a connection waits for the port of its other end, even if the image is there first") {
  play({{"a", "tcp 10.0.0.1:1 > 10.0.0.2:80 S seq 10", "b: tcp 10.0.0.1:1 > 10.0.0.2:80 S"},
        {"b", "tcp 10.0.0.2:80 > 10.0.0.1:1 SA seq 50 ack 11", "a: tcp 10.0.0.2:80 > 10.0.0.1:1 SA"}});
  restart_without("b");
  sw->set_image(image.load());
  play({{"a", "tcp 10.0.0.1:1 > 10.0.0.2:80 A seq 11 ack 51", "drop port-closed"},
        {"a", "tcp 10.0.0.1:7 > 10.0.0.2:80 A seq 11 ack 51",
         "a: icmp 169.254.1.1 > 10.0.0.1 error 3/1 quoting tcp 10.0.0.1:7 > 10.0.0.2:80; drop no-route"}});
  add("b", {"10.0.0.2"});
  play({{"a", "tcp 10.0.0.1:1 > 10.0.0.2:80 A seq 11 ack 51", "b: tcp 10.0.0.1:1 > 10.0.0.2:80 A"}});
  CHECK(totals("a").connections == 0);
}

TEST_CASE_FIXTURE(
    Life,
    "a closed connection's ports may be used again at once, and that is a new connection, judged anew") {
  play({{"a", "tcp 10.0.0.1:1 > 10.0.0.2:80 S seq 10", "b: tcp 10.0.0.1:1 > 10.0.0.2:80 S"},
        {"b", "tcp 10.0.0.2:80 > 10.0.0.1:1 SA seq 50 ack 11", "a: tcp 10.0.0.2:80 > 10.0.0.1:1 SA"},
        {"a", "tcp 10.0.0.1:1 > 10.0.0.2:80 FA seq 11 ack 51", "b: tcp 10.0.0.1:1 > 10.0.0.2:80 FA"},
        {"b", "tcp 10.0.0.2:80 > 10.0.0.1:1 FA seq 51 ack 12", "a: tcp 10.0.0.2:80 > 10.0.0.1:1 FA"},
        {"a", "tcp 10.0.0.1:1 > 10.0.0.2:80 A seq 12 ack 52", "b: tcp 10.0.0.1:1 > 10.0.0.2:80 A"}});
  CHECK(totals("a").connections == 1);
  play({{"a", "tcp 10.0.0.1:1 > 10.0.0.2:80 S seq 9000", "b: tcp 10.0.0.1:1 > 10.0.0.2:80 S"}});
  CHECK(totals("a").connections == 2);
  CHECK(table->counts().used == 1);
}

TEST_CASE_FIXTURE(Life, "a reset far outside of the window is dropped, and the connection goes on") {
  play({{"a", "tcp 10.0.0.1:1 > 10.0.0.2:80 S seq 10", "b: tcp 10.0.0.1:1 > 10.0.0.2:80 S"},
        {"b", "tcp 10.0.0.2:80 > 10.0.0.1:1 SA seq 50 ack 11", "a: tcp 10.0.0.2:80 > 10.0.0.1:1 SA"},
        {"a", "tcp 10.0.0.1:1 > 10.0.0.2:80 A seq 11 ack 51", "b: tcp 10.0.0.1:1 > 10.0.0.2:80 A"},
        {"a", "tcp 10.0.0.1:1 > 10.0.0.2:80 R seq 999999999", "drop tcp-out-of-window"},
        {"b", "tcp 10.0.0.2:80 > 10.0.0.1:1 A seq 51 ack 11 len 7",
         "a: tcp 10.0.0.2:80 > 10.0.0.1:1 A len 7"}});
}

TEST_CASE("a port that nobody adds again after a restart loses its connections") {
  Life lab;
  lab.send("a", "udp 10.0.0.1:2 > 10.0.0.2:9");
  lab.send("a", "udp 10.0.0.1:2 > 192.168.0.1:9");
  CHECK(lab.table->counts().used == 2);
  lab.restart_without("b");
  // It may still come back; only after the first desired state is it known to be gone.
  CHECK(lab.table->counts().used == 2);
  CHECK(lab.sw->release_unclaimed() == 1);
  CHECK(lab.table->counts().used == 1);
}

TEST_CASE("one port's connections do not use up another's share, and a flood costs others only its turn") {
  Harness::Options options;
  options.table.capacity = 1024;
  options.settings.live.connections_per_port = 100;
  options.settings.drain_frames = 16;
  Life lab(options);
  int passed = 0;
  for (int i = 0; i < 300; ++i)
    passed +=
        lab.send("a", "udp 10.0.0.1:" + std::to_string(1000 + i) + " > 10.0.0.2:9").rfind("b: ", 0) == 0;
  // Unanswered connections of the port itself may be given up for its new ones; never more than its share.
  CHECK(lab.table->counts().used <= 100);
  CHECK(passed >= 100);
  lab.play({{"b", "udp 10.0.0.2:1 > 10.0.0.1:5", "a: udp 10.0.0.2:1 > 10.0.0.1:5"}});

  // A thousand frames wait at a; ten at b. In one round each gets a turn.
  lab.collect();
  for (int i = 0; i < 1000; ++i)
    lab.device("a").push(frame(lab.link("a"), "udp 10.0.0.1:1000 > 192.168.0.1:9"));
  for (int i = 0; i < 10; ++i) lab.device("b").push(frame(lab.link("b"), "udp 10.0.0.2:1 > 10.0.0.1:5"));
  lab.sw->worker(0).round(0);
  CHECK(lab.device("a").waiting() == 1000 - 16);
  CHECK(lab.device("b").waiting() == 0);
}

TEST_CASE("without a quota of its own a pod may begin half of what the table holds, the host all of it") {
  Harness::Options options;
  options.table.capacity = 1024;
  Life lab(options);
  CHECK(lab.table->port_quota(lab.handle("a").index) == 512);
  CHECK(lab.table->port_quota(lab.handle("host").index) == 1024);
}

TEST_CASE("a turn ends by time as well as by frames") {
  Harness::Options options;
  options.settings.drain_ns = 200'000;
  Life lab(options);
  for (int i = 0; i < 64; ++i) lab.device("a").push(frame(lab.link("a"), "udp 10.0.0.1:1000 > 10.0.0.2:9"));
  lab.clock.step = 100'000;  // with each look at the clock, one for each batch
  lab.sw->worker(0).round(0);
  CHECK(lab.device("a").waiting() > 0);
  CHECK(lab.device("a").waiting() < 64);
  CHECK(lab.totals("a").busy_ns >= 200'000);
}

TEST_CASE("a port whose turns are one frame each has one taken, and the rest in the turn that follows") {
  Life lab;
  const Bytes packet = frame(lab.link("a"), "udp 10.0.0.1:1000 > 10.0.0.2:9");
  const auto turn = [&](int frames) {
    for (int i = 0; i < frames; ++i) lab.device("a").push(packet);
    lab.sw->worker(0).round(0);
    return lab.device("a").waiting();
  };
  CHECK(turn(1) == 0);
  lab.pass(100'000);
  CHECK(turn(3) == 2);
  // At once: the port is not in a conversation.
  CHECK(turn(0) == 0);
  lab.pass(100'000);
  CHECK(turn(3) == 0);
  CHECK(turn(1) == 0);
  CHECK(turn(3) == 0);
  CHECK(lab.totals("b").tx_packets == 11);
}

TEST_CASE("a port in a conversation that gets a backlog has it drained from its second turn on") {
  Life lab;
  const Bytes packet = frame(lab.link("a"), "udp 10.0.0.1:1000 > 10.0.0.2:9");
  lab.device("a").push(packet);
  lab.sw->worker(0).round(0);
  CHECK(lab.device("a").waiting() == 0);
  // Turns far apart, as beside a flood of another port.
  for (int i = 0; i < 100; ++i) lab.device("a").push(packet);
  for (int round = 0; round < 2; ++round) {
    lab.pass(100'000);
    lab.sw->worker(0).round(0);
  }
  CHECK(lab.device("a").waiting() <= 100 - 65);
}

TEST_CASE(
    "a worker that polls reads the ports that spoke last by itself, and leaves the others to its rounds") {
  Harness::Options options;
  options.settings.poll_ns = 1'000'000;
  options.settings.drain_frames = 16;
  Life lab(options);
  Worker& worker = lab.sw->worker(0);
  const auto push = [&](const char* name, const char* packet, int frames) {
    for (int i = 0; i < frames; ++i) lab.device(name).push(frame(lab.link(name), packet));
  };
  const char* const forth = "udp 10.0.0.1:1000 > 10.0.0.2:9";
  const char* const back = "udp 10.0.0.2:9 > 10.0.0.1:1000";
  push("a", forth, 1);
  CHECK(worker.look() == 0);  // nobody has spoken yet
  CHECK(worker.round(0) == 1);
  push("a", forth, 1);
  push("b", back, 1);
  CHECK(worker.look() == 1);
  CHECK(lab.device("b").waiting() == 1);
  CHECK(worker.round(0) == 1);
  push("a", forth, 20);
  push("b", back, 1);
  const uint64_t turns = worker.turns();
  CHECK(worker.look() == 16 + 1);
  CHECK(worker.turns() == turns + 2);
  CHECK(worker.look() == 4);
  CHECK(worker.look() == 0);  // and that is no turn
  CHECK(worker.turns() == turns + 3);
  CHECK(lab.totals("b").tx_packets == 22);
  // A port that has a bandwidth since is read where that is looked after, and one that is gone not at all.
  REQUIRE(
      lab.sw->set_bandwidth(lab.handle("a"), {.egress_rate = 100'000'000, .egress_burst = 8'000'000}).ok());
  lab.remove("b");
  push("a", forth, 1);
  CHECK(worker.look() == 0);
  CHECK(worker.round(0) == 1);
}

TEST_CASE("a worker that does not poll knows no ports of its own") {
  Life lab;
  const Bytes packet = frame(lab.link("a"), "udp 10.0.0.1:1000 > 10.0.0.2:9");
  lab.device("a").push(packet);
  CHECK(lab.sw->worker(0).round(0) == 1);
  lab.device("a").push(packet);
  CHECK(lab.sw->worker(0).look() == 0);
}

TEST_CASE("answers to one port have a rate; another port's are untouched") {
  Harness::Options options;
  options.settings.live.answers_per_second = 10;
  options.settings.live.answer_burst = 5;
  Life lab(options);
  int answered = 0;
  for (int i = 0; i < 50; ++i)
    answered += lab.send("a", "icmp 10.0.0.1 > 169.254.1.1 echo 3") != "drop icmp-rate-limit";
  CHECK(answered == 5);
  CHECK(lab.drops("a", DropReason::icmp_rate_limit) == 45);
  CHECK(lab.totals("a").answers == 5);
  CHECK(lab.send("b", "icmp 10.0.0.2 > 169.254.1.1 echo 3") == "b: icmp 169.254.1.1 > 10.0.0.2 reply 3");
  lab.pass(1'000'000'000);
  CHECK(lab.send("a", "icmp 10.0.0.1 > 169.254.1.1 echo 3") == "a: icmp 169.254.1.1 > 10.0.0.1 reply 3");
}

TEST_CASE("settings that cannot work are refused by name") {
  Harness lab;
  struct Row {
    void (*spoil)(Settings&);
    const char* named;
  };
  for (const Row& row : std::vector<Row>{
           {[](Settings& s) { s.workers = 0; }, "workers"},
           {[](Settings& s) { s.workers = 33; }, "workers"},
           {[](Settings& s) { s.max_ports = 0; }, "max_ports"},
           {[](Settings& s) { s.drain_frames = 0; }, "drain_frames"},
           {[](Settings& s) { s.drain_ns = 1; }, "drain_ns"},
           {[](Settings& s) { s.gateway_v6 = s.gateway_v4; }, "gateway"},
           {[](Settings& s) { s.gateway_mac[0] = 1; }, "gateway"},
       }) {
    Settings settings;
    row.spoil(settings);
    const Status status = check(settings);
    REQUIRE_FALSE(status.ok());
    CHECK(status.error().message.find(row.named) != std::string::npos);
  }
}

}  // namespace
}  // namespace weft::test
