// Fragments through the switch: later ones meet what the first met, in any order.
#include <doctest/doctest.h>

#include "switch_harness.h"

namespace weft::test {
namespace {

struct Fragmented : Harness {
  ImageBuilder image;
  explicit Fragmented(Options options = {}) : Harness(options) {
    add("a", {"10.0.0.1", "fd00::1"});
    add("b", {"10.0.0.2", "fd00::2"});
    add("c", {"10.0.0.3"});
    image.pod({"10.0.0.1", "fd00::1"});
    const uint32_t b = image.pod({"10.0.0.2", "fd00::2"});
    image.pod({"10.0.0.3"});
    image.isolate(b, Direction::ingress, {{.protocol = 17, .first = 53, .last = 54}});
    image.service("10.96.0.1", 53, 17, {{"10.0.0.2", 54}});
    sw->set_image(image.load());
  }
};

TEST_CASE_FIXTURE(Fragmented, "later fragments follow the first, allowed or denied, in order") {
  play({
      {"a", "udp 10.0.0.1:9 > 10.0.0.2:53 frag 7@0+ len 1000",
       "b: udp 10.0.0.1:9 > 10.0.0.2:53 len 1000 frag 7@0+"},
      {"a", "udp 10.0.0.1 > 10.0.0.2 frag 7@1008+ len 400",
       "b: udp 10.0.0.1 > 10.0.0.2 len 400 frag 7@1008+"},
      {"a", "udp 10.0.0.1 > 10.0.0.2 frag 7@1408 len 33", "b: udp 10.0.0.1 > 10.0.0.2 len 33 frag 7@1408"},
      {"a", "udp 10.0.0.1:9 > 10.0.0.2:99 frag 8@0+ len 1000", "drop policy-ingress"},
      {"a", "udp 10.0.0.1 > 10.0.0.2 frag 8@1008 len 400", "drop policy-ingress"},
      {"a", "udp [fd00::1]:9 > [fd00::2]:53 frag 7@0+ len 1000",
       "b: udp [fd00::1]:9 > [fd00::2]:53 len 1000 frag 7@0+"},
      {"a", "udp fd00::1 > fd00::2 frag 7@1008 len 400", "b: udp fd00::1 > fd00::2 len 400 frag 7@1008"},
  });
}

TEST_CASE_FIXTURE(Fragmented, "fragments that come before the first are held and then go the same way") {
  play({
      {"a", "udp 10.0.0.1 > 10.0.0.2 frag 7@1408 len 33", ""},
      {"a", "udp 10.0.0.1 > 10.0.0.2 frag 7@1008+ len 400", ""},
  });
  const std::string out = send("a", "udp 10.0.0.1:9 > 10.0.0.2:53 frag 7@0+ len 1000");
  CHECK(out.find("frag 7@0+") != std::string::npos);
  CHECK(out.find("frag 7@1008+") != std::string::npos);
  CHECK(out.find("frag 7@1408") != std::string::npos);
  CHECK(out.find("drop") == std::string::npos);
  play({{"a", "udp 10.0.0.1 > 10.0.0.2 frag 8@1008 len 400", ""}});
  CHECK_EQ(send("a", "udp 10.0.0.1:9 > 10.0.0.2:99 frag 8@0+ len 1000"),
           "drop policy-ingress; drop policy-ingress");
}

TEST_CASE_FIXTURE(Fragmented, "fragments to a service are translated, all of them") {
  play({
      {"a", "udp 10.0.0.1:9 > 10.96.0.1:53 frag 7@0+ len 1000",
       "b: udp 10.0.0.1:9 > 10.0.0.2:54 len 1000 frag 7@0+"},
      {"a", "udp 10.0.0.1 > 10.96.0.1 frag 7@1008 len 400", "b: udp 10.0.0.1 > 10.0.0.2 len 400 frag 7@1008"},
      {"b", "udp 10.0.0.2 > 10.0.0.1 frag 9@1008 len 400", ""},
  });
  const std::string out = send("b", "udp 10.0.0.2:54 > 10.0.0.1:9 frag 9@0+ len 1000");
  CHECK(out.find("a: udp 10.96.0.1:53 > 10.0.0.1:9 len 1000 frag 9@0+") != std::string::npos);
  CHECK(out.find("a: udp 10.96.0.1 > 10.0.0.1 len 400 frag 9@1008") != std::string::npos);
}

TEST_CASE_FIXTURE(Fragmented,
                  "overlaps and fragments inside the transport header are dropped, with what was held") {
  play({
      {"a", "udp 10.0.0.1:9 > 10.0.0.2:53 frag 7@0+ len 1000",
       "b: udp 10.0.0.1:9 > 10.0.0.2:53 len 1000 frag 7@0+"},
      {"a", "udp 10.0.0.1 > 10.0.0.2 frag 7@1000 len 400", "drop fragment-overlap"},
      {"a", "udp 10.0.0.1 > 10.0.0.2 frag 7@1408 len 8", "drop fragment-overlap"},
      {"a", "tcp 10.0.0.1:9 > 10.0.0.3:53 S frag 8@0+ len 100",
       "c: tcp 10.0.0.1:9 > 10.0.0.3:53 S len 100 frag 8@0+"},
      {"a", "tcp 10.0.0.1 > 10.0.0.3 frag 8@8 len 400", "drop fragment-overlap"},
  });
}

TEST_CASE_FIXTURE(Fragmented, "a fragment whose first never comes is dropped when its time is over") {
  play({{"a", "udp 10.0.0.1 > 10.0.0.2 frag 7@1408 len 33", ""}});
  // An idle worker looks twice a second; what is held has a second, and counts against its port until then.
  for (int i = 0; i < 3; ++i) {
    pass(500'000'000);
    work();
  }
  CHECK_EQ(collect(), "drop fragment-no-first");
}

TEST_CASE_FIXTURE(
    Fragmented,
    "held fragments whose time is over are counted too where their identification is used again") {
  play({{"a", "udp 10.0.0.1 > 10.0.0.2 frag 7@1408 len 33", ""}});
  pass(1'500'000'000);
  play({{"a", "udp 10.0.0.1:9 > 10.0.0.2:53 frag 7@0+ len 1000",
         "b: udp 10.0.0.1:9 > 10.0.0.2:53 len 1000 frag 7@0+; drop fragment-no-first"}});
}

TEST_CASE_FIXTURE(Fragmented,
                  "fragments of a datagram that an older policy judged do not pass after a change") {
  play({{"a", "udp 10.0.0.1:9 > 10.0.0.2:53 frag 7@0+ len 1000",
         "b: udp 10.0.0.1:9 > 10.0.0.2:53 len 1000 frag 7@0+"}});
  sw->set_image(image.load());
  play({{"a", "udp 10.0.0.1 > 10.0.0.2 frag 7@1008 len 400", "drop fragment-no-first"}});
}

TEST_CASE_FIXTURE(Fragmented, "what a port left held is not sent for its successor") {
  play({{"a", "udp 10.0.0.1 > 10.0.0.2 frag 7@1008 len 400", ""}});
  const PortIndex index = handle("a").index;
  remove("a");
  for (int i = 0; i < 2000 && (i == 0 || handle("a2").index != index); ++i) {
    if (i != 0) remove("a2");
    add("a2", {"10.0.0.1"});
  }
  REQUIRE(handle("a2").index == index);
  CHECK_EQ(send("a2", "udp 10.0.0.1:9 > 10.0.0.2:53 frag 7@0+ len 1000"),
           "b: udp 10.0.0.1:9 > 10.0.0.2:53 len 1000 frag 7@0+");
}

TEST_CASE("one port's fragments do not use up another's share") {
  Harness::Options options;
  options.settings.held_fragments = 16;
  options.settings.held_fragments_per_port = 8;
  options.settings.fragmented_packets = 16;
  options.settings.fragmented_packets_per_port = 8;
  Fragmented lab(options);
  int held = 0;
  for (int i = 0; i < 30; ++i)
    held += lab.send("a", "udp 10.0.0.1 > 10.0.0.2 frag " + std::to_string(100 + i) + "@1408 len 33").empty();
  CHECK(held == 8);
  CHECK(lab.drops("a", DropReason::fragment_limit) == 22);
  lab.play({{"c", "udp 10.0.0.3 > 10.0.0.2 frag 7@1008 len 40", ""}});
  const std::string out = lab.send("c", "udp 10.0.0.3:9 > 10.0.0.2:53 frag 7@0+ len 1000");
  CHECK(out.find("frag 7@1008") != std::string::npos);
}

}  // namespace
}  // namespace weft::test
