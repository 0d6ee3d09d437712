#include <doctest/doctest.h>

#include <algorithm>

#include "packet/neighbour.h"
#include "test/packet_frames.h"

using namespace weft;
using namespace weft::test;

namespace {

struct Case {
  const char* what;
  Bytes bytes;
  DropReason reason;
};

void check(const std::vector<Case>& cases) {
  for (const Case& c : cases) {
    CAPTURE(c.what);
    CHECK(name(Parsed(c.bytes).reason) == name(c.reason));
  }
}

}  // namespace

TEST_CASE("a TCP packet is read field by field") {
  const Parsed p(frame({}, 6, tcp(0x02, counted(4), {2, 4, 5, 0xb4, 3, 3, 7, 1})));
  REQUIRE(p.reason == DropReason::none);
  CHECK(p.packet.kind == PacketKind::ip);
  CHECK(p.packet.tuple == FlowTuple{kClient4, kServer4, 40000, 80, 6, 4, 0});
  CHECK(p.packet.l4_offset == 34);
  CHECK(p.packet.payload_offset == 62);
  CHECK(p.packet.payload_length == 4);
  CHECK(p.packet.ttl == 64);
  CHECK(p.packet.dont_fragment);
  CHECK(p.packet.tcp_flags == 2);
  CHECK(p.packet.tcp_sequence == 0xfffffff0);
  CHECK(p.packet.tcp_window == 0x7210);
  CHECK(p.packet.tcp_window_scale == 7);
  CHECK(p.packet.tcp_sequence_length() == 5);
  CHECK(p.packet.network_length() == 52);
}

TEST_CASE("the window scale is read from any place among a SYN's options; a malformed one ends the search") {
  struct Row {
    Bytes options;
    int scale;
    uint8_t flags = 0x02;
  };
  const Row rows[] = {
      {{2, 4, 5, 180, 1, 3, 3, 7}, 7},
      {{3, 3, 0, 1}, 0},
      {{1, 3, 3, 15}, 14},  // RFC 7323 section 2.3
      {{}, 0xff},
      {{2, 4, 5, 180}, 0xff},
      {{0, 3, 3, 9}, 0xff},
      {{1, 1, 3, 3}, 0xff},
      {{2, 0, 1, 1, 1, 3, 3, 7}, 0xff},
      {{1, 3, 3, 7}, 0xff, 0x10},
  };
  for (const Row& row : rows) {
    CAPTURE(&row - rows);
    const Parsed p(frame({}, 6, tcp(row.flags, {}, row.options)));
    REQUIRE(p.reason == DropReason::none);
    CHECK(p.packet.tcp_window_scale == row.scale);
  }
}

TEST_CASE("other protocols give the fields that connection tracking needs") {
  const Parsed init(frame({}, 132, sctp_init()));
  CHECK(init.packet.sctp_chunk == 1);
  CHECK(init.packet.sctp_initiate_tag == 0xcafe0001);
  CHECK(init.packet.tuple.destination_port == 3868);
  const Parsed echo(frame(network6(), 58, icmp(128, 0, 0x00070001, counted(8))));
  CHECK(echo.packet.tuple == FlowTuple{kClient6, kServer6, 7, 7, 58, 6, 0});
  const Parsed gre(frame({}, 47, counted(13)));
  CHECK(gre.packet.tuple == FlowTuple{kClient4, kServer4, 0, 0, 47, 4, 0});
  CHECK(gre.packet.payload_length == 13);
  const Parsed mismatch(frame(network6(), 1, icmp(8, 0, 1)));
  CHECK(mismatch.reason == DropReason::none);
  CHECK(mismatch.packet.tuple.source_port == 0);
}

TEST_CASE("an ICMP error yields the tuple of the packet that it quotes") {
  const Parsed p(frame({}, 1, icmp(3, 3, 0, part(quoted_udp4(), 0, 28))));
  REQUIRE(p.reason == DropReason::none);
  CHECK(p.packet.icmp_error);
  CHECK(p.packet.quoted.has_ports);
  CHECK(p.packet.quoted.tuple == FlowTuple{kServer4, kClient4, 40000, 53, 17, 4, 0});
  CHECK(p.packet.quoted.l3_offset == 42);
  CHECK(p.packet.quoted.l4_offset == 62);
  Bytes later = quoted_udp4();
  set16(later, 6, 3);
  const Parsed q(frame({}, 1, icmp(11, 0, 0, later)));
  REQUIRE(q.reason == DropReason::none);
  CHECK_FALSE(q.packet.quoted.has_ports);
  CHECK(q.packet.quoted.tuple.source_port == 0);
}

