// The lab's responder and prober against each other on loopback; ports are the kernel's choice or far from
// any well-known one.
#include <doctest/doctest.h>
#include <unistd.h>

#include "io/lab_prober.h"
#include "io/lab_responder.h"
#include "io/lab_sctp.h"

using namespace weft;
using namespace weft::lab;

namespace {

// Below the range that the kernel gives out, and another for each process: suites run side by side.
const auto kServed = static_cast<uint16_t>(20000 + ::getpid() % 6000 * 2);
const auto kClosed = static_cast<uint16_t>(kServed + 1);

Address loopback(uint8_t family) {
  if (family == 4) return Address::v4(0x7f000001);
  Address address;
  address.bytes[15] = 1;
  return address;
}

ServedPod pod(bool sctp) {
  ServedPod spec{.key = "test/web", .name = "test/web", .netns = "", .ports = {}, .shares_namespace = false};
  spec.ports.push_back({Transport::tcp, kServed});
  spec.ports.push_back({Transport::udp, kServed});
  if (sctp) spec.ports.push_back({Transport::sctp, kServed});
  return spec;
}

}  // namespace

TEST_CASE("CRC32c is the one of RFC 3720 appendix B.4") {
  const std::vector<uint8_t> zeros(32, 0);
  CHECK(crc32c(zeros) == 0x8a9136aau);
  std::vector<uint8_t> counting(32);
  for (size_t i = 0; i < counting.size(); ++i) counting[i] = static_cast<uint8_t>(i);
  CHECK(crc32c(counting) == 0x46dd794eu);
}

TEST_CASE("an INIT is answered by an INIT ACK that carries the cookie, and both survive their own parser") {
  const auto init = parse_sctp(build_init(1000, 2000, 77));
  REQUIRE(init);
  CHECK(init->checksum_ok);
  CHECK(init->initiate_tag == 77);
  CHECK(init->verification_tag == 0);
  for (const std::string name : {"a", "ab", "abc", "namespace/name-of-a-pod"}) {
    const auto bytes = build_init_ack(*init, 99, name);
    CHECK(bytes.size() % 4 == 0);
    const auto ack = parse_sctp(bytes);
    REQUIRE(ack);
    CHECK(ack->checksum_ok);
    CHECK(ack->cookie == name);
    CHECK(ack->verification_tag == 77);
    CHECK(ack->source_port == 2000);
  }
}

TEST_CASE("a truncated or damaged SCTP packet is no answer") {
  auto bytes = build_init(1, 2, 3);
  for (size_t length = 0; length < bytes.size(); ++length) {
    CHECK_FALSE(parse_sctp(std::span(bytes).first(length)));
  }
  bytes[20] ^= 1;
  CHECK_FALSE(parse_sctp(bytes)->checksum_ok);
}

TEST_CASE(
    "served ports answer with the pod's name, closed ones refuse, on both families and every protocol") {
  const bool root = ::geteuid() == 0;  // raw sockets need CAP_NET_RAW
  auto started = Responder::start();
  REQUIRE(started);
  auto& responder = *started.value();
  auto failures = responder.serve(pod(root));
  REQUIRE(failures);
  CHECK(failures.value().empty());

  ProbeRun run;
  run.namespaces = {""};
  run.timeout_ms = 1000;
  for (const uint8_t family : {uint8_t{4}, uint8_t{6}}) {
    for (const uint8_t protocol : {uint8_t{6}, uint8_t{17}, uint8_t{132}}) {
      if (protocol == 132 && !root) continue;
      run.probes.push_back({0, family, protocol, loopback(family), kServed, 0});
      run.probes.push_back({0, family, protocol, loopback(family), kClosed, 0});
    }
  }
  auto results = run_probes(run);
  for (size_t i = 0; i < results.size(); ++i) {
    CAPTURE(i);
    CAPTURE(results[i].message);
    const bool served = run.probes[i].port == kServed;
    CHECK(results[i].outcome == (served ? Outcome::answered : Outcome::refused));
    CHECK(results[i].name == (served ? "test/web" : ""));
    CHECK(results[i].tries == 1);
  }

  responder.remove("test/web");
  results = run_probes(run);
  for (size_t i = 0; i < results.size(); ++i) {
    CAPTURE(i);
    CHECK(results[i].outcome != Outcome::answered);
  }
}

TEST_CASE("a port that is taken is reported and the others are served") {
  auto first = Responder::start();
  auto second = Responder::start();
  REQUIRE(first);
  REQUIRE(second);
  CHECK(first.value()->serve(pod(false)).value().empty());
  auto spec = pod(false);
  spec.ports.push_back({Transport::tcp, kClosed});
  const auto failures = second.value()->serve(spec).value();
  CHECK(failures.size() == 2);
  ProbeRun run{.namespaces = {""}, .probes = {{0, 4, 6, loopback(4), kClosed, 0}}};
  CHECK(run_probes(run)[0].outcome == Outcome::answered);
}

TEST_CASE("a probe from a namespace that is not there fails with the path") {
  ProbeRun run{.namespaces = {"/nowhere"}, .probes = {{0, 4, 6, loopback(4), kServed, 0}}};
  const auto results = run_probes(run);
  CHECK(results[0].outcome == Outcome::failed);
  CHECK(results[0].message.find("/nowhere") != std::string::npos);
}
