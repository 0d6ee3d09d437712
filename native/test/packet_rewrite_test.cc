#include <doctest/doctest.h>

#include <random>

#include "packet/checksum.h"
#include "packet/rewrite.h"
#include "test/packet_frames.h"

using namespace weft;
using namespace weft::test;

namespace {

const Address kOther4 = v4(192, 168, 77, 200), kBackend4 = v4(10, 43, 5, 1);
const Address kOther6 = v6(0x1111, 0x2001), kBackend6 = v6(0x2222, 0x2002);

FlowTuple translated(const FlowTuple& from, uint16_t source_port = 61001, uint16_t destination_port = 8443) {
  const bool is_v4 = from.family == 4;
  return {is_v4 ? kOther4 : kOther6,
          is_v4 ? kBackend4 : kBackend6,
          source_port,
          destination_port,
          from.protocol,
          from.family,
          0};
}

Bytes transport_of(uint8_t protocol, size_t payload) {
  switch (protocol) {
    case 6:
      return tcp(0x18, counted(payload));
    case 17:
      return udp(counted(payload));
    case 132: {
      Bytes chunk{0, 3};
      put16(chunk, static_cast<uint32_t>(4 + payload));
      append(chunk, counted(payload));
      return sctp(7, chunk);
    }
    case 1:
      return icmp(8, 0, 0x00070001, counted(payload));
    case 58:
      return icmp(128, 0, 0x00070001, counted(payload));
    default:
      return counted(payload);
  }
}

}  // namespace

TEST_CASE("NAT leaves every checksum right and the payload alone") {
  struct Kind {
    bool v4_family;
    uint8_t protocol;
  };
  for (const Kind k : {Kind{true, 6}, Kind{true, 17}, Kind{true, 132}, Kind{true, 1}, Kind{true, 47},
                       Kind{false, 6}, Kind{false, 17}, Kind{false, 132}, Kind{false, 58}, Kind{false, 47}})
    for (const size_t payload : {0u, 1u, 33u, 1400u}) {
      CAPTURE(k.protocol);
      CAPTURE(payload);
      Parsed p(frame(k.v4_family ? Network{} : network6(), k.protocol, transport_of(k.protocol, payload)));
      REQUIRE(p.reason == DropReason::none);
      const Bytes before = p.bytes();
      const FlowTuple to = translated(p.packet.tuple);
      REQUIRE(rewrite(p.packet, to) == DropReason::none);
      CHECK(p.checksums_right());
      const Parsed again(p.bytes());
      REQUIRE(again.reason == DropReason::none);
      CHECK(again.packet.tuple == p.packet.tuple);
      CHECK(again.packet.tuple.source == to.source);
      CHECK(again.packet.tuple.destination == to.destination);
      if (k.protocol != 47) CHECK(again.packet.tuple.source_port == 61001);
      const size_t at = p.packet.payload_offset;
      CHECK(part(p.bytes(), at, payload) == part(before, at, payload));
      // By the short way that a connection's packets go.
      Parsed q(before);
      REQUIRE(q.reason == DropReason::none);
      REQUIRE(rewrite_connection(q.packet, to) == DropReason::none);
      CHECK(q.bytes() == p.bytes());
      CHECK(q.packet.tuple == p.packet.tuple);
    }
}

TEST_CASE("translating there and back gives the same bytes") {
  for (const uint8_t protocol : std::initializer_list<uint8_t>{6, 17, 132, 1}) {
    Parsed p(frame({}, protocol, transport_of(protocol, 100)));
    const Bytes before = p.bytes();
    const FlowTuple original = p.packet.tuple;
    REQUIRE(rewrite(p.packet, translated(original)) == DropReason::none);
    CHECK(p.bytes() != before);
    REQUIRE(rewrite(p.packet, original) == DropReason::none);
    CHECK(p.bytes() == before);
  }
}

