// UDP, SCTP, ICMP and other protocols through the table; translation, bounds, judging, ports, expiry.
#include <doctest/doctest.h>

#include "conntrack_fixture.h"

using namespace weft;
using namespace weft::conntrack_test;

namespace {

constexpr Side O = Side::original, P = Side::reply;

InsertResult put(Fixture& f, const FlowTuple& original, uint64_t now = kStart) {
  return f.table->insert(connection(f, original), now);
}

Update hear(Fixture& f, const FlowTuple& tuple, uint64_t now = kStart) {
  Observation packet;
  packet.bytes = 100;
  return f.table->update(f.table->find(tuple, now), packet, now);
}

SctpPacket sctp(uint8_t chunk, uint32_t tag, uint32_t initiate = 0, bool reflected = false) {
  return {tag, initiate, 1u << chunk, reflected};
}

}  // namespace

TEST_CASE("UDP goes from unreplied to replied to stream, and each has its time") {
  Fixture f;
  const FlowTuple t = tuple(Protocol::udp, 5000, 53);
  const Lookup made = put(f, t).lookup;
  CHECK(f.table->read(made.entry)->state == State::udp_unreplied);
  CHECK(hear(f, t) == Update::pass);
  CHECK(f.table->read(made.entry)->state == State::udp_unreplied);
  CHECK(hear(f, t.reversed()) == Update::pass);
  CHECK(f.table->read(made.entry)->state == State::udp_replied);
  CHECK(hear(f, t, kStart + 3 * kSecond) == Update::pass);
  CHECK(f.table->read(made.entry)->state == State::udp_stream);
  const auto view = f.table->read(made.entry);
  CHECK(view->packets[0] == 3);
  CHECK(view->bytes[0] == 60 + 200);
  CHECK(view->packets[1] == 1);
  CHECK(f.table->find(t, kStart + 182 * kSecond).hit());
  CHECK_FALSE(f.table->find(t, kStart + 184 * kSecond).hit());
  CHECK(f.table->sweep(64, kStart + 184 * kSecond) == 1);
  CHECK(f.table->check() == nullptr);
}

TEST_CASE(
    "a batch is looked up by hashes made before, and prefetching an empty table, a bucket or an entry "
    "changes nothing") {
  Fixture f;
  std::vector<FlowTuple> tuples;
  for (uint16_t port = 1; port <= 40; ++port) tuples.push_back(tuple(Protocol::udp, port, 53));
  for (const FlowTuple& t : tuples) f.table->prefetch_entry(f.table->hash_of(t));
  for (const FlowTuple& t : tuples) CHECK(put(f, t).status == InsertStatus::ok);
  for (const FlowTuple& t : tuples) {
    for (const FlowTuple& key : {t, t.reversed()}) {
      const uint64_t hash = f.table->hash_of(key);
      f.table->prefetch_index(hash);
      f.table->prefetch_entry(hash);
      const Lookup found = f.table->find(key, hash, kStart);
      REQUIRE(found.hit());
      CHECK(found.entry == f.table->find(key, kStart).entry);
      CHECK(found.key == key);
    }
    CHECK_FALSE(f.table->find(t, f.table->hash_of(t) ^ 1, kStart).hit());
    CHECK_FALSE(f.table->find(t, f.table->hash_of(t) ^ uint64_t{1} << 40, kStart).hit());
  }
  CHECK(f.table->check() == nullptr);
}