TEST_CASE("Ethernet padding is cut off") {
  Bytes b = frame({}, 6, tcp(0x10));
  b.resize(60, 0xee);
  const Parsed p(b);
  CHECK(p.packet.length == 54);
  CHECK(p.packet.payload_length == 0);
  Bytes a = arp();
  a.resize(60);
  CHECK(Parsed(a).packet.length == 42);
}

TEST_CASE("a priority tag is taken off, any other tag is refused") {
  const Bytes plain = frame({}, 6, tcp(0x10, counted(7)));
  const Parsed p(vlan(plain, 0xe000));
  REQUIRE(p.reason == DropReason::none);
  CHECK(p.bytes() == plain);
  check({{"VLAN 1", vlan(plain, 1), DropReason::vlan},
         {"VLAN 4095", vlan(plain, 0x0fff), DropReason::vlan},
         {"two tags", vlan(vlan(plain, 0), 0), DropReason::vlan},
         {"service tag", vlan(plain, 0, 0x88a8), DropReason::vlan}});
}

TEST_CASE("ARP and neighbour discovery are read for the switch") {
  const Parsed a(arp());
  REQUIRE(a.reason == DropReason::none);
  CHECK(a.packet.kind == PacketKind::arp);
  const ArpMessage m = arp_message(a.packet);
  CHECK(m.operation == 1);
  CHECK(m.sender_mac == kPodMac);
  CHECK(m.sender == kClient4);
  CHECK(m.target == v4(169, 254, 1, 1));
  CHECK_FALSE(m.is_probe());

  const Parsed n(solicitation(kClient6));
  REQUIRE(n.reason == DropReason::none);
  CHECK(n.packet.kind == PacketKind::neighbour);
  const NeighbourMessage s = neighbour_message(n.packet);
  CHECK(s.type == 135);
  CHECK(s.target == v6(1, 0xfe80));
  CHECK(s.has_link_address);
  CHECK(s.link_address == kPodMac);
  CHECK_FALSE(s.is_probe);

  const Parsed d(solicitation(Address{}, 255, {}));
  REQUIRE(d.reason == DropReason::none);
  CHECK(neighbour_message(d.packet).is_probe);
  CHECK_FALSE(neighbour_message(d.packet).has_link_address);
}

TEST_CASE("neighbour discovery that RFC 4861 tells a node to ignore is malformed") {
  Bytes wrong_sum = solicitation(kClient6);
  wrong_sum[wrong_sum.size() - 1] ^= 1;
  check({{"hop limit 254", solicitation(kClient6, 254), DropReason::icmp_malformed},
         {"option of length 0", solicitation(kClient6, 255, Bytes(8, 0)), DropReason::icmp_malformed},
         {"option beyond the end", solicitation(kClient6, 255, {1, 2, 0, 0, 0, 0, 0, 0}),
          DropReason::icmp_malformed},
         {"probe with a link address", solicitation(Address{}), DropReason::icmp_malformed},
         {"checksum", wrong_sum, DropReason::transport_checksum}});
}

