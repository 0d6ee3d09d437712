// A small world in which some pods are isolated, for tests of the switch.
#pragma once

#include "switch_harness.h"

namespace weft::test {

inline constexpr uint8_t kTcp = 6, kUdp = 17;

// a → b:80/TCP is all that b lets in; c may send nothing but DNS to b; d is free.
struct Judged : Harness {
  ImageBuilder image;
  uint32_t a = 0, b = 0, c = 0, d = 0;
  Judged() {
    add("a", {"10.0.0.1", "fd00::1"});
    add("b", {"10.0.0.2", "fd00::2"});
    add("c", {"10.0.0.3"});
    add("d", {"10.0.0.4"});
    add("host", {"192.168.0.1"}, {.kind = PortKind::host});
    a = image.pod({"10.0.0.1", "fd00::1"});
    b = image.pod({"10.0.0.2", "fd00::2"});
    c = image.pod({"10.0.0.3"});
    d = image.pod({"10.0.0.4"});
    image.pod({"10.1.0.9"}, false);
    image.own_node("192.168.0.1");
    image.other_node("192.168.0.2");
    image.isolate(b, Direction::ingress, {{.peer = a, .protocol = kTcp, .first = 80, .last = 80}});
    image.isolate(c, Direction::egress, {{.peer = d, .protocol = kUdp, .first = 53, .last = 53}});
    sw->set_image(image.load());
  }
};

}  // namespace weft::test