TEST_CASE("an SCTP association opens with INIT and ends with SHUTDOWN COMPLETE") {
  struct Line {
    Side side;
    SctpPacket packet;
    Update update;
    State state;
  };
  const auto pass = Update::pass;
  const std::vector<std::vector<Line>> cases{
      {{O, sctp(sctp_chunk::kInit, 0, 11), pass, State::sctp_cookie_wait},
       {O, sctp(sctp_chunk::kInit, 0, 11), pass, State::sctp_cookie_wait},
       {P, sctp(sctp_chunk::kInitAck, 99, 22), pass, State::sctp_cookie_wait},  // not the initiator's tag
       {P, sctp(sctp_chunk::kInitAck, 11, 22), pass, State::sctp_cookie_ready},
       {O, sctp(sctp_chunk::kCookieEcho, 22), pass, State::sctp_cookie_echoed},
       {P, sctp(sctp_chunk::kCookieAck, 11), pass, State::sctp_established},
       {O, sctp(sctp_chunk::kData, 22), pass, State::sctp_established},
       {P, sctp(sctp_chunk::kAbort, 77), Update::invalid, State::sctp_established},
       {P, sctp(sctp_chunk::kShutdown, 77), pass, State::sctp_established},
       {O, sctp(sctp_chunk::kInit, 0, 33), pass, State::sctp_established},
       {O, sctp(sctp_chunk::kShutdown, 22), pass, State::sctp_shutdown},
       {P, sctp(sctp_chunk::kShutdownAck, 11), pass, State::sctp_shutdown_ack},
       {O, sctp(sctp_chunk::kShutdownComplete, 22), pass, State::sctp_closed},
       {O, sctp(sctp_chunk::kInit, 0, 44), Update::restart, State::sctp_closed}},
      {{O, sctp(sctp_chunk::kInit, 0, 11), pass, State::sctp_cookie_wait},
       {P, sctp(sctp_chunk::kAbort, 11), pass, State::sctp_closed}},
      {{O, sctp(sctp_chunk::kData, 22), pass, State::sctp_established},  // picked up
       {P, sctp(sctp_chunk::kHeartbeatAck, 11), pass, State::sctp_established},
       {P, sctp(sctp_chunk::kAbort, 22, 0, true), pass, State::sctp_closed}},
  };
  for (size_t c = 0; c < cases.size(); ++c) {
    CAPTURE(c);
    Fixture f;
    const FlowTuple t = tuple(Protocol::sctp, 3000, 3868);
    for (size_t i = 0; i < cases[c].size(); ++i) {
      CAPTURE(i);
      const Line& line = cases[c][i];
      if (i == 0) {
        NewConnection wanted = connection(f, t);
        wanted.sctp = &line.packet;
        REQUIRE(f.table->insert(wanted, kStart).status == InsertStatus::ok);
      }
      const Lookup found = f.table->find(line.side == O ? t : t.reversed(), kStart);
      REQUIRE(found.hit());
      if (i > 0) {
        Observation packet;
        packet.sctp = &line.packet;
        CHECK(static_cast<int>(f.table->update(found, packet, kStart)) == static_cast<int>(line.update));
      }
      CHECK(std::string(state_name(f.table->read(found.entry)->state)) == state_name(line.state));
    }
    CHECK(f.table->check() == nullptr);
  }
  for (const SctpPacket& first :
       {sctp(sctp_chunk::kInit, 5, 11), sctp(sctp_chunk::kInit, 0, 0), sctp(sctp_chunk::kInitAck, 1, 2),
        sctp(sctp_chunk::kAbort, 1), sctp(sctp_chunk::kData, 0)})
    CHECK(sctp_start(first) == SctpStart::refuse);
}

TEST_CASE("SCTP chunks are read within their packet") {
  uint8_t bytes[48] = {0x0b, 0xb8, 0x0f, 0x1c, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 20, 0, 0, 0, 11};
  SctpPacket packet;
  REQUIRE(read_sctp(bytes, 32, packet));
  CHECK(packet.has(sctp_chunk::kInit));
  CHECK(packet.initiate_tag == 11);
  CHECK(sctp_start(packet) == SctpStart::begin);
  CHECK_FALSE(read_sctp(bytes, 31, packet));
  CHECK_FALSE(read_sctp(bytes, 12, packet));
  bytes[15] = 3;
  CHECK_FALSE(read_sctp(bytes, 32, packet));
}

