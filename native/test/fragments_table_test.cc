// Fragments: one line a fragment, in the order in which they come.
#include <doctest/doctest.h>

#include <random>
#include <string>

#include "conntrack/fragments.h"

using namespace weft;

namespace {

constexpr uint64_t kNow = 1000 * kSecond;

FragmentKey key(uint32_t identification = 1, PortIndex port = 3, Protocol protocol = Protocol::udp) {
  return {Address::v4(0x0a000001),
          Address::v4(0x0a000002),
          identification,
          static_cast<uint8_t>(protocol),
          4,
          port};
}

std::vector<uint8_t> frame(size_t length, uint8_t value) {
  return std::vector<uint8_t>(length, value);
}

struct Line {
  uint32_t offset, length;
  bool more;
  FragmentOutcome outcome;
  uint32_t freed = 0;  // held fragments that the call gives back or drops
};

constexpr auto judge = FragmentOutcome::judge, follow = FragmentOutcome::follow, held = FragmentOutcome::held,
               duplicate = FragmentOutcome::duplicate, overlap = FragmentOutcome::overlap,
               malformed = FragmentOutcome::malformed;

void play(const char* name, Protocol protocol, uint32_t header, const std::vector<Line>& lines) {
  CAPTURE(name);
  FragmentTable table({});
  size_t number = 0;
  for (const Line& line : lines) {
    CAPTURE(number);
    ++number;
    const FragmentRange range{line.offset, line.length, line.more};
    uint32_t freed = 0;
    FragmentTable::Result result{};
    if (line.offset == 0) {
      result = table.first(key(1, 3, protocol), range, header, kNow);
      if (result.outcome == judge) {
        FragmentDecision decision;
        decision.drop = 9;
        table.decide(result.datagram, decision, [&](std::span<uint8_t>) { ++freed; });
      }
    } else {
      result = table.later(key(1, 3, protocol), range, frame(100, 1), kNow);
      if (result.outcome == follow) CHECK(result.decision->drop == 9);
    }
    CHECK(static_cast<int>(result.outcome) == static_cast<int>(line.outcome));
    CHECK(freed + result.released == line.freed);
    const char* problem = table.check();
    CAPTURE(problem);
    CHECK(problem == nullptr);
  }
}

}  // namespace

TEST_CASE("later fragments follow the first in any order, and a complete datagram is forgotten") {
  play("in order", Protocol::udp, 8,
       {{0, 1480, true, judge},
        {1480, 1480, true, follow},
        {2960, 100, false, follow},
        {1480, 1480, true, held}});  // the same identification again: a new datagram
  play("last first", Protocol::udp, 8,
       {{2960, 100, false, held}, {1480, 1480, true, held}, {0, 1480, true, judge, 2}});
  play("first in the middle", Protocol::udp, 8,
       {{1480, 1480, true, held}, {0, 1480, true, judge, 1}, {2960, 100, false, follow}});
}

TEST_CASE("an overlap makes the whole datagram bad; an exact duplicate only itself") {
  play("overlap after the first", Protocol::udp, 8,
       {{0, 1480, true, judge},
        {1472, 1480, true, overlap},
        {2960, 100, false, overlap},
        {0, 1480, true, overlap}});
  play("overlap among held", Protocol::udp, 8,
       {{1480, 1480, true, held},
        {2960, 80, true, held},
        {2952, 800, false, overlap, 2},
        {0, 1480, true, overlap}});
  play("same offset, other length", Protocol::udp, 8,
       {{1480, 800, true, held}, {1480, 1600, true, overlap, 1}});
  play("first overlaps held", Protocol::udp, 8, {{800, 800, true, held}, {0, 1480, true, overlap, 1}});
  play("duplicates", Protocol::udp, 8,
       {{1480, 800, true, held},
        {1480, 800, true, duplicate},
        {0, 1480, true, judge, 1},
        {0, 1480, true, duplicate},
        {1480, 800, true, duplicate},
        {2280, 8, false, follow}});
  play("two ends", Protocol::udp, 8, {{1480, 800, false, held}, {2280, 800, false, overlap, 1}});
  play("beyond the end", Protocol::udp, 8, {{1480, 800, false, held}, {2400, 800, true, overlap, 1}});
  play("end before what was seen", Protocol::udp, 8,
       {{2960, 800, true, held}, {1480, 80, false, overlap, 1}});
}

TEST_CASE("a fragment that begins inside the transport header is refused, first or not") {
  play("before the first", Protocol::tcp, 20, {{8, 800, true, overlap}, {0, 24, true, overlap}});
  play("SCTP", Protocol::sctp, 12, {{8, 800, true, overlap}});
  play("options", Protocol::tcp, 40, {{24, 800, true, held}, {0, 24, true, malformed}});
  play("UDP may", Protocol::udp, 8, {{8, 800, false, held}, {0, 8, true, judge, 1}});
}

TEST_CASE("impossible fragments are malformed") {
  play("not in eights", Protocol::udp, 8,
       {{8, 9, true, malformed},
        {12, 8, true, malformed},
        {8, 0, true, malformed},
        {65528, 8, false, malformed},
        {65528, 7, false, held},
        {0, 4, true, malformed}});
}

TEST_CASE("held frames come back whole and in order of arrival") {
  FragmentTable table({});
  for (uint32_t i = 1; i <= 5; ++i)
    REQUIRE(
        table.later(key(), {i * 8000, 8000, true}, frame(i * 1999, static_cast<uint8_t>(i)), kNow).outcome ==
        held);
  const auto result = table.first(key(), {0, 8000, true}, 8, kNow);
  uint8_t next = 1;
  table.decide(result.datagram, {}, [&](std::span<uint8_t> bytes) {
    CHECK(bytes.size() == next * size_t{1999});
    CHECK(bytes.front() == next);
    CHECK(bytes.back() == next);
    ++next;
  });
  CHECK(next == 6);
  CHECK(table.counts().held_octets == 0);
  CHECK(table.check() == nullptr);
}

