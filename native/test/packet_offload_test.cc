// The hostile vnet header, and software completion and segmentation of what it may ask for.
#include <doctest/doctest.h>

#include "packet/checksum.h"
#include "packet/segment.h"
#include "test/packet_frames.h"

using namespace weft;
using namespace weft::test;

namespace {

struct Case {
  const char* what;
  Bytes bytes;
  VnetHeader hostile;
  DropReason reason;
};

// The frame as its sender hands it over: the checksum field holds the pseudo-header's sum.
Bytes partial(const Network& n, uint8_t protocol, Bytes transport) {
  const auto at = static_cast<size_t>(checksum_at(protocol));
  set16(transport, at, 0);
  Bytes pseudo = covered(n.source, n.destination, protocol, transport);
  pseudo.resize(pseudo.size() - transport.size());
  set16(transport, at, static_cast<uint16_t>(~naive_checksum(pseudo)));
  Bytes b = ethernet(n.source.is_v4() ? 0x0800 : 0x86dd);
  append(b, ip_packet(n, protocol, transport));
  return b;
}

}  // namespace

TEST_CASE("each lie of a vnet header has one drop reason") {
  constexpr uint8_t kTcp4 = 1, kUfo = 3, kTcp6 = 4, kUso = 5, kEcn = 0x80;
  const Bytes tcp4 = partial({}, 6, tcp(0x18, counted(4000)));
  const Bytes tcp6 = partial(network6(), 6, tcp(0x18, counted(4000)));
  const Bytes udp4 = partial({}, 17, udp(counted(4000)));
  const Bytes syn = partial({}, 6, tcp(0x02, counted(4000)));
  const Bytes empty = partial({}, 6, tcp(0x10));
  const Bytes echo = frame({}, 1, icmp(8, 0, 1, counted(40)));
  Network first_network;
  first_network.fragment = 0x2000;
  Network later_network;
  later_network.fragment = 0x2000 | 100;
  Network atomic_network = network6();
  atomic_network.next = 44;
  atomic_network.extensions = {6, 0, 0, 0, 0, 0, 0, 1};
  const Bytes first = frame(first_network, 6, tcp(0x10, counted(4)));
  const Bytes later = frame(later_network, 6, tcp(0x10, counted(4)));
  const Bytes atomic = partial(atomic_network, 6, tcp(0x10, counted(4000)));
  Bytes surplus = udp4;
  set16(surplus, 38, 100);
  Bytes arp = ethernet(0x0806);
  append(arp, {0, 1, 8, 0, 6, 4, 0, 1});
  append(arp, Bytes(20, 1));

  VnetHeader unknown_flag, long_header = claim(34, 16, kTcp4, 1448), no_checksum, valid;
  unknown_flag.flags = 4;
  long_header.hdr_len = 60000;
  no_checksum.gso_type = kTcp4;
  no_checksum.gso_size = 1448;
  valid.flags = VnetHeader::kDataValid;
  const auto none = DropReason::none;
  const std::vector<Case> cases = {
      {"no claim", tcp4, {}, none},
      {"data valid", tcp4, valid, none},
      {"checksum of TCP", tcp4, claim(34, 16), none},
      {"checksum of TCP over IPv6", tcp6, claim(54, 16), none},
      {"checksum of UDP", udp4, claim(34, 6), none},
      {"TSO4", tcp4, claim(34, 16, kTcp4, 1448), none},
      {"TSO4 with ECN", tcp4, claim(34, 16, kTcp4 | kEcn, 1448), none},
      {"TSO6", tcp6, claim(54, 16, kTcp6, 1428), none},
      {"USO", udp4, claim(34, 6, kUso, 1472), none},
      {"smallest TCP segment", tcp4, claim(34, 16, kTcp4, kMinTcpGsoSize), none},
      {"checksum start in the IP header", tcp4, claim(14, 16), DropReason::vnet_checksum_start},
      {"checksum start in the payload", tcp4, claim(60, 16), DropReason::vnet_checksum_start},
      {"checksum start beyond the frame", tcp4, claim(0xffff, 16), DropReason::vnet_checksum_start},
      {"checksum at the ports", tcp4, claim(34, 0), DropReason::vnet_checksum_start},
      {"checksum offset beyond the frame", tcp4, claim(34, 0xfffe), DropReason::vnet_checksum_start},
      {"UDP's offset on TCP", tcp4, claim(34, 6), DropReason::vnet_checksum_start},
      {"checksum of ICMP", echo, claim(34, 2), DropReason::vnet_checksum_start},
      {"checksum on ARP", arp, claim(14, 2), DropReason::vnet_checksum_start},
      {"checksum on a first fragment", first, claim(34, 16), DropReason::vnet_checksum_start},
      {"checksum on a later fragment", later, claim(34, 16), DropReason::vnet_checksum_start},
      {"GSO on a first fragment", first, claim(34, 16, kTcp4, 1448), DropReason::vnet_gso_fragment},
      {"GSO on a later fragment", later, claim(34, 16, kTcp4, 1448), DropReason::vnet_gso_fragment},
      {"GSO on an atomic fragment", atomic, claim(62, 16, kTcp6, 1448), DropReason::vnet_gso_fragment},
      {"TSO6 on IPv4", tcp4, claim(34, 16, kTcp6, 1448), DropReason::vnet_gso_type},
      {"TSO4 on IPv6", tcp6, claim(54, 16, kTcp4, 1448), DropReason::vnet_gso_type},
      {"TSO on UDP", udp4, claim(34, 6, kTcp4, 1448), DropReason::vnet_gso_type},
      {"USO on TCP", tcp4, claim(34, 16, kUso, 1448), DropReason::vnet_gso_type},
      {"USO with ECN", udp4, claim(34, 6, kUso | kEcn, 1448), DropReason::vnet_gso_type},
      {"UFO", udp4, claim(34, 6, kUfo, 1480), DropReason::vnet_gso_type},
      {"unknown type", tcp4, claim(34, 16, 2, 1448), DropReason::vnet_gso_type},
      {"ECN alone", tcp4, claim(34, 16, kEcn, 1448), DropReason::vnet_gso_type},
      {"TSO on ICMP", echo, claim(34, 2, kTcp4, 1448), DropReason::vnet_gso_type},
      {"TSO on ARP", arp, claim(14, 2, kTcp4, 1448), DropReason::vnet_gso_type},
      {"segments of 0", tcp4, claim(34, 16, kTcp4, 0), DropReason::vnet_gso_size},
      {"segments of 1", tcp4, claim(34, 16, kTcp4, 1), DropReason::vnet_gso_size},
      {"segments of 47", tcp4, claim(34, 16, kTcp4, kMinTcpGsoSize - 1), DropReason::vnet_gso_size},
      {"segments beyond an IP packet", tcp4, claim(34, 16, kTcp4, 0xffff), DropReason::vnet_gso_size},
      {"datagrams of 7", udp4, claim(34, 6, kUso, 7), DropReason::vnet_gso_size},
      {"more than 128 datagrams", udp4, claim(34, 6, kUso, 31), DropReason::vnet_gso_size},
      {"segmentation of nothing", empty, claim(34, 16, kTcp4, 1448), DropReason::vnet_gso_size},
      {"GSO without a checksum", tcp4, no_checksum, DropReason::vnet_header},
      {"GSO of a SYN", syn, claim(34, 16, kTcp4, 1448), DropReason::vnet_header},
      {"unknown flag", tcp4, unknown_flag, DropReason::vnet_header},
      {"headers longer than the frame", tcp4, long_header, DropReason::vnet_header},
      {"bytes behind the datagram", surplus, claim(34, 6), DropReason::vnet_header},
  };
  for (const Case& c : cases) {
    CAPTURE(c.what);
    CHECK(name(Parsed(c.bytes, c.hostile).reason) == name(c.reason));
  }
}