TEST_CASE("an echo request from the other end with the same identifier is not a reply") {
  Fixture f;
  const FlowTuple raw = tuple(Protocol::icmp, 7, 7);
  const FlowTuple request = connection_key(raw, 8);
  REQUIRE(put(f, request).status == InsertStatus::ok);
  CHECK(f.table->find(connection_key(raw.reversed(), 0), kStart).side == P);
  CHECK_FALSE(f.table->find(connection_key(raw.reversed(), 8), kStart).hit());
  CHECK(f.table->find(request, kStart).judged() == tuple(Protocol::icmp, 0, 0));
  CHECK(hear(f, request.reversed()) == Update::pass);
  CHECK(f.table->read(0).has_value());
  CHECK(put(f, connection_key(raw.reversed(), 8)).status == InsertStatus::ok);
  // Errors that quote the request and the reply.
  CHECK(f.table->find_related(raw, kStart).side == P);
  FlowTuple six = raw;
  six.family = 6;
  six.protocol = static_cast<uint8_t>(Protocol::icmpv6);
  CHECK(connection_key(six, 128).reversed() == connection_key(six.reversed(), 129));
  CHECK_FALSE(connection_key(six, 128).reversed() == connection_key(six.reversed(), 128));
  // ICMP over IPv6 is not ICMP.
  six.protocol = static_cast<uint8_t>(Protocol::icmp);
  CHECK(connection_key(six, 8) == six);
}

TEST_CASE("no identifier, and no kind of request, makes a request from the other end look like a reply") {
  for (const uint16_t id : std::initializer_list<uint16_t>{0, 1, 0x7fff, 0x8000, 0xffff})
    for (const auto& [request, reply] : {std::pair<uint8_t, uint8_t>{8, 0}, {13, 14}, {15, 16}, {17, 18}}) {
      CAPTURE(id);
      CAPTURE(request);
      Fixture f;
      const FlowTuple raw = tuple(Protocol::icmp, id, id);
      REQUIRE(put(f, connection_key(raw, request)).status == InsertStatus::ok);
      CHECK(f.table->find(connection_key(raw.reversed(), reply), kStart).side == P);
      CHECK_FALSE(f.table->find(connection_key(raw.reversed(), request), kStart).hit());
      CHECK(f.table->find_related(raw, kStart).side == P);
      CHECK(f.table->find_related(raw.reversed(), kStart).side == Side::original);
    }
}

TEST_CASE("other protocols are tracked by their pair of addresses") {
  Fixture f;
  FlowTuple t = tuple(Protocol::udp, 0, 0);
  t.protocol = 47;
  REQUIRE(put(f, t).status == InsertStatus::ok);
  CHECK(put(f, t.reversed()).status == InsertStatus::exists);
  CHECK(hear(f, t.reversed()) == Update::pass);
  CHECK(f.table->find(t, kStart).state == State::other_replied);
}

TEST_CASE("a service's connection is translated both ways, and so are errors about it") {
  Fixture f;
  const FlowTuple original = tuple(Protocol::udp, 5000, 53, 0x0a000001, 0x0a60000a);
  NewConnection wanted = connection(f, original);
  wanted.translation = {true, false, 5353, Address::v4(0x0a000002)};
  REQUIRE(f.table->insert(wanted, kStart).status == InsertStatus::ok);
  const FlowTuple at_backend = tuple(Protocol::udp, 5000, 5353);
  const Lookup there = f.table->find(original, kStart);
  CHECK(there.translated == at_backend);
  CHECK(there.judged() == at_backend);
  CHECK(there.from == f.a);
  CHECK(there.to == f.b);
  const Lookup back = f.table->find(at_backend.reversed(), kStart);
  CHECK(back.side == P);
  CHECK(back.translated == original.reversed());
  CHECK(back.judged() == at_backend);
  CHECK(back.from == f.b);
  CHECK(ends_change_rightly(*f.table, original));
  // The backend answers "port unreachable", quoting the packet as it saw it.
  const Lookup error = f.table->find_related(at_backend, kStart);
  CHECK(error.side == P);
  CHECK(error.translated.reversed() == original);
  // What was found before the connection ended says nothing of it any more.
  f.table->kill(there);
  EndChange change;
  CHECK_FALSE(f.table->end_change<Side::original>(there, change));
  CHECK_FALSE(f.table->complete(there, original).has_value());
}

