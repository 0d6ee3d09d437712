// Valid frames of every kind, cut off anywhere and damaged at random: exactly one reason or a packet whose
// offsets hold.
#include <doctest/doctest.h>

#include <random>

#include "test/packet_frames.h"

using namespace weft;
using namespace weft::test;

namespace {

// One valid frame of every kind that the parser knows.
struct Sample {
  const char* what;
  Bytes bytes;
};

std::vector<Sample> samples() {
  Network options = {};
  options.options = {0x94, 4, 0, 0, 1, 1, 1, 0};  // router alert, no-operation, end
  Network chain = network6();
  chain.next = 0;
  chain.extensions = {60, 0, 5, 2, 0, 0, 1, 0, 6, 0, 1, 4, 0, 0, 0, 0};
  Network atomic = network6();
  atomic.next = 44;
  atomic.extensions = {17, 0, 0, 0, 0, 0, 0, 9};
  Network first = {};
  first.fragment = 0x2000;
  Network later = {};
  later.fragment = 0x2000 | 4;
  const Bytes quoted6 =
      ip_packet(Network{.source = kServer6, .destination = kClient6}, 6, tcp(0x10, counted(9)));
  return {
      {"arp", arp()},
      {"tcp4", frame({}, 6, tcp(0x18, counted(33)))},
      {"tcp4 syn with options", frame({}, 6, tcp(0x02, {}, {2, 4, 5, 0xb4, 3, 3, 7, 1}))},
      {"tcp4 with IP options", frame(options, 6, tcp(0x10, counted(5)))},
      {"tcp6", frame(network6(), 6, tcp(0x11))},
      {"tcp6 behind extensions", frame(chain, 6, tcp(0x10, counted(3)))},
      {"udp4", frame({}, 17, udp(counted(11)))},
      {"udp6 atomic fragment", frame(atomic, 17, udp(counted(10)))},
      {"sctp4 init", frame({}, 132, sctp_init())},
      {"sctp6 data", frame(network6(), 132, sctp(5, {0, 3, 0, 8, 1, 2, 3, 4}))},
      {"icmp echo", frame({}, 1, icmp(8, 0, 0x00070001, counted(56)))},
      {"icmp port unreachable", frame({}, 1, icmp(3, 3, 0, quoted_udp4()))},
      {"icmpv6 echo", frame(network6(), 58, icmp(128, 0, 0x00070001, counted(8)))},
      {"icmpv6 too big", frame(network6(), 58, icmp(2, 0, 1280, quoted6))},
      {"neighbour solicitation", solicitation(kClient6)},
      {"first fragment", frame(first, 17, udp(counted(24)))},
      {"later fragment", frame(later, 17, counted(16))},
      {"gre", frame({}, 47, counted(13))},
      {"priority tag", vlan(frame({}, 6, tcp(0x10, counted(7))), 0x6000)},
  };
}

}  // namespace

TEST_CASE(
    "every kind of valid frame parses, and cut off at any byte it ends in one reason or is still valid") {
  for (const Sample& s : samples()) {
    CAPTURE(s.what);
    CHECK(name(Parsed(s.bytes).reason) == "none");
    for (size_t length = 0; length < s.bytes.size(); ++length) {
      CAPTURE(length);
      // The IP length says that more was there, so a cut frame is never valid.
      CHECK(Parsed(part(s.bytes, 0, length)).reason != DropReason::none);
    }
  }
}

TEST_CASE("random damage never leads outside of the frame") {
  std::mt19937 random(20240607);
  const std::vector<Sample> all = samples();
  int valid = 0;
  for (int round = 0; round < 40000; ++round) {
    Bytes b = all[random() % all.size()].bytes;
    for (auto n = random() % 6; n != 0; --n) b[random() % b.size()] = static_cast<uint8_t>(random());
    if (random() % 4 == 0) b.resize(random() % (b.size() + 8));
    // Half of the time the IPv4 checksum is made right again, or hardly any damage would get past it.
    if (random() % 2 == 0 && b.size() >= 34 && b[12] == 8 && b[13] == 0) b = changed_ip(b, 1, b[15]);
    VnetHeader hostile;
    if (random() % 4 == 0) {
      hostile = claim(static_cast<uint16_t>(random() % 80), static_cast<uint16_t>(random() % 20),
                      static_cast<uint8_t>(random() % 6), static_cast<uint16_t>(random() % 2000));
      hostile.hdr_len = static_cast<uint16_t>(random() % 100);
    }
    const Parsed p(b, hostile);
    if (p.reason != DropReason::none) continue;
    ++valid;
    const Packet& q = p.packet;
    CHECK(q.length <= b.size());
    CHECK(q.l3_offset == 14);
    if (q.kind == PacketKind::arp) continue;
    CHECK(q.l4_offset <= q.payload_offset);
    CHECK(q.payload_offset + q.payload_length <= q.length);
    if (q.icmp_error) CHECK(q.quoted.l4_offset + (q.quoted.has_transport ? 8u : 0u) <= q.length);
    if (q.needs_checksum()) CHECK(q.vnet.csum_start + q.vnet.csum_offset + 2u <= q.length);
  }
  CHECK(valid > 1000);
}