TEST_CASE("a checksum that was wrong stays wrong") {
  for (const uint8_t protocol : std::initializer_list<uint8_t>{6, 17, 132, 1}) {
    Bytes b = frame({}, protocol, transport_of(protocol, 100));
    b[90] ^= 0x40;
    Parsed p(b);
    REQUIRE(rewrite(p.packet, translated(p.packet.tuple)) == DropReason::none);
    CHECK_FALSE(p.checksums_right());
  }
}

TEST_CASE("a UDP checksum of 0 stays 0, and an update never makes one") {
  Bytes b = frame({}, 17, udp(counted(4)));
  set16(b, 40, 0);
  Parsed none(b);
  REQUIRE(rewrite(none.packet, translated(none.packet.tuple)) == DropReason::none);
  CHECK(get16(none.transport(), 6) == 0);
  // Every source port once: one of them makes the sum 0xffff, so its checksum would be 0.
  Parsed p(frame({}, 17, udp(counted(4))));
  bool seen = false;
  for (uint32_t port = 1; port <= 0xffff; ++port) {
    FlowTuple to = p.packet.tuple;
    to.source_port = static_cast<uint16_t>(port);
    REQUIRE(rewrite(p.packet, to) == DropReason::none);
    const uint32_t sum = get16(p.transport(), 6);
    REQUIRE(sum != 0);
    if (sum == 0xffff) {
      seen = true;
      CHECK(p.checksums_right());
    }
  }
  CHECK(seen);
}

TEST_CASE("an echo reply of zeros keeps its checksum 0xffff when nothing changes") {
  Parsed p(frame({}, 1, icmp(0, 0, 0, Bytes(8, 0))));
  REQUIRE(get16(p.transport(), 2) == 0xffff);
  REQUIRE(rewrite(p.packet, translated(p.packet.tuple, 0, 0)) == DropReason::none);
  CHECK(get16(p.transport(), 2) == 0xffff);
}

TEST_CASE("a partial checksum is carried and right once it is completed") {
  for (const bool v4_family : {true, false})
    for (const uint8_t protocol : std::initializer_list<uint8_t>{6, 17}) {
      const Network n = v4_family ? Network{} : network6();
      Bytes b = frame(n, protocol, transport_of(protocol, 77));
      const auto l4 = static_cast<uint16_t>(v4_family ? 34 : 54);
      const auto at = static_cast<uint16_t>(checksum_at(protocol));
      const auto pseudo_sum = [&](const FlowTuple& t) {
        Bytes pseudo = covered(t.source, t.destination, protocol, Bytes(b.size() - l4, 0));
        pseudo.resize(pseudo.size() - (b.size() - l4));
        return static_cast<uint16_t>(~naive_checksum(pseudo));
      };
      Parsed first(b);
      set16(b, l4 + size_t{at}, pseudo_sum(first.packet.tuple));
      Parsed p(b, claim(l4, at));
      REQUIRE(p.reason == DropReason::none);
      REQUIRE(rewrite(p.packet, translated(p.packet.tuple)) == DropReason::none);
      CHECK(p.packet.needs_checksum());
      CHECK(get16(p.transport(), at) == pseudo_sum(p.packet.tuple));
      REQUIRE(complete_checksum(p.packet));
      CHECK(p.checksums_right());
    }
}