TEST_CASE("bounds hold in all and per port, and one port's do not touch another's") {
  FragmentOptions options;
  options.max_datagrams = 8;
  options.max_port_datagrams = 5;
  options.max_held = 6;
  options.max_port_held = 4;
  options.max_held_octets = 12 * 2048;
  options.max_port_held_octets = 5000;
  FragmentTable table(options);
  const auto later = [&](uint32_t id, PortIndex port, size_t length) {
    return table.later(key(id, port), {800, 8, true}, frame(length, 1), kNow).outcome;
  };
  for (uint32_t id = 1; id <= 4; ++id) CHECK(later(id, 1, 100) == held);
  CHECK(later(5, 1, 100) == FragmentOutcome::limit);
  CHECK(table.port_datagrams(1) == 4);
  CHECK(later(6, 2, 4000) == held);
  CHECK(later(7, 2, 2000) == FragmentOutcome::limit);  // octets of the port
  CHECK(later(8, 2, 900) == held);
  CHECK(later(9, 4, 10) == FragmentOutcome::limit);  // fragments in all
  for (uint32_t id = 20; id < 22; ++id)
    CHECK(table.first(key(id, 4), {0, 800, true}, 8, kNow).outcome == judge);
  CHECK(table.first(key(22, 4), {0, 800, true}, 8, kNow).outcome ==
        FragmentOutcome::limit);  // datagrams in all
  CHECK(table.forget_port(1) == 4);
  for (uint32_t id = 30; id < 33; ++id)
    CHECK(table.first(key(id, 4), {0, 800, true}, 8, kNow).outcome == judge);
  CHECK(table.first(key(33, 4), {0, 800, true}, 8, kNow).outcome == FragmentOutcome::limit);  // of the port
  CHECK(table.check() == nullptr);
}

TEST_CASE("what waits too long is dropped and counted; a fragment that could not be held leaves no trace") {
  FragmentOptions options;
  options.max_port_held = 1;
  FragmentTable table(options);
  CHECK(table.later(key(1), {800, 8, true}, frame(100, 1), kNow).outcome == held);
  CHECK(table.later(key(1), {808, 8, true}, frame(100, 1), kNow).outcome == FragmentOutcome::limit);
  CHECK(table.later(key(2), {800, 8, true}, frame(100, 1), kNow).outcome == FragmentOutcome::limit);
  CHECK(table.counts().datagrams == 1);
  uint32_t dropped = 0;
  const auto expired = [&](PortIndex port, uint32_t count) {
    CHECK(port == 3);
    dropped += count;
  };
  table.sweep(1024, kNow + kSecond - 1, expired);
  CHECK(dropped == 0);
  table.sweep(1024, kNow + kSecond, expired);
  CHECK(dropped == 1);
  CHECK(table.counts().datagrams == 0);
  const auto first = table.first(key(3), {0, 800, true}, 8, kNow);
  table.decide(first.datagram, {}, [](std::span<uint8_t>) {});
  CHECK(table.later(key(3), {800, 8, true}, frame(100, 1), kNow + 3 * kSecond).outcome == follow);
  const auto late = table.later(key(3), {808, 8, true}, frame(100, 1), kNow + 10 * kSecond);
  CHECK(late.outcome == held);
  const auto later = table.later(key(3), {808, 8, true}, frame(100, 1), kNow + 20 * kSecond);
  CHECK(later.outcome == held);
  CHECK(later.lapsed == 1);
  CHECK(table.check() == nullptr);
}

TEST_CASE("random fragments never break the table's counts nor let two ranges overlap") {
  std::mt19937 random(7);
  FragmentOptions options;
  options.max_datagrams = 6;
  options.max_held = 8;
  options.max_held_octets = 8 * 2048;
  FragmentTable table(options);
  uint64_t now = kNow;
  for (int i = 0; i < 20000; ++i) {
    const auto below = [&](uint32_t n) { return static_cast<uint32_t>(random() % n); };
    const FragmentKey k = key(below(8), static_cast<PortIndex>(below(3)));
    const FragmentRange range{below(12) * 8, 8 + below(4) * 8, below(4) != 0};
    if (range.offset == 0) {
      const auto result = table.first(k, range, 8, now);
      if (result.outcome == judge) table.decide(result.datagram, {}, [](std::span<uint8_t>) {});
    } else {
      (void)table.later(k, range, frame(1 + below(5000), 1), now);
    }
    now += below(3) * (kSecond / 10);
    if (below(50) == 0) table.sweep(3, now, [](PortIndex, uint32_t) {});
    if (below(500) == 0) (void)table.forget_port(static_cast<PortIndex>(below(3)));
    const char* problem = table.check();
    CAPTURE(problem);
    REQUIRE(problem == nullptr);
  }
}

TEST_CASE("IPv6 fragments belong together whatever protocol a later one names; IPv4 ones do not") {
  for (const uint8_t family : {uint8_t{4}, uint8_t{6}}) {
    CAPTURE(static_cast<int>(family));
    FragmentTable table({});
    FragmentKey k = key();
    k.family = family;
    const auto first = table.first(k, {0, 800, true}, 8, kNow);
    table.decide(first.datagram, {}, [](std::span<uint8_t>) {});
    k.protocol = 60;  // destination options
    CHECK(table.later(k, {800, 8, true}, frame(100, 1), kNow).outcome == (family == 6 ? follow : held));
  }
}