TEST_CASE("the vnet header for the writer is made from the frame") {
  SUBCASE("nothing is carried over but what was checked") {
    VnetHeader h = claim(34, 16, 1, 1448);
    h.flags |= VnetHeader::kDataValid;
    h.hdr_len = 14;
    const Parsed p(partial({}, 6, tcp(0x18, counted(4000))), h);
    VnetHeader expected = claim(34, 16, 1, 1448);
    expected.hdr_len = 54;
    CHECK(p.packet.vnet == expected);
    CHECK(p.packet.segments() == 3);
    CHECK(p.packet.network_length() == 1488);
  }
  SUBCASE("without a claim it is zero, whatever else was in it") {
    VnetHeader h;
    h.flags = VnetHeader::kDataValid;
    h.gso_size = 9;
    h.csum_start = 3;
    CHECK(Parsed(frame({}, 6, tcp(0x10)), h).packet.vnet == VnetHeader{});
  }
  SUBCASE("the ECN flag follows CWR in the frame") {
    const Parsed with(partial({}, 6, tcp(0x98, counted(4000))), claim(34, 16, 1, 1448));
    CHECK(with.packet.vnet.gso_type == 0x81);
    const Parsed without(partial({}, 6, tcp(0x18, counted(4000))), claim(34, 16, 0x81, 1448));
    CHECK(without.packet.vnet.gso_type == 1);
  }
  SUBCASE("one segment is no segmentation") {
    const Parsed p(partial({}, 6, tcp(0x18, counted(100))), claim(34, 16, 1, 100));
    CHECK_FALSE(p.packet.is_gso());
    CHECK(p.packet.needs_checksum());
  }
  SUBCASE("offsets move with a priority tag") {
    Bytes b = partial({}, 6, tcp(0x18, counted(100)));
    const Bytes tag{0x81, 0, 0, 0};
    b.insert(b.begin() + 12, tag.begin(), tag.end());
    const Parsed p(b, claim(38, 16));
    REQUIRE(p.reason == DropReason::none);
    CHECK(p.packet.vnet.csum_start == 34);
    CHECK(name(Parsed(b, claim(34, 16)).reason) == "vnet-checksum-start");
  }
}