TEST_CASE("a pod that reaches itself by a service is given the hairpin address, in either family") {
  Fixture f;
  const FlowTuple original = tuple(Protocol::udp, 5000, 53, 0x0a000001, 0x0a60000a);
  NewConnection wanted = connection(f, original);
  wanted.responder = f.a;
  wanted.translation = {true, true, 5353, Address::v4(0x0a000001)};
  const Lookup made = f.table->insert(wanted, kStart).lookup;
  CHECK(made.translated == tuple(Protocol::udp, 5000, 5353, 0xa9fe0101, 0x0a000001));
  CHECK((made.flags & kHairpin) != 0);
  const Lookup back = f.table->find(made.translated.reversed(), kStart);
  CHECK(back.translated == original.reversed());
  CHECK(back.judged() == tuple(Protocol::udp, 5000, 5353, 0x0a000001, 0x0a000001));
  NewConnection six = wanted;
  six.original.family = 6;
  six.original.source = Address{{0xfd, 1}};
  six.original.destination = Address{{0xfd, 2}};
  six.translation.to = six.original.source;
  CHECK(f.table->insert(six, kStart).lookup.translated.source == f.options.hairpin_v6);
}

TEST_CASE("a source port is translated where the reply tuple is taken, within bounded tries") {
  TableOptions options = small(256);
  options.translation_tries = 8;
  Fixture f(options);
  REQUIRE(put(f, tuple(Protocol::udp, 5000, 5353)).status == InsertStatus::ok);
  std::vector<FlowTuple> seen;
  uint32_t service = 0;
  InsertStatus last = InsertStatus::ok;
  for (; service < 200; ++service) {  // many services with one backend, one client port
    NewConnection wanted = connection(f, tuple(Protocol::udp, 5000, 53, 0x0a000001, 0x0a600000 + service));
    wanted.translation = {true, false, 5353, Address::v4(0x0a000002)};
    const InsertResult result = f.table->insert(wanted, kStart);
    last = result.status;
    if (last != InsertStatus::ok) break;
    CHECK((result.lookup.flags & kSourceTranslated) != 0);
    CHECK(result.lookup.translated.source_port >= 1024);
    CHECK(result.lookup.translated.source == Address::v4(0x0a000001));
    for (const FlowTuple& other : seen) CHECK_FALSE(other == result.lookup.translated);
    seen.push_back(result.lookup.translated);
    CHECK(f.table->find(result.lookup.translated.reversed(), kStart).translated ==
          wanted.original.reversed());
  }
  CHECK(last == InsertStatus::ok);
  CHECK(f.table->check() == nullptr);

  TableOptions none = small();
  none.translation_tries = 0;
  Fixture g(none);
  REQUIRE(put(g, tuple(Protocol::udp, 5000, 5353)).status == InsertStatus::ok);
  NewConnection wanted = connection(g, tuple(Protocol::udp, 5000, 53, 0x0a000001, 0x0a600000));
  wanted.translation = {true, false, 5353, Address::v4(0x0a000002)};
  CHECK(g.table->insert(wanted, kStart).status == InsertStatus::nat_exhausted);
  CHECK(g.table->counts().refused_nat == 1);
  CHECK(g.table->check() == nullptr);
}

TEST_CASE("a tuple that is its own reverse is refused") {
  Fixture f;
  CHECK(put(f, tuple(Protocol::icmp, 0, 0, 0x0a000001, 0x0a000001)).status == InsertStatus::invalid);
  CHECK(f.table->check() == nullptr);
}

