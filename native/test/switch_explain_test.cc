// What an explanation says is what becomes of the packet, for every way that a connection can begin.
#include <doctest/doctest.h>

#include "switch_harness.h"

namespace weft::test {
namespace {

constexpr uint8_t kTcp = 6;

// a → b:80/TCP is all that b lets in; c may send nothing; 10.96.0.1 has b and a remote pod, 10.96.0.2 nobody.
struct Explained : Harness {
  ImageBuilder image;
  Explained() {
    add("a", {"10.0.0.1", "fd00::1"});
    add("b", {"10.0.0.2", "fd00::2"});
    add("c", {"10.0.0.3"});
    add("new", {"10.0.0.5"});
    add("host", {"192.168.0.1"}, {.kind = PortKind::host});
    const uint32_t a = image.pod({"10.0.0.1", "fd00::1"});
    const uint32_t b = image.pod({"10.0.0.2", "fd00::2"});
    const uint32_t c = image.pod({"10.0.0.3"});
    image.pod({"10.0.0.6"});
    image.pod({"10.1.0.9"}, false);
    image.own_node("192.168.0.1");
    image.isolate(b, Direction::ingress, {{.peer = a, .protocol = kTcp, .first = 80, .last = 80}});
    image.isolate(c, Direction::egress, {});
    image.service("10.96.0.1", 443, kTcp, {{"10.0.0.2", 80}, {"10.1.0.9", 80}});
    image.service("10.96.0.2", 443, kTcp, {});
    sw->set_image(image.load());
  }