TEST_CASE("malformed link and network headers have their reason") {
  const Bytes tcp4 = frame({}, 6, tcp(0x10, counted(8)));
  const Bytes tcp6 = frame(network6(), 6, tcp(0x10, counted(8)));
  Network source_route;
  source_route.options = {131, 7, 4, 10, 0, 0, 1, 0};
  Network bad_option;
  bad_option.options = {7, 9, 4, 0};
  Network zero_option;
  zero_option.options = {7, 0, 4, 0};
  check({
      {"empty", {}, DropReason::frame_short},
      {"13 bytes", Bytes(13), DropReason::frame_short},
      {"802.3 length", ethernet(100), DropReason::ethertype},
      {"LLDP", ethernet(0x88cc), DropReason::ethertype},
      {"ARP for IPv6", changed(arp(), 16, 0x86), DropReason::arp_malformed},
      {"ARP with 8-byte MACs", changed(arp(), 18, 8), DropReason::arp_malformed},
      {"reverse ARP", arp(3), DropReason::arp_malformed},
      {"version 5", changed_ip(tcp4, 0, 0x55), DropReason::ipv4_malformed},
      {"IHL 4", changed_ip(tcp4, 0, 0x44), DropReason::ipv4_malformed},
      {"total length 19", changed_ip(tcp4, 3, 19), DropReason::ipv4_malformed},
      {"total length beyond the frame", changed_ip(tcp4, 3, 49), DropReason::ipv4_malformed},
      {"header checksum", changed(tcp4, 24, static_cast<uint8_t>(tcp4[24] ^ 1)), DropReason::ipv4_checksum},
      {"loose source route", frame(source_route, 6, tcp(0x10)), DropReason::ipv4_options},
      {"option beyond the header", frame(bad_option, 6, tcp(0x10)), DropReason::ipv4_options},
      {"option of length 0", frame(zero_option, 6, tcp(0x10)), DropReason::ipv4_options},
      {"IPv6 version 4", changed(tcp6, 14, 0x40), DropReason::ipv6_malformed},
      {"IPv6 length beyond the frame", changed(tcp6, 19, 29), DropReason::ipv6_malformed},
  });
}

TEST_CASE("extension header chains are bounded and may not redirect") {
  const auto with = [](int next, const Bytes& extensions) {
    Network n = network6();
    n.next = next;
    n.extensions = extensions;
    return frame(n, 6, tcp(0x10, counted(8)));
  };
  const auto none = DropReason::none;
  const auto bad = DropReason::ipv6_extension;
  check({
      {"authentication", with(51, {6, 4, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3}),
       none},
      {"routing type 2, no segments left", with(43, {6, 0, 2, 0, 0, 0, 0, 0}), none},
      {"routing type 0", with(43, {6, 0, 0, 0, 0, 0, 0, 0}), bad},
      {"routing type 4, a segment left", with(43, {6, 0, 4, 1, 0, 0, 0, 0}), bad},
      {"routing twice", with(43, {43, 0, 2, 0, 0, 0, 0, 0, 6, 0, 2, 0, 0, 0, 0, 0}), bad},
      {"hop-by-hop not in front", with(60, {0, 0, 1, 4, 0, 0, 0, 0, 6, 0, 1, 4, 0, 0, 0, 0}), bad},
      {"destination options three times",
       with(60, {60, 0, 1, 4, 0, 0, 0, 0, 60, 0, 1, 4, 0, 0, 0, 0, 6, 0, 1, 4, 0, 0, 0, 0}), bad},
      {"option beyond its header", with(60, {6, 0, 5, 9, 0, 0, 0, 0}), bad},
      {"header beyond the packet", with(60, {6, 200, 1, 4, 0, 0, 0, 0}), bad},
      {"jumbo payload", with(0, {6, 0, 0xc2, 4, 0, 1, 0, 0}), bad},
      {"home address", with(60, {6, 2, 0xc9, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0}),
       bad},
      {"eight bytes of padding", with(60, {6, 1, 1, 6, 0, 0, 0, 0, 0, 0, 1, 4, 0, 0, 0, 0}), bad},
      {"fragment header twice", with(44, {44, 0, 0, 0, 0, 0, 0, 1, 6, 0, 0, 0, 0, 0, 0, 1}), bad},
      {"authentication of length 0", with(51, {6, 0, 0, 0, 0, 0, 0, 1}), bad},
  });
  const Parsed p(with(0, {60, 0, 5, 2, 0, 0, 1, 0, 6, 0, 1, 4, 0, 0, 0, 0}));
  CHECK(p.packet.tuple.protocol == 6);
  CHECK(p.packet.tuple.destination_port == 80);
  CHECK(p.packet.l4_offset == 14 + 40 + 16);
}

