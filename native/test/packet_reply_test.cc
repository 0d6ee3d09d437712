#include <doctest/doctest.h>

#include "packet/neighbour.h"
#include "packet/reply.h"
#include "test/packet_frames.h"

using namespace weft;
using namespace weft::test;

namespace {

const Address kGateway4 = v4(169, 254, 1, 1), kGateway6 = v6(1, 0xfe80);
constexpr MacAddress kBroadcastMac{0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

Bytes buffer(uint32_t length = kMaxReplyLength) {
  return Bytes(length);
}
Bytes taken(const Bytes& b, uint32_t length) {
  return part(b, 0, length);
}

// Checks what every answer has in common, and that it parses as a well-formed frame.
void check_answer(const Parsed& answer, const Packet& question) {
  REQUIRE(name(answer.reason) == "none");
  CHECK(answer.checksums_right());
  CHECK(answer.packet.ethernet().source() == kGatewayMac);
  CHECK(answer.packet.ethernet().destination() == kPodMac);
  CHECK(answer.packet.tuple.destination == question.tuple.source);
}

uint32_t error_length(const Bytes& question) {
  const Parsed p(question);
  REQUIRE(name(p.reason) == "none");
  Bytes out = buffer();
  return build_unreachable(p.packet, Unreachable::port, p.packet.tuple.family == 4 ? kGateway4 : kGateway6,
                           kGatewayMac, out);
}

}  // namespace

TEST_CASE("an ARP request is answered, a reply is not") {
  for (const uint16_t operation : std::initializer_list<uint16_t>{1, 2}) {
    Bytes b = ethernet(0x0806);
    append(b, {0, 1, 8, 0, 6, 4, 0, static_cast<uint8_t>(operation)});
    append(b, Bytes(kPodMac.begin(), kPodMac.end()));
    put32(b, kClient4.v4_value());
    append(b, Bytes(6, 0));
    put32(b, kGateway4.v4_value());
    const Parsed p(b);
    Bytes out = buffer();
    const uint32_t length = build_arp_reply(p.packet, kGatewayMac, out);
    CHECK(length == (operation == 1 ? 42 : 0));
    if (length == 0) continue;
    const Parsed answer(taken(out, length));
    REQUIRE(answer.reason == DropReason::none);
    const ArpMessage m = arp_message(answer.packet);
    CHECK(m.operation == 2);
    CHECK(m.sender == kGateway4);
    CHECK(m.sender_mac == kGatewayMac);
    CHECK(m.target == kClient4);
    CHECK(m.target_mac == kPodMac);
  }
}

TEST_CASE("a neighbour solicitation is answered; a probe to all nodes") {
  for (const bool probe : {false, true}) {
    Network n = network6();
    n.ttl = 255;
    if (probe) n.source = Address{};
    n.destination = v6(1, 0xff02);
    n.destination.bytes[11] = 1;
    n.destination.bytes[12] = 0xff;
    Bytes message = icmp(135, 0, 0);
    message.insert(message.end(), kGateway6.bytes.begin(), kGateway6.bytes.end());
    const Parsed p(frame(n, 58, message));
    REQUIRE(p.reason == DropReason::none);
    Bytes out = buffer();
    const uint32_t length = build_neighbour_advertisement(p.packet, kGatewayMac, out);
    const Parsed a(taken(out, length));
    REQUIRE(name(a.reason) == "none");
    CHECK(a.checksums_right());
    const NeighbourMessage m = neighbour_message(a.packet);
    CHECK(m.type == 136);
    CHECK(m.target == kGateway6);
    CHECK(m.link_address == kGatewayMac);
    CHECK(m.override_flag);
    CHECK(m.solicited == !probe);
    CHECK(a.packet.tuple.source == kGateway6);
    CHECK(a.packet.tuple.destination == (probe ? v6(1, 0xff02) : kClient6));
    CHECK(a.packet.ethernet().destination_is_group() == probe);
  }
}

TEST_CASE("an echo is answered with its own bytes") {
  for (const bool v4_family : {true, false}) {
    const Bytes payload = counted(57);
    Network n = v4_family ? Network{} : network6();
    if (v4_family) n.options = {0x94, 4, 0, 0};
    const Parsed p(frame(n, v4_family ? 1 : 58, icmp(v4_family ? 8 : 128, 0, 0x00090002, payload)));
    Bytes out = buffer();
    const Parsed answer(taken(out, build_echo_reply(p.packet, kGatewayMac, out)));
    check_answer(answer, p.packet);
    CHECK(answer.packet.icmp_type == (v4_family ? 0 : 129));
    CHECK(answer.packet.icmp_rest == 0x00090002);
    CHECK(answer.packet.tuple.source == p.packet.tuple.destination);
    CHECK(part(answer.bytes(), answer.packet.payload_offset, 57) == payload);
    Bytes damaged = p.bytes();
    damaged.back() ^= 1;
    CHECK(build_echo_reply(Parsed(damaged).packet, kGatewayMac, out) == 0);
    Bytes small(p.packet.length - 5);
    CHECK(build_echo_reply(p.packet, kGatewayMac, std::span(small).first(40)) == 0);
  }
}

TEST_CASE("errors quote the packet and name the right code") {
  struct Row {
    Unreachable what;
    uint8_t code4, code6;
  };
  for (const Row& r : {Row{Unreachable::no_route, 0, 0}, Row{Unreachable::address, 1, 3},
                       Row{Unreachable::port, 3, 4}, Row{Unreachable::admin_prohibited, 13, 1}})
    for (const bool v4_family : {true, false})
      for (const size_t payload : {0u, 100u, 1400u}) {
        const Parsed p(frame(v4_family ? Network{} : network6(), 17, udp(counted(payload))));
        Bytes out = buffer();
        const Address from = v4_family ? kGateway4 : kGateway6;
        const uint32_t length = build_unreachable(p.packet, r.what, from, kGatewayMac, out);
        const Parsed answer(taken(out, length));
        check_answer(answer, p.packet);
        CHECK(length - 14 <= (v4_family ? 576u : 1280u));
        CHECK(answer.packet.icmp_type == (v4_family ? 3 : 1));
        CHECK(answer.packet.icmp_code == (v4_family ? r.code4 : r.code6));
        CHECK(answer.packet.tuple.source == from);
        CHECK(answer.packet.quoted.tuple == p.packet.tuple);
        const size_t at = answer.packet.quoted.l3_offset;
        CHECK(part(answer.bytes(), at, length - at) == part(p.bytes(), 14, length - at));
      }
}

TEST_CASE("time exceeded and too big") {
  for (const bool v4_family : {true, false}) {
    const Parsed p(frame(v4_family ? Network{} : network6(), 6, tcp(0x10, counted(1400))));
    const Address from = v4_family ? kGateway4 : kGateway6;
    Bytes out = buffer();
    const Parsed exceeded(taken(out, build_time_exceeded(p.packet, from, kGatewayMac, out)));
    check_answer(exceeded, p.packet);
    CHECK(exceeded.packet.icmp_type == (v4_family ? 11 : 3));
    const Parsed big(taken(out, build_packet_too_big(p.packet, 1400, from, kGatewayMac, out)));
    check_answer(big, p.packet);
    CHECK(big.packet.icmp_type == (v4_family ? 3 : 2));
    CHECK(big.packet.icmp_code == (v4_family ? 4 : 0));
    CHECK(big.packet.icmp_rest == 1400);
  }
}

TEST_CASE("no error about an error, a later fragment, or what many or nobody received") {
  CHECK(error_length(frame({}, 17, udp({}))) > 0);
  CHECK(error_length(frame(network6(), 17, udp({}))) > 0);
  const Bytes quote = ip_packet({}, 17, udp(counted(4)));
  CHECK(error_length(frame({}, 1, icmp(3, 1, 0, quote))) == 0);
  CHECK(error_length(frame({}, 1, icmp(5, 1, 0, quote))) == 0);
  CHECK(error_length(frame({}, 1, icmp(8, 0, 1))) > 0);
  CHECK(error_length(frame(network6(), 58, icmp(1, 0, 0, ip_packet(network6(), 17, udp({}))))) == 0);
  CHECK(error_length(frame(Network{.fragment = 100}, 17, counted(16))) == 0);
  CHECK(error_length(frame(Network{.fragment = 0x2000}, 17, udp(counted(16)))) > 0);
  CHECK(error_length(frame(Network{.destination = v4(224, 0, 0, 5)}, 17, udp({}))) == 0);
  CHECK(error_length(frame(Network{.destination = v4(255, 255, 255, 255)}, 17, udp({}))) == 0);
  CHECK(error_length(frame(Network{.source = v4(0, 0, 0, 0), .destination = v4(255, 255, 255, 255)}, 17,
                           udp({}))) == 0);
  Bytes broadcast = frame({}, 17, udp({}));
  std::copy(kBroadcastMac.begin(), kBroadcastMac.end(), broadcast.begin());
  CHECK(error_length(broadcast) == 0);

  Network group = network6();
  group.destination = v6(5, 0xff0e);
  const Parsed p(frame(group, 17, udp(counted(1400))));
  Bytes out = buffer();
  CHECK(build_time_exceeded(p.packet, kGateway6, kGatewayMac, out) == 0);
  CHECK(build_packet_too_big(p.packet, 1280, kGateway6, kGatewayMac, out) > 0);
  CHECK(build_unreachable(p.packet, Unreachable::port, kGateway4, kGatewayMac, out) == 0);
}

TEST_CASE("a reset acknowledges what RFC 9293 section 3.5.2 says") {
  struct Row {
    const char* what;
    uint8_t flags;
    size_t payload;
    uint8_t reset_flags;
    uint32_t sequence, acknowledgement;
  };
  for (const Row& r : {Row{"SYN", 0x02, 0, 0x14, 0, 0xfffffff1}, Row{"SYN with data", 0x02, 20, 0x14, 0, 5},
                       Row{"ACK", 0x10, 5, 0x04, 0x01020304, 0}, Row{"SYN ACK", 0x12, 0, 0x04, 0x01020304, 0},
                       Row{"FIN ACK", 0x11, 0, 0x04, 0x01020304, 0}})
    for (const bool v4_family : {true, false}) {
      CAPTURE(r.what);
      const Parsed p(frame(v4_family ? Network{} : network6(), 6, tcp(r.flags, counted(r.payload))));
      Bytes out = buffer();
      const Parsed answer(taken(out, build_tcp_reset(p.packet, kGatewayMac, out)));
      check_answer(answer, p.packet);
      CHECK(answer.packet.tuple == p.packet.tuple.reversed());
      CHECK(answer.packet.tcp_flags == r.reset_flags);
      CHECK(answer.packet.tcp_sequence == r.sequence);
      CHECK(answer.packet.tcp_acknowledgement == r.acknowledgement);
    }
  Bytes out = buffer();
  CHECK(build_tcp_reset(Parsed(frame({}, 6, tcp(0x14))).packet, kGatewayMac, out) == 0);
  CHECK(build_tcp_reset(Parsed(frame({}, 17, udp({}))).packet, kGatewayMac, out) == 0);
  CHECK(build_tcp_reset(Parsed(frame(Network{.fragment = 0x2000}, 6, tcp(0x10, counted(4)))).packet,
                        kGatewayMac, out) == 0);
}

TEST_CASE("an SCTP ABORT carries the tag that its receiver accepts") {
  struct Row {
    const char* what;
    Bytes transport;
    uint32_t tag;
    uint8_t flags;
  };
  const std::vector<Row> rows = {{"INIT", sctp_init(), 0xcafe0001, 0},
                                 {"DATA", sctp(0x1234, {0, 3, 0, 8, 1, 2, 3, 4}), 0x1234, 1},
                                 {"COOKIE ECHO", sctp(0x99, {10, 0, 0, 4}), 0x99, 1}};
  Bytes out = buffer();
  for (const Row& r : rows) {
    CAPTURE(r.what);
    const Parsed p(frame({}, 132, r.transport));
    const Parsed answer(taken(out, build_sctp_abort(p.packet, kGatewayMac, out)));
    check_answer(answer, p.packet);
    CHECK(answer.packet.tuple == p.packet.tuple.reversed());
    CHECK(answer.packet.sctp_chunk == 6);
    CHECK(answer.packet.sctp_chunk_flags == r.flags);
    CHECK(answer.packet.sctp_tag == r.tag);
  }
  CHECK(build_sctp_abort(Parsed(frame({}, 132, sctp(1, {6, 0, 0, 4}))).packet, kGatewayMac, out) == 0);
  CHECK(build_sctp_abort(Parsed(frame({}, 132, sctp(1, {14, 0, 0, 4}))).packet, kGatewayMac, out) == 0);
  CHECK(build_sctp_abort(Parsed(frame({}, 132, sctp_init(0))).packet, kGatewayMac, out) == 0);
}

TEST_CASE("an answer that does not fit is not begun") {
  const Parsed p(frame({}, 6, tcp(0x02, counted(10))));
  for (uint32_t length = 0; length < 54; ++length) {
    Bytes out(length + 1, 0xaa);
    const std::span<uint8_t> room = std::span(out).first(length);
    CHECK(build_tcp_reset(p.packet, kGatewayMac, room) == 0);
    CHECK(build_unreachable(p.packet, Unreachable::port, kGateway4, kGatewayMac, room) == 0);
    CHECK(out == Bytes(length + 1, 0xaa));
  }
}