TEST_CASE("full: what is unreplied goes first, what is established never") {
  Fixture f(small(16));
  const TcpSegment syn = segment(tcp_flag::kSyn, 1), syn_ack = segment(tcp_flag::kSyn | tcp_flag::kAck, 1, 2),
                   ack = segment(tcp_flag::kAck, 2, 2);
  const auto establish = [&](uint16_t port) {
    NewConnection wanted = connection(f, tuple(Protocol::tcp, port, 80));
    wanted.tcp = &syn;
    REQUIRE(f.table->insert(wanted, kStart).status == InsertStatus::ok);
    Observation packet;
    packet.tcp = &syn_ack;
    f.table->update(f.table->find(wanted.original.reversed(), kStart), packet, kStart);
    packet.tcp = &ack;
    f.table->update(f.table->find(wanted.original, kStart), packet, kStart);
    CHECK(f.table->find(wanted.original, kStart).state == State::tcp_established);
  };
  for (uint16_t i = 1; i <= 8; ++i) establish(i);
  for (uint16_t i = 1; i <= 4; ++i) {
    REQUIRE(put(f, tuple(Protocol::udp, i, 53)).status == InsertStatus::ok);
    hear(f, tuple(Protocol::udp, i, 53).reversed());
  }
  for (uint16_t i = 11; i <= 14; ++i) REQUIRE(put(f, tuple(Protocol::udp, i, 53)).status == InsertStatus::ok);
  CHECK(f.table->counts().used == 16);
  for (uint16_t i = 21; i <= 24; ++i) establish(i);  // takes the four unreplied
  for (uint16_t i = 11; i <= 14; ++i) CHECK_FALSE(f.table->find(tuple(Protocol::udp, i, 53), kStart).hit());
  for (uint16_t i = 1; i <= 4; ++i) CHECK(f.table->find(tuple(Protocol::udp, i, 53), kStart).hit());
  for (uint16_t i = 31; i <= 34; ++i) establish(i);  // then the replied
  CHECK(put(f, tuple(Protocol::udp, 99, 53)).status == InsertStatus::full);
  CHECK(f.table->counts().evicted == 8);
  CHECK(f.table->check() == nullptr);
}

TEST_CASE("full: the port with the most connections gives way to the others") {
  Fixture f(small(32));
  NewConnection victim = connection(f, tuple(Protocol::udp, 1, 53));
  victim.initiator = f.b;
  victim.responder = f.a;
  REQUIRE(f.table->insert(victim, kStart).status == InsertStatus::ok);
  for (uint16_t i = 2; i < 500; ++i) CHECK(put(f, tuple(Protocol::udp, i, 53)).status == InsertStatus::ok);
  CHECK(f.table->find(victim.original, kStart).hit());
  CHECK(f.table->port_use(f.a.index) == 31);
}

TEST_CASE("a port's quota bounds what it begins and nobody else") {
  Fixture f;
  const PortLife c = f.table->open_port("pod-c", 2).value();
  NewConnection wanted = connection(f, {});
  wanted.initiator = c;
  for (uint16_t i = 1; i <= 3; ++i) {
    // Picked up mid-stream: established, and so not to be evicted.
    const TcpSegment picked_up = segment(tcp_flag::kAck, 1, 1);
    wanted.tcp = &picked_up;
    wanted.original = tuple(Protocol::tcp, i, 53);
    CHECK(f.table->insert(wanted, kStart).status == (i <= 2 ? InsertStatus::ok : InsertStatus::quota));
  }
  CHECK(put(f, tuple(Protocol::udp, 9, 53)).status == InsertStatus::ok);
  CHECK(f.table->kill(f.table->find(tuple(Protocol::tcp, 1, 53), kStart)));
  const TcpSegment syn = segment(tcp_flag::kSyn, 1);
  wanted.tcp = &syn;
  CHECK(f.table->insert(wanted, kStart).status == InsertStatus::ok);
  CHECK(f.table->counts().refused_quota == 1);
  CHECK(f.table->check() == nullptr);
}