  [[nodiscard]] weft::Explained ask(const std::string& from, const std::string& to, uint16_t port) const {
    FlowTuple flow;
    flow.source = address(from);
    flow.destination = address(to);
    flow.destination_port = port;
    flow.protocol = kTcp;
    flow.family = from.find(':') == std::string::npos ? 4 : 6;
    return sw->explain(flow);
  }
};

struct Row {
  std::string port, from, to;
  uint16_t number;
  Basis egress, ingress;
  DropReason reason;
};

TEST_CASE_FIXTURE(Explained, "an explanation and the packet come to the same end") {
  using enum Basis;
  constexpr DropReason pass = DropReason::none;
  const std::vector<Row> rows = {
      {"a", "10.0.0.1", "10.0.0.2", 80, not_isolated, rule, pass},
      {"a", "fd00::1", "fd00::2", 80, not_isolated, rule, pass},
      {"a", "10.0.0.1", "10.0.0.2", 81, not_isolated, isolated, DropReason::policy_ingress},
      {"c", "10.0.0.3", "10.0.0.2", 80, isolated, isolated, DropReason::policy_egress},
      {"c", "10.0.0.3", "192.168.0.1", 22, own_node, elsewhere, pass},
      {"c", "10.0.0.3", "10.1.0.9", 80, isolated, elsewhere, DropReason::policy_egress},
      {"a", "10.0.0.1", "10.1.0.9", 80, not_isolated, elsewhere, pass},
      {"host", "192.168.0.1", "10.0.0.2", 22, elsewhere, own_node, pass},
      {"host", "8.8.8.8", "10.0.0.2", 22, elsewhere, isolated, DropReason::policy_ingress},
      {"host", "8.8.8.8", "10.0.0.1", 22, elsewhere, not_isolated, pass},
      {"new", "10.0.0.5", "10.0.0.1", 80, unknown, not_isolated, DropReason::unknown_port_address},
      {"a", "10.0.0.1", "10.0.0.5", 80, not_isolated, unknown, DropReason::unknown_port_address},
  };
  uint16_t source_port = 1000;
  for (const Row& row : rows) {
    INFO(row.from << " > " << row.to << ":" << row.number);
    const weft::Explained said = ask(row.from, row.to, row.number);
    REQUIRE(said.ways.size() == 1);
    CHECK(said.in->spec.id == row.port);
    CHECK(said.ways[0].egress.basis == row.egress);
    CHECK(said.ways[0].ingress.basis == row.ingress);
    CHECK(said.ways[0].reason == row.reason);
    const bool six = row.from.find(':') != std::string::npos;
    const auto end = [&](const std::string& text, uint16_t port) {
      return (six ? "[" + text + "]" : text) + ":" + std::to_string(port);
    };
    const std::string packet = "tcp " + end(row.from, source_port++) + " > " + end(row.to, row.number) + " S";
    const std::string expected = row.reason == pass ? said.ways[0].out->spec.id + ": " + packet
                                                    : std::string("drop ") + drop_reason_name(row.reason);
    CHECK(send(row.port, packet) == expected);
  }
}

TEST_CASE_FIXTURE(Explained, "what leads nowhere says so, as the packet's drop does") {
  struct Nowhere {
    std::string port, from, to;
    DropReason reason;
  };
  for (const auto& [port, from, to, reason] : std::vector<Nowhere>{
           {"a", "10.0.0.1", "10.0.0.6", DropReason::no_route},
           {"a", "10.0.0.1", "169.254.20.10", DropReason::link_local},
           {"host", "10.0.0.6", "10.0.0.1", DropReason::spoof_ip},
           {"a", "10.0.0.1", "10.96.0.1",
            DropReason::service_port},  // nobody answers at this port of the Service
           {"a", "10.0.0.1", "127.0.0.1", DropReason::address_invalid},
           {"a", "fd00::1", "::1", DropReason::address_invalid},
           {"a", "10.0.0.1", "224.0.0.251", DropReason::multicast},
           {"a", "fd00::1", "ff02::fb", DropReason::multicast},
           {"a", "10.0.0.1", "255.255.255.255", DropReason::broadcast},
           {"a", "fd00::1", "fe80::9", DropReason::link_local},
       }) {
    const weft::Explained said = ask(from, to, 80);
    REQUIRE(said.ways.size() == 1);
    CHECK(said.ways[0].reason == reason);
    CHECK(said.ways[0].out == nullptr);
    const uint64_t before = drops(port, reason);
    const bool six = from.find(':') != std::string::npos;
    const auto end = [&](const std::string& text) { return six ? "[" + text + "]" : text; };
    send(port, "tcp " + end(from) + ":1 > " + end(to) + ":80 S");
    CHECK(drops(port, reason) == before + 1);
  }
}

TEST_CASE_FIXTURE(Explained, "a Service is told with every backend at the backend's own port") {
  const weft::Explained said = ask("10.0.0.1", "10.96.0.1", 443);
  REQUIRE(said.service);
  REQUIRE(said.ways.size() == 2);
  CHECK(said.ways[0].address == address("10.0.0.2"));
  CHECK(said.ways[0].port == 80);
  CHECK(said.ways[0].reason == DropReason::none);
  CHECK(said.ways[1].out->spec.id == "host");
  CHECK(ask("10.0.0.1", "10.96.0.2", 443).ways.empty());
  // kube-proxy translates what starts on the node.
  CHECK(!ask("192.168.0.1", "10.96.0.1", 443).service);
}

TEST_CASE("without an image or without a port to come in by there is nothing to tell but that") {
  Harness bare;
  bare.add("a", {"10.0.0.1"});
  FlowTuple flow;
  flow.source = address("10.0.0.1");
  flow.destination = address("10.0.0.2");
  flow.protocol = kTcp;
  CHECK(bare.sw->explain(flow).image == nullptr);
  CHECK(bare.sw->explain(flow).ways.empty());
  ImageBuilder image;
  image.pod({"10.0.0.1"});
  bare.sw->set_image(image.load());
  CHECK(bare.sw->explain(flow).ways.size() == 1);
  flow.source = address("10.9.9.9");
  CHECK(bare.sw->explain(flow).in == nullptr);
}

TEST_CASE_FIXTURE(Explained, "an explanation is of the image in force, and names its generation") {
  CHECK(ask("10.0.0.3", "10.0.0.1", 80).ways[0].reason == DropReason::policy_egress);
  const uint64_t before = ask("10.0.0.3", "10.0.0.1", 80).generation;
  ImageBuilder open;
  open.pod({"10.0.0.1"});
  open.pod({"10.0.0.3"});
  sw->set_image(open.load());
  CHECK(ask("10.0.0.3", "10.0.0.1", 80).ways[0].reason == DropReason::none);
  CHECK(ask("10.0.0.3", "10.0.0.1", 80).generation > before);
}

}  // namespace
}  // namespace weft::test
