// UDP, ICMP and other protocols through the table; translation, judging, ports, expiry.
#include <doctest/doctest.h>

#include "conntrack_fixture.h"
#include "switch/address_kind.h"

using namespace weft;
using namespace weft::conntrack_test;

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

TEST_CASE("an echo request from the other end with the same identifier is not a reply") {
  Fixture f;
  const FlowTuple raw = tuple(Protocol::icmp, 7, 7);
  const FlowTuple request = connection_key(raw, 8);
  REQUIRE(put(f, request).status == InsertStatus::ok);
  CHECK(f.table->find(connection_key(raw.reversed(), 0), kStart).side == Side::reply);
  CHECK_FALSE(f.table->find(connection_key(raw.reversed(), 8), kStart).hit());
  CHECK(f.table->find(request, kStart).judged() == tuple(Protocol::icmp, 0, 0));
  CHECK(hear(f, request.reversed()) == Update::pass);
  CHECK(f.table->read(0).has_value());
  CHECK(put(f, connection_key(raw.reversed(), 8)).status == InsertStatus::ok);
  // Errors that quote the request and the reply.
  CHECK(f.table->find_related(raw, kStart).side == Side::reply);
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
      CHECK(f.table->find(connection_key(raw.reversed(), reply), kStart).side == Side::reply);
      CHECK_FALSE(f.table->find(connection_key(raw.reversed(), request), kStart).hit());
      CHECK(f.table->find_related(raw, kStart).side == Side::reply);
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
  CHECK(back.side == Side::reply);
  CHECK(back.translated == original.reversed());
  CHECK(back.judged() == at_backend);
  CHECK(back.from == f.b);
  CHECK(ends_change_rightly(*f.table, original));
  // The backend answers "port unreachable", quoting the packet as it saw it.
  const Lookup error = f.table->find_related(at_backend, kStart);
  CHECK(error.side == Side::reply);
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
  const FlowTuple inside = f.table->insert(six, kStart).lookup.translated;
  CHECK(inside.source == f.options.hairpin_v6);
  // Else a server that does not say which of its addresses answers would answer by its link-local one.
  CHECK_FALSE(is_link_local(inside.source));
  CHECK(f.table->find(inside.reversed(), kStart).translated == six.original.reversed());
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