TEST_CASE("packets of each direction are counted beyond 32 bits") {
  Fixture f;
  const FlowTuple flow = tuple(Protocol::udp, 1, 53);
  REQUIRE(f.table->insert(connection(f, flow), kStart).status == InsertStatus::ok);
  std::array<uint64_t, 2> expected{1, 0};
  for (uint64_t i = 0; i < 12; ++i) {
    const size_t side = i % 3 == 0 ? 1 : 0;
    const Lookup found = f.table->find(side == 0 ? flow : flow.reversed(), kStart);
    REQUIRE(f.table->update(found, {1500, 0xf000'0000u}, kStart) == Update::pass);
    expected[side] += 0xf000'0000u;
    CHECK(f.table->read(found.entry)->packets == expected);
  }
  // Another life of the entry begins at its own count.
  REQUIRE(f.table->kill(f.table->find(flow, kStart)));
  const InsertResult again = f.table->insert(connection(f, flow), kStart);
  CHECK(f.table->read(again.lookup.entry)->packets == std::array<uint64_t, 2>{1, 0});
}

TEST_CASE("without a quota of its own a port may begin half of what the table holds") {
  for (const uint32_t capacity : {1u, 2u, 1024u, 65'536u}) {
    CAPTURE(capacity);
    TableOptions options = small(capacity);
    options.port_quota = 0;
    Fixture f(options);
    const uint32_t half = std::max(1u, capacity / 2);
    CHECK(f.table->port_quota(f.a.index) == half);
    // Established, so that they make no room for each other.
    uint32_t begun = 0;
    for (uint32_t i = 0; i < capacity; ++i) {
      const FlowTuple tcp = tuple(Protocol::tcp, static_cast<uint16_t>(i), 80, 0x0a000001, 0x0b000000 + i);
      const TcpSegment middle = segment(tcp_flag::kAck, 100, 100);
      NewConnection wanted = connection(f, tcp);
      wanted.tcp = &middle;
      const InsertResult inserted = f.table->insert(wanted, kStart);
      if (inserted.status != InsertStatus::ok) {
        CHECK(inserted.status == InsertStatus::quota);
        break;
      }
      ++begun;
    }
    CHECK(begun == half);
    CHECK(f.reopen(kStart + 1).recovered == half);
    CHECK(f.table->port_quota(f.a.index) == half);
    CHECK(f.table->open_port("pod-a", 7).value().index == f.a.index);
    CHECK(f.table->port_quota(f.a.index) == 7);
  }
}

TEST_CASE(
    "a port at its quota finds its own in a large table that is nearly empty, and among many of others") {
  Fixture f(small(32768));
  const PortLife c = f.table->open_port("pod-c", 64).value();
  NewConnection wanted = connection(f, {});
  wanted.initiator = c;
  const TcpSegment syn = segment(tcp_flag::kSyn, 1);
  wanted.tcp = &syn;
  const auto begin = [&](uint16_t port) {
    wanted.original = tuple(Protocol::tcp, port, 80);
    return f.table->insert(wanted, kStart).status;
  };
  for (uint16_t i = 1; i <= 2000; ++i) CHECK(begin(i) == InsertStatus::ok);
  for (uint16_t i = 1; i <= 1500; ++i)
    REQUIRE(put(f, tuple(Protocol::udp, i, 53)).status == InsertStatus::ok);
  for (uint16_t i = 3001; i <= 5000; ++i) CHECK(begin(i) == InsertStatus::ok);
  CHECK(f.table->port_use(c.index) == 64);
}

TEST_CASE("a port at its quota gives up what is over before what has just begun") {
  Fixture f;
  const PortLife c = f.table->open_port("pod-c", 64).value();
  NewConnection wanted = connection(f, {});
  wanted.initiator = c;
  const TcpSegment syn = segment(tcp_flag::kSyn, 1), reset = segment(tcp_flag::kRst | tcp_flag::kAck, 0, 2);
  wanted.tcp = &syn;
  const auto begin = [&](uint16_t port) {
    wanted.original = tuple(Protocol::tcp, port, 80);
    REQUIRE(f.table->insert(wanted, kStart).status == InsertStatus::ok);
  };
  for (uint16_t i = 1; i <= 64; ++i) {
    begin(i);
    Observation answer;
    answer.tcp = &reset;
    f.table->update(f.table->find(wanted.original.reversed(), kStart), answer, kStart);
    REQUIRE(f.table->find(wanted.original, kStart).state == State::tcp_closed);
  }
  for (uint16_t i = 101; i <= 130; ++i) begin(i);
  for (uint16_t i = 101; i <= 130; ++i) CHECK(f.table->find(tuple(Protocol::tcp, i, 80), kStart).hit());
  CHECK(f.table->port_use(c.index) == 64);
}

TEST_CASE("a port at its quota gives up its own unanswered connections, and nobody else's") {
  Fixture f;
  const PortLife c = f.table->open_port("pod-c", 4).value();
  NewConnection wanted = connection(f, {});
  wanted.initiator = c;
  REQUIRE(put(f, tuple(Protocol::udp, 9, 53)).status == InsertStatus::ok);
  const TcpSegment established = segment(tcp_flag::kAck, 1, 1);
  wanted.tcp = &established;
  wanted.original = tuple(Protocol::tcp, 1, 80);
  REQUIRE(f.table->insert(wanted, kStart).status == InsertStatus::ok);
  const TcpSegment syn = segment(tcp_flag::kSyn, 1);
  wanted.tcp = &syn;
  for (uint16_t i = 2; i < 200; ++i) {
    wanted.original = tuple(Protocol::tcp, i, 80);
    CHECK(f.table->insert(wanted, kStart).status == InsertStatus::ok);
    CHECK(f.table->port_use(c.index) <= 4);
  }
  CHECK(f.table->find(tuple(Protocol::tcp, 1, 80), kStart).hit());
  CHECK(f.table->find(tuple(Protocol::udp, 9, 53), kStart).hit());
  CHECK(f.table->counts().refused_quota == 0);
  CHECK(f.table->check() == nullptr);
}

TEST_CASE("a verdict is written only onto the connection it was made for") {
  Fixture f;
  const FlowTuple t = tuple(Protocol::udp, 1, 53);
  const Lookup old = put(f, t).lookup;
  CHECK(f.table->judge(old, 5, 6, 7));
  CHECK(f.table->find(t, kStart).generation == 5);
  CHECK(f.table->read(old.entry)->ingress_rule == 7);
  CHECK(f.table->kill(old));
  CHECK_FALSE(f.table->kill(old));
  const Lookup next = put(f, tuple(Protocol::udp, 2, 53)).lookup;
  REQUIRE(next.entry == old.entry);
  CHECK_FALSE(f.table->judge(old, 9, 9, 9));
  CHECK(f.table->update(old, {}, kStart) == Update::restart);
  CHECK(f.table->read(next.entry)->generation == 1);
}

TEST_CASE("releasing a port ends its connections, and its index never means the old port again") {
  Fixture f;
  REQUIRE(put(f, tuple(Protocol::udp, 1, 53)).status == InsertStatus::ok);
  const PortLife c = f.table->open_port("pod-c").value();
  NewConnection other = connection(f, tuple(Protocol::udp, 2, 53));
  other.responder = c;
  REQUIRE(f.table->insert(other, kStart).status == InsertStatus::ok);
  CHECK(f.table->release_port(f.b) == 1);
  CHECK(f.table->release_port(f.b) == 0);
  CHECK_FALSE(f.table->find(tuple(Protocol::udp, 1, 53), kStart).hit());
  CHECK(f.table->find(other.original, kStart).hit());
  CHECK(put(f, tuple(Protocol::udp, 3, 53)).status == InsertStatus::port_closed);
  const PortLife again = f.table->open_port("pod-b").value();
  CHECK(again.index == f.b.index);
  CHECK(again.instance != f.b.instance);
  CHECK(put(f, tuple(Protocol::udp, 3, 53)).status == InsertStatus::port_closed);
  for (int i = 0; i < 5; ++i) CHECK(f.table->open_port("more-" + std::to_string(i)).ok());
  CHECK(f.table->open_port("one too many").error().code == "connections-ports");
  CHECK(f.table->check() == nullptr);
}

TEST_CASE("a tuple whose connection has lapsed may be used again at once") {
  Fixture f;
  const FlowTuple t = tuple(Protocol::udp, 1, 53);
  REQUIRE(put(f, t).status == InsertStatus::ok);
  CHECK(put(f, t, kStart + 29 * kSecond).status == InsertStatus::exists);
  CHECK(put(f, t, kStart + 31 * kSecond).status == InsertStatus::ok);
  CHECK(f.table->counts().expired == 1);
  CHECK(put(f, t.reversed(), kStart + 62 * kSecond).status == InsertStatus::ok);
  CHECK(f.table->counts().used == 1);
  CHECK(f.table->check() == nullptr);
}
