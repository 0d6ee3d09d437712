// The switch against a model a page long: random policies, random packets from few addresses and ports (so
// that they meet again, from both sides), policy changes in between. The model knows nothing of images,
// tables or translations: a packet passes if it belongs to a connection that its beginner may have today, or
// may begin one.
#include <doctest/doctest.h>

#include <map>
#include <random>
#include <tuple>

#include "switch_harness.h"

namespace weft::test {
namespace {

constexpr uint32_t kAnyPod = ImageBuilder::kAnyPod, kOutside = ImageBuilder::kOutside,
                   kEverybody = ImageBuilder::kEverybody;

struct End {
  const char* address;
  const char* port;  // of the switch that it sends by
  bool is_pod, is_local, is_node;
};
// Local pods 0 to 3, a pod of another node, the node itself, another node, the world.
constexpr End kEnds[] = {
    {"10.0.0.1", "p0", true, true, false},        {"10.0.0.2", "p1", true, true, false},
    {"10.0.0.3", "p2", true, true, false},        {"10.0.0.4", "p3", true, true, false},
    {"10.1.0.9", "host", true, false, false},     {"192.168.0.1", "host", false, false, true},
    {"192.168.0.2", "host", false, false, false}, {"8.8.8.8", "host", false, false, false}};
constexpr size_t kLocal = 4, kCount = std::size(kEnds);

struct Policy {
  // [pod][direction]; absent: not isolated.
  std::map<std::pair<size_t, Direction>, std::vector<ImageBuilder::Allow>> rows;
  bool judge_own_node = false;

  [[nodiscard]] bool lets(size_t pod, Direction direction, size_t peer, uint8_t protocol,
                          uint16_t port) const {
    const auto row = rows.find({pod, direction});
    if (row == rows.end()) return true;
    for (const ImageBuilder::Allow& allow : row->second) {
      const bool who = allow.peer == kEverybody || (allow.peer == kAnyPod && kEnds[peer].is_pod) ||
                       (allow.peer == kOutside && !kEnds[peer].is_pod) || allow.peer == peer;
      const bool what =
          allow.protocol == 0 || (allow.protocol == protocol && allow.first <= port && port <= allow.last);
      if (who && what) return true;
    }
    return false;
  }
  [[nodiscard]] bool may(size_t from, size_t to, uint8_t protocol, uint16_t port) const {
    const bool node_exempt = kEnds[to].is_node && !judge_own_node;
    if (kEnds[from].is_local && !node_exempt && !lets(from, Direction::egress, to, protocol, port))
      return false;
    return !kEnds[to].is_local || kEnds[from].is_node || lets(to, Direction::ingress, from, protocol, port);
  }
  [[nodiscard]] std::shared_ptr<const Image> image() const {
    ImageBuilder builder;
    for (size_t i = 0; i <= kLocal; ++i) builder.pod({kEnds[i].address}, kEnds[i].is_local);
    builder.own_node(kEnds[5].address);
    builder.other_node(kEnds[6].address);
    for (const auto& [key, allow] : rows)
      builder.isolate(static_cast<uint32_t>(key.first), key.second, allow);
    builder.judge_own_node = judge_own_node;
    return builder.load();
  }
};

Policy random_policy(std::mt19937& random) {
  const auto below = [&](uint32_t n) { return static_cast<uint32_t>(random() % n); };
  Policy policy;
  policy.judge_own_node = below(3) == 0;
  for (size_t pod = 0; pod < kLocal; ++pod)
    for (const Direction direction : {Direction::egress, Direction::ingress}) {
      if (below(3) == 0) continue;
      auto& allow = policy.rows[{pod, direction}];
      // Ranges of one protocol do not overlap within a cell: one of each protocol for each kind of peer.
      const uint32_t peers[] = {below(kLocal + 1), kAnyPod, kOutside, kEverybody};
      const uint32_t peer = peers[below(4)];
      for (const uint8_t protocol : {uint8_t{6}, uint8_t{17}}) {
        if (below(2) == 0) continue;
        const auto first = static_cast<uint16_t>(1 + below(3));
        allow.push_back({peer, protocol, first, static_cast<uint16_t>(first + below(2))});
      }
      if (below(5) == 0) allow.push_back({below(kLocal), 0, 0, 65535});
    }
  return policy;
}

TEST_CASE("packets pass exactly when the model says so, over random policies, packets and policy changes") {
  for (uint32_t seed = 1; seed <= 8; ++seed) {
    CAPTURE(seed);
    std::mt19937 random(seed);
    Harness::Options options;
    options.settings.live.flow_sample = 0;
    options.settings.live.flows_per_second = 1;
    Harness lab(options);
    for (size_t i = 0; i < kLocal; ++i) lab.add(kEnds[i].port, {kEnds[i].address});
    lab.add("host", {kEnds[5].address}, {.kind = PortKind::host});
    Policy policy = random_policy(random);
    lab.sw->set_image(policy.image());

    struct Flow {
      size_t from, to;
      int from_port, to_port;
      uint8_t protocol;
      auto operator<=>(const Flow&) const = default;
    };
    std::map<Flow, bool> live;
    int passed = 0, denied = 0, ended = 0;
    for (int step = 0; step < 1500; ++step) {
      if (random() % 60 == 0) {
        policy = random_policy(random);
        lab.sw->set_image(policy.image());
      }
      const Flow sent = {random() % kCount, random() % kCount, static_cast<int>(1 + random() % 3),
                         static_cast<int>(1 + random() % 3), 17};
      // Between two ends that are both behind the host nothing comes by.
      if (sent.from == sent.to || (!kEnds[sent.from].is_local && !kEnds[sent.to].is_local)) continue;
      const Flow reverse = {sent.to, sent.from, sent.to_port, sent.from_port, sent.protocol};
      bool passes = false;
      const Flow* known = live.count(sent) != 0 ? &sent : live.count(reverse) != 0 ? &reverse : nullptr;
      if (known != nullptr) {
        passes = policy.may(known->from, known->to, 17, static_cast<uint16_t>(known->to_port));
        // Forbidden, it stays known, and may go on when policy allows it again.
        ended += !passes;
      } else {
        passes = policy.may(sent.from, sent.to, 17, static_cast<uint16_t>(sent.to_port));
        if (passes) live[sent] = true;
      }
      const std::string text = std::string("udp ") + kEnds[sent.from].address + ":" +
                               std::to_string(sent.from_port) + " > " + kEnds[sent.to].address + ":" +
                               std::to_string(sent.to_port);
      CAPTURE(step);
      CAPTURE(text);
      const std::string happened = lab.send(kEnds[sent.from].port, text);
      const std::string expected = std::string(kEnds[sent.to].port) + ": " + text;
      if (passes)
        REQUIRE_EQ(happened, expected);
      else
        REQUIRE_MESSAGE((happened == "drop policy-egress" || happened == "drop policy-ingress"), happened);
      ++(passes ? passed : denied);
      REQUIRE(lab.table->counts().used == live.size());
    }
    CHECK(passed > 100);
    CHECK(denied > 100);
    CHECK(ended > 5);
  }
}

}  // namespace
}  // namespace weft::test