TEST_CASE("addresses that no forwarded packet may carry are refused") {
  struct Row {
    const char* what;
    Address source, destination;
    bool valid;
  };
  Address mapped = v4(10, 0, 0, 1), loopback6, compatible = v6(0x0a01, 0);
  loopback6.bytes[15] = 1;
  compatible.bytes[12] = 10;
  const Address group6 = v6(1, 0xff02), unspecified6;
  const std::vector<Row> rows = {
      {"loopback source", v4(127, 0, 0, 1), kServer4, false},
      {"loopback destination", kClient4, v4(127, 9, 9, 9), false},
      {"multicast source", v4(224, 0, 0, 1), kServer4, false},
      {"broadcast source", v4(255, 255, 255, 255), kServer4, false},
      {"unspecified source", v4(0, 0, 0, 0), kServer4, false},
      {"this network as source", v4(0, 1, 2, 3), kServer4, false},
      {"unspecified destination", kClient4, v4(0, 0, 0, 0), false},
      {"DHCP discover, for the switch to drop", v4(0, 0, 0, 0), v4(255, 255, 255, 255), true},
      {"multicast destination, for the switch to drop", kClient4, v4(224, 0, 0, 251), true},
      {"class E is used by clusters", v4(240, 1, 2, 3), kServer4, true},
      {"IPv6 multicast source", group6, kServer6, false},
      {"IPv6 loopback source", loopback6, kServer6, false},
      {"IPv6 loopback destination", kClient6, loopback6, false},
      {"IPv6 unspecified source", unspecified6, kServer6, false},
      {"IPv6 unspecified source to a group", unspecified6, group6, true},
      {"IPv6 unspecified destination", kClient6, unspecified6, false},
      {"compatible source", compatible, kServer6, false},
  };
  for (const Row& r : rows) {
    CAPTURE(r.what);
    const Parsed p(frame(Network{.source = r.source, .destination = r.destination}, 17, udp(counted(4))));
    CHECK(name(p.reason) == name(r.valid ? DropReason::none : DropReason::address_invalid));
  }
  // A mapped address on the IPv6 wire, at either end.
  for (const size_t at : {22u, 38u}) {
    Bytes b = frame(network6(), 17, udp(counted(4)));
    std::memcpy(&b[at], mapped.bytes.data(), 16);
    CHECK(name(Parsed(b).reason) == "address-invalid");
  }
}

TEST_CASE("malformed transports have their reason") {
  const auto tcp_with = [](size_t at, uint8_t value) {
    return frame({}, 6, changed(tcp(0x10, counted(8)), at, value));
  };
  const auto udp_with = [](size_t at, uint8_t value) {
    return frame({}, 17, changed(udp(counted(8)), at, value));
  };
  const Bytes quoted_error = ip_packet({}, 1, icmp(3, 1, 0, counted(28)));
  check({
      {"19 bytes of TCP", frame({}, 6, part(tcp(0x10), 0, 19)), DropReason::tcp_malformed},
      {"data offset 4", tcp_with(12, 0x40), DropReason::tcp_malformed},
      {"data offset beyond the packet", tcp_with(12, 0x80), DropReason::tcp_malformed},
      {"TCP source port 0", frame({}, 6, changed(changed(tcp(0x10), 0, 0), 1, 0)), DropReason::port_zero},
      {"TCP destination port 0", tcp_with(3, 0), DropReason::port_zero},
      {"7 bytes of UDP", frame({}, 17, part(udp({}), 0, 7)), DropReason::udp_malformed},
      {"UDP length 7", udp_with(5, 7), DropReason::udp_malformed},
      {"UDP length beyond the packet", udp_with(5, 17), DropReason::udp_malformed},
      {"UDP length inside of the packet", udp_with(5, 12), DropReason::none},
      {"UDP destination port 0", udp_with(3, 0), DropReason::port_zero},
      {"SCTP without a chunk", frame({}, 132, sctp(1, {})), DropReason::sctp_malformed},
      {"SCTP chunk of length 3", frame({}, 132, sctp(1, {0, 0, 0, 3})), DropReason::sctp_malformed},
      {"SCTP chunk beyond the packet", frame({}, 132, sctp(1, {0, 0, 0, 8})), DropReason::sctp_malformed},
      {"SCTP INIT without its fields", frame({}, 132, sctp(0, {1, 0, 0, 4})), DropReason::sctp_malformed},
      {"7 bytes of ICMP", frame({}, 1, part(icmp(8, 0, 1), 0, 7)), DropReason::icmp_malformed},
      {"7 bytes of ICMPv6", frame(network6(), 58, part(icmp(128, 0, 1), 0, 7)), DropReason::icmp_malformed},
      {"error with a cut quote", frame({}, 1, icmp(3, 3, 0, part(quoted_udp4(), 0, 27))),
       DropReason::icmp_malformed},
      {"error about an error", frame({}, 1, icmp(3, 3, 0, quoted_error)), DropReason::icmp_malformed},
      {"IPv4 in an ICMPv6 error", frame(network6(), 58, icmp(1, 0, 0, quoted_udp4())),
       DropReason::icmp_malformed},
  });
}