TEST_CASE("a GSO packet of 64 KB parses") {
  const Parsed p4(partial({}, 6, tcp(0x10, counted(65535 - 40))), claim(34, 16, 1, 1448));
  CHECK(name(p4.reason) == "none");
  CHECK(p4.packet.payload_length == 65495);
  const Parsed p6(partial(network6(), 6, tcp(0x10, counted(65535 - 20))), claim(54, 16, 4, 1428));
  CHECK(name(p6.reason) == "none");
  CHECK(p6.packet.length == 65535 + 54);
}

TEST_CASE("a partial checksum is completed, also where the sender's pseudo-header sum was wrong") {
  for (const bool v4_family : {true, false})
    for (const uint8_t protocol : {uint8_t{6}, uint8_t{17}})
      for (const size_t length : {0u, 1u, 2u, 3u, 1000u, 1447u}) {
        const Network n = v4_family ? Network{} : network6();
        Bytes b = partial(n, protocol, protocol == 6 ? tcp(0x10, counted(length)) : udp(counted(length)));
        const size_t l4 = v4_family ? 34 : 54;
        b[l4 + static_cast<size_t>(checksum_at(protocol))] ^= 0x5a;
        Parsed p(b, claim(static_cast<uint16_t>(l4), static_cast<uint16_t>(checksum_at(protocol))));
        REQUIRE(p.reason == DropReason::none);
        CHECK(complete_checksum(p.packet));
        CHECK(p.packet.vnet == VnetHeader{});
        CHECK(p.checksums_right());
        CHECK(transport_checksum_valid(p.packet));
      }
}

TEST_CASE("a computed UDP checksum of 0 is written as 0xffff") {
  // The last word is chosen so that everything sums to 0xffff.
  Bytes transport = udp({1, 2, 0, 0});
  const uint16_t rest = naive_checksum(covered(kClient4, kServer4, 17, transport));
  set16(transport, 10, rest);
  Parsed p(partial({}, 17, transport), claim(34, 6));
  REQUIRE(complete_checksum(p.packet));
  CHECK(get16(p.transport(), 6) == 0xffff);
}