TEST_CASE("one end rewritten by the short way gives the bytes of the long way") {
  enum class Sum { right, partial, none };
  for (const bool v4_family : {true, false})
    for (const uint8_t protocol : std::initializer_list<uint8_t>{6, 17})
      for (const Sum sum : {Sum::right, Sum::partial, Sum::none})
        for (const uint32_t end : {0u, 1u}) {
          if (sum == Sum::none && protocol == 6) continue;
          CAPTURE(v4_family);
          CAPTURE(protocol);
          CAPTURE(end);
          Bytes b = frame(v4_family ? Network{} : network6(), protocol, transport_of(protocol, 33));
          const auto l4 = static_cast<uint16_t>(v4_family ? 34 : 54);
          const auto at = static_cast<uint16_t>(checksum_at(protocol));
          if (sum == Sum::none) set16(b, l4 + size_t{at}, 0);
          const VnetHeader vnet = sum == Sum::partial ? claim(l4, at) : VnetHeader{};
          Parsed shortly(b, vnet), fully(b, vnet);
          // IPv6 knows no datagram without a checksum, so there is nothing to compare.
          if (shortly.reason != DropReason::none) continue;
          // Each port once, so that every sum is met, also those whose checksum would be 0.
          bool right = true;
          for (uint32_t port = 1; port <= 0xffff; ++port) {
            FlowTuple to = fully.packet.tuple;
            const FlowTuple other = translated(to, static_cast<uint16_t>(port), static_cast<uint16_t>(port));
            const Address& address = port % 2 == 0 ? kBackend4 : kOther4;
            (end == 0 ? to.source : to.destination) =
                v4_family ? address : (port % 2 == 0 ? kBackend6 : kOther6);
            (end == 0 ? to.source_port : to.destination_port) = other.source_port;
            const EndChange change = change_of(fully.packet.tuple, to, end);
            REQUIRE(rewrite(fully.packet, to) == DropReason::none);
            end == 0 ? rewrite_end<0>(shortly.packet, change) : rewrite_end<1>(shortly.packet, change);
            right = right && shortly.bytes() == fully.bytes();
          }
          CHECK(right);
          if (sum == Sum::right) CHECK(shortly.checksums_right());
        }
}

TEST_CASE("fragments: the first carries the ports, later ones addresses only") {
  // A datagram cut in two, translated piece by piece and put together again, has a right checksum.
  const Bytes whole = with_checksum(kClient4, kServer4, 17, udp(counted(40)));
  Network first_network, later_network;
  first_network.fragment = 0x2000;
  later_network.fragment = 3;
  Bytes first_bytes = ethernet(0x0800), later_bytes = ethernet(0x0800);
  append(first_bytes, ip_packet(first_network, 17, part(whole, 0, 24)));
  append(later_bytes, ip_packet(later_network, 17, part(whole, 24, 24)));
  Parsed first(first_bytes), later(later_bytes);
  REQUIRE(first.reason == DropReason::none);
  REQUIRE(later.reason == DropReason::none);
  const FlowTuple to = translated(first.packet.tuple);
  REQUIRE(rewrite(first.packet, to) == DropReason::none);
  REQUIRE(rewrite(later.packet, to) == DropReason::none);
  CHECK(later.packet.tuple.source_port == 0);
  CHECK(later.transport() == part(whole, 24, 24));
  Bytes joined = first.transport();
  append(joined, later.transport());
  CHECK(get16(joined, 0) == 61001);
  CHECK(checksum_right(kOther4, kBackend4, 17, joined));
}

TEST_CASE("a fragmented SCTP packet gets new addresses but no new port") {
  Network n;
  n.fragment = 0x2000;
  Parsed p(frame(n, 132, part(transport_of(132, 100), 0, 96)));
  REQUIRE(p.reason == DropReason::none);
  const Bytes before = p.bytes();
  CHECK(rewrite(p.packet, translated(p.packet.tuple)) == DropReason::sctp_fragment);
  CHECK(p.bytes() == before);
  const FlowTuple& t = p.packet.tuple;
  REQUIRE(rewrite(p.packet, translated(t, t.source_port, t.destination_port)) == DropReason::none);
  CHECK(p.transport() == part(before, 34, 96));
}

TEST_CASE("a tuple of another family or protocol is refused") {
  Parsed p(frame({}, 6, tcp(0x10)));
  const Bytes before = p.bytes();
  FlowTuple to = translated(p.packet.tuple);
  to.protocol = 17;
  CHECK(rewrite(p.packet, to) == DropReason::internal);
  to = translated(p.packet.tuple);
  to.source = kOther6;
  CHECK(rewrite(p.packet, to) == DropReason::internal);
  CHECK(rewrite_quoted(p.packet, to) == DropReason::internal);
  CHECK(p.bytes() == before);
}

