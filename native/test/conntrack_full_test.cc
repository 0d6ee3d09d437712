// What gives way where the table, or a port's share of it, is full.
#include <doctest/doctest.h>

#include "conntrack_fixture.h"

using namespace weft;
using namespace weft::conntrack_test;

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