TEST_CASE("checksum verification agrees with the oracle on right and damaged packets") {
  const std::vector<std::pair<Network, uint8_t>> kinds = {
      {{}, 6}, {{}, 17}, {{}, 132}, {{}, 1}, {network6(), 6}, {network6(), 17}, {network6(), 58}};
  for (const auto& [network, protocol] : kinds) {
    const Bytes transport = protocol == 6     ? tcp(0x10, counted(31))
                            : protocol == 17  ? udp(counted(31))
                            : protocol == 132 ? sctp(1, {0, 3, 0, 8, 1, 2, 3, 4})
                                              : icmp(protocol == 1 ? 8 : 128, 0, 1, counted(31));
    Bytes b = frame(network, protocol, transport);
    CHECK(transport_checksum_valid(Parsed(b).packet));
    b.back() ^= 0x10;
    CHECK_FALSE(transport_checksum_valid(Parsed(b).packet));
  }
  Bytes none = frame({}, 17, udp(counted(4)));
  set16(none, 40, 0);
  CHECK(transport_checksum_valid(Parsed(none).packet));
}

TEST_CASE("TCP is segmented as the network would want it") {
  for (const bool v4_family : {true, false}) {
    CAPTURE(v4_family);
    const Network n = v4_family ? Network{} : network6();
    const Bytes payload = counted(2 * 1448 + 100);
    const Bytes options{1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2};
    const auto l4 = static_cast<uint16_t>(v4_family ? 34 : 54);
    const Parsed p(partial(n, 6, tcp(0x99, payload, options)), claim(l4, 16, v4_family ? 1 : 4, 1448));
    REQUIRE(p.reason == DropReason::none);
    Bytes buffer(2000), joined;
    std::vector<uint8_t> flags;
    uint32_t index = 0;
    REQUIRE(segment(p.packet, buffer, [&](const uint8_t* bytes, uint32_t length) {
      const Parsed s(Bytes(bytes, bytes + length));
      REQUIRE(s.reason == DropReason::none);
      CHECK(s.packet.length == length);
      CHECK(s.checksums_right());
      CHECK(s.packet.tuple == p.packet.tuple);
      CHECK(s.packet.tcp_sequence == static_cast<uint32_t>(0xfffffff0 + index * 1448));
      CHECK(part(s.transport(), 20, 12) == options);
      if (v4_family) CHECK(s.packet.fragment_id == 0x1234 + index);
      flags.push_back(s.packet.tcp_flags);
      const Bytes b = s.bytes();
      joined.insert(joined.end(), b.begin() + s.packet.payload_offset, b.end());
      ++index;
    }));
    CHECK(flags == std::vector<uint8_t>{0x90, 0x10, 0x19});
    CHECK(joined == payload);
    CHECK(p.packet.segments() == index);
  }
}

TEST_CASE("UDP is segmented into datagrams") {
  for (const bool v4_family : {true, false}) {
    const Network n = v4_family ? Network{} : network6();
    const Bytes payload = counted(12 * 100 + 7);
    const auto l4 = static_cast<uint16_t>(v4_family ? 34 : 54);
    const Parsed p(partial(n, 17, udp(payload)), claim(l4, 6, 5, 100));
    REQUIRE(p.reason == DropReason::none);
    Bytes buffer(p.packet.payload_offset + 100u), joined;
    uint32_t count = 0;
    REQUIRE(segment(p.packet, buffer, [&](const uint8_t* bytes, uint32_t length) {
      const Parsed s(Bytes(bytes, bytes + length));
      REQUIRE(s.reason == DropReason::none);
      CHECK(s.checksums_right());
      CHECK(get16(s.transport(), 4) == s.transport().size());
      CHECK(get16(s.transport(), 6) != 0);
      const Bytes b = s.bytes();
      joined.insert(joined.end(), b.begin() + s.packet.payload_offset, b.end());
      ++count;
    }));
    CHECK(count == 13);
    CHECK(joined == payload);
  }
}

TEST_CASE("segmentation refuses a short buffer and a packet that is not GSO") {
  const Parsed gso(partial({}, 6, tcp(0x10, counted(4000))), claim(34, 16, 1, 1448));
  Bytes buffer(54 + 1447);
  int calls = 0;
  const auto count = [&](const uint8_t*, uint32_t) { ++calls; };
  CHECK_FALSE(segment(gso.packet, buffer, count));
  CHECK_FALSE(segment(Parsed(frame({}, 6, tcp(0x10))).packet, buffer, count));
  CHECK(calls == 0);
  Packet copy = gso.packet;
  CHECK_FALSE(complete_checksum(copy));
}