TEST_CASE("an ICMP error is translated inside and out") {
  for (const bool v4_family : {true, false})
    for (const uint8_t protocol :
         {uint8_t{6}, uint8_t{17}, uint8_t{132}, uint8_t(v4_family ? 1 : 58), uint8_t{47}})
      for (const size_t cut : {8u, 30u, 120u}) {
        CAPTURE(v4_family);
        CAPTURE(protocol);
        CAPTURE(cut);
        Network inner = v4_family ? Network{} : network6();
        std::swap(inner.source, inner.destination);
        const Bytes transport =
            with_checksum(inner.source, inner.destination, protocol, transport_of(protocol, 100));
        Bytes quote = ip_packet(inner, protocol, transport);
        const size_t header = v4_family ? 20 : 40;
        quote.resize(std::min(quote.size(), header + cut));
        const Network outer = v4_family ? Network{} : network6();
        Parsed p(frame(outer, v4_family ? 1 : 58, icmp(v4_family ? 3 : 1, v4_family ? 3 : 4, 0, quote)));
        REQUIRE(p.reason == DropReason::none);
        REQUIRE(p.packet.icmp_error);
        FlowTuple inner_to = translated(p.packet.quoted.tuple);
        if (protocol == 1 || protocol == 58) inner_to.destination_port = inner_to.source_port;
        if (protocol == 47) inner_to.source_port = inner_to.destination_port = 0;
        REQUIRE(rewrite_quoted(p.packet, inner_to) == DropReason::none);
        CHECK(p.checksums_right());
        REQUIRE(rewrite(p.packet, translated(p.packet.tuple, 0, 0)) == DropReason::none);
        CHECK(p.checksums_right());
        const Parsed again(p.bytes());
        REQUIRE(again.reason == DropReason::none);
        CHECK(again.packet.quoted.tuple == inner_to);
        // The quoted packet itself: header checksum, and its transport's where all of it is quoted. SCTP's
        // CRC is left alone.
        const Bytes b = part(p.bytes(), p.packet.quoted.l3_offset, quote.size());
        if (v4_family) CHECK(naive_checksum(part(b, 0, 20)) == 0);
        if (quote.size() == header + transport.size() && protocol != 132)
          CHECK(checksum_right(inner_to.source, inner_to.destination, protocol,
                               part(b, header, b.size() - header)));
      }
}

TEST_CASE("TTL goes down by one with its checksum and never to zero") {
  for (const bool v4_family : {true, false}) {
    Network n = v4_family ? Network{} : network6();
    n.ttl = 3;
    Parsed p(frame(n, 6, tcp(0x10, counted(3))));
    CHECK(decrement_ttl(p.packet));
    CHECK(decrement_ttl(p.packet));
    CHECK(p.packet.ttl == 1);
    CHECK(Parsed(p.bytes()).packet.ttl == 1);
    CHECK(p.checksums_right());
    CHECK_FALSE(decrement_ttl(p.packet));
    CHECK(p.packet.ttl == 1);
    n.ttl = 0;
    Parsed zero(frame(n, 6, tcp(0x10)));
    CHECK_FALSE(decrement_ttl(zero.packet));
  }
}

TEST_CASE("MAC addresses are set") {
  Parsed p(frame({}, 6, tcp(0x10)));
  set_macs(p.packet, kGatewayMac, kPodMac);
  CHECK(p.packet.ethernet().source() == kGatewayMac);
  CHECK(p.packet.ethernet().destination() == kPodMac);
}

TEST_CASE("incremental updates agree with the oracle for random addresses and ports") {
  std::mt19937 random(7);
  for (int round = 0; round < 3000; ++round) {
    const uint8_t protocols[] = {6, 17, 132, 1};
    const uint8_t protocol = protocols[random() % 4];
    Parsed p(frame({}, protocol, transport_of(protocol, random() % 64)));
    FlowTuple to = p.packet.tuple;
    to.source = Address::v4(static_cast<uint32_t>(random()));
    to.destination = Address::v4(static_cast<uint32_t>(random()));
    to.source_port = static_cast<uint16_t>(random());
    to.destination_port = static_cast<uint16_t>(random());
    REQUIRE(rewrite(p.packet, to) == DropReason::none);
    CHECK(p.checksums_right());
  }
}