TEST_CASE("of 64 combinations of TCP flags the nine that a TCP sends pass") {
  const std::vector<int> valid = {0x02, 0x22, 0x12, 0x04, 0x14, 0x11, 0x31, 0x10, 0x30};
  for (int flags = 0; flags < 256; ++flags) {
    CAPTURE(flags);
    const bool passes = std::find(valid.begin(), valid.end(), flags & 0x37) != valid.end();
    const Parsed p(frame({}, 6, tcp(static_cast<uint8_t>(flags))));
    CHECK(name(p.reason) == (passes ? "none" : "tcp-flags"));
  }
}

TEST_CASE("fragments") {
  const auto v4_fragment = [](uint16_t field, uint8_t protocol, size_t length) {
    Network n;
    n.fragment = field;
    return frame(n, protocol,
                 protocol == 6 && (field & 0x1fff) == 0 ? part(tcp(0x10, counted(99)), 0, length)
                                                        : Bytes(length, 0x20));
  };
  const auto v6_fragment = [](uint16_t field, const Bytes& payload, uint8_t next = 6) {
    Network n = network6();
    n.next = 44;
    n.extensions = {next, 0};
    put16(n.extensions, field);
    put32(n.extensions, 77);
    Bytes b = ethernet(0x86dd);
    append(b, ip_packet(n, 6, payload));
    return b;
  };
  check({
      {"first, whole header", v4_fragment(0x2000, 6, 24), DropReason::none},
      {"first without the header", v4_fragment(0x2000, 6, 16), DropReason::fragment_first_short},
      {"first of UDP without the header", v4_fragment(0x2000, 17, 0), DropReason::fragment_malformed},
      {"length not a multiple of 8", v4_fragment(0x2000, 6, 30), DropReason::fragment_malformed},
      {"last may have any length", v4_fragment(100, 6, 13), DropReason::none},
      {"empty later fragment", v4_fragment(100, 6, 0), DropReason::fragment_malformed},
      {"beyond 65535", v4_fragment(0x1fff, 17, 16), DropReason::fragment_malformed},
      {"offset 8 of TCP", v4_fragment(1, 6, 16), DropReason::fragment_overlap},
      {"offset 16 of TCP", v4_fragment(2, 6, 16), DropReason::fragment_overlap},
      {"offset 24 of TCP", v4_fragment(3, 6, 16), DropReason::none},
      {"offset 8 of UDP", v4_fragment(1, 17, 16), DropReason::none},
      {"offset 8 of SCTP", v4_fragment(1, 132, 16), DropReason::fragment_overlap},
      {"IPv6 first", v6_fragment(1, part(tcp(0x10, counted(99)), 0, 24)), DropReason::none},
      {"IPv6 first without the header", v6_fragment(1, part(tcp(0x10), 0, 16)),
       DropReason::fragment_first_short},
      {"IPv6 first with a cut chain", v6_fragment(1, {6, 4, 1, 4, 0, 0, 0, 0}, 60),
       DropReason::fragment_first_short},
      {"IPv6 later", v6_fragment(800, counted(9)), DropReason::none},
      {"IPv6 later inside the header", v6_fragment(8, counted(9)), DropReason::fragment_overlap},
      {"IPv6 beyond 65535", v6_fragment(0xfff8, counted(16)), DropReason::fragment_malformed},
      {"fragmented ICMP error",
       frame(Network{.fragment = 0x2000}, 1, icmp(3, 3, 0, part(quoted_udp4(), 0, 40))),
       DropReason::icmp_malformed},
  });
  const Parsed later(v6_fragment(800, counted(9), 60));
  CHECK(later.packet.fragment == Fragment::later);
  CHECK(later.packet.fragment_offset == 800);
  CHECK(later.packet.fragment_id == 77);
  CHECK(later.packet.fragment_length == 9);
  CHECK_FALSE(later.packet.more_fragments);
  CHECK(later.packet.tuple.source_port == 0);
  const Parsed atomic(v6_fragment(0, tcp(0x10)));
  CHECK(atomic.packet.fragment == Fragment::none);
  CHECK(atomic.packet.atomic_fragment);
  CHECK(atomic.packet.tuple.destination_port == 80);
}
