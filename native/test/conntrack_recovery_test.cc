// What a new process finds after the old one was killed between any two stores.
#include <doctest/doctest.h>

#include "conntrack/write.h"
#include "conntrack_fixture.h"

using namespace weft;
using namespace weft::conntrack_test;

namespace {

NewConnection service_connection(const Fixture& f, uint16_t port, const TcpSegment* syn) {
  NewConnection wanted = connection(f, tuple(Protocol::tcp, port, 80, 0x0a000001, 0x0a600001));
  wanted.translation = {true, false, 8080, Address::v4(0x0a000002)};
  wanted.tcp = syn;
  wanted.generation = 7;
  return wanted;
}

// Recovers a copy of `bytes` and asserts that whatever is live in it is whole, consistent and unjudged.
uint32_t recover_copy(const Fixture& f, const std::vector<std::byte>& bytes,
                      const std::vector<FlowTuple>& allowed) {
  Region copy(bytes.size());
  std::memcpy(copy.bytes, bytes.data(), bytes.size());
  auto opened = std::move(ConnectionTable::open(copy.span(), f.options, kStart + 1)).value();
  REQUIRE_FALSE(opened.refused.has_value());
  CHECK(opened.table->check() == nullptr);
  for (uint32_t i = 0; i < f.options.capacity; ++i) {
    const auto view = opened.table->read(i);
    if (!view) continue;
    CHECK(view->generation == 0);
    CHECK((view->flags & kRecovered) != 0);
    bool known = false;
    for (const FlowTuple& tuple : allowed) known = known || view->original == tuple;
    CHECK(known);
    CHECK(view->reply.source == Address::v4(0x0a000002));
    CHECK(view->reply.source_port == 8080);
    CHECK(view->reply.destination == view->original.source);
    CHECK(view->reply.destination_port == view->original.source_port);
    CHECK(opened.table->find(view->original, kStart + 1).hit());
    CHECK(opened.table->find(view->reply, kStart + 1).hit());
    CHECK(ends_change_rightly(*opened.table, view->original));
  }
  return opened.recovered;
}

}  // namespace

TEST_CASE("killed after any store of an insert, the entry is whole or gone, and judged again") {
  Fixture f;
  const TcpSegment syn = segment(tcp_flag::kSyn, 100);
  // An older life of the same entry must not shine through: make, kill, and make others beside it.
  const NewConnection before = service_connection(f, 1111, &syn);
  REQUIRE(f.table->insert(before, kStart).status == InsertStatus::ok);
  const NewConnection gone = service_connection(f, 2222, &syn);
  const InsertResult old = f.table->insert(gone, kStart);
  REQUIRE(f.table->kill(old.lookup));
  const NewConnection wanted = service_connection(f, 3333, &syn);

  std::vector<std::vector<std::byte>> prefixes;
  const auto record = [&] { prefixes.emplace_back(f.region.bytes, f.region.bytes + f.region.size); };
  record();
  const InsertResult made = f.table->insert_stepping(wanted, kStart, record);
  REQUIRE(made.status == InsertStatus::ok);
  REQUIRE(made.lookup.entry == old.lookup.entry);
  record();
  CHECK(prefixes.size() > 30);
  const size_t word_at =
      f.region.size - sizeof(Entry) * (f.options.capacity - made.lookup.entry) + offsetof(Entry, word);
  size_t odd = 0;
  for (const auto& prefix : prefixes) {
    uint64_t raw = 0;
    std::memcpy(&raw, prefix.data() + word_at, sizeof raw);
    odd += Word::of(raw).sequence & 1;
  }
  CHECK(odd > 20);  // between the first store and the last of the entry's own
  uint32_t whole = 0;
  for (size_t i = 0; i < prefixes.size(); ++i) {
    CAPTURE(i);
    const uint32_t recovered = recover_copy(f, prefixes[i], {before.original, wanted.original});
    CHECK(recovered >= 1);
    CHECK(recovered <= 2);
    CHECK(recovered >= whole);  // once whole, it stays
    whole = recovered;
  }
  CHECK(whole == 2);
}

TEST_CASE("killed after any store of a removal, the entry is whole or gone") {
  Fixture f;
  const TcpSegment syn = segment(tcp_flag::kSyn, 100);
  const NewConnection stays = service_connection(f, 1111, &syn);
  const NewConnection goes = service_connection(f, 2222, &syn);
  REQUIRE(f.table->insert(stays, kStart).status == InsertStatus::ok);
  const Lookup victim = f.table->insert(goes, kStart).lookup;
  std::vector<std::vector<std::byte>> prefixes;
  const auto record = [&] { prefixes.emplace_back(f.region.bytes, f.region.bytes + f.region.size); };
  record();
  REQUIRE(f.table->remove_stepping(victim.entry, victim.sequence, record));
  CHECK(recover_copy(f, prefixes.front(), {stays.original, goes.original}) == 2);
  for (size_t i = 1; i < prefixes.size(); ++i) {
    CAPTURE(i);
    CHECK(recover_copy(f, prefixes[i], {stays.original}) == 1);
  }
}

TEST_CASE("a restart with shorter times costs no connection") {
  Fixture f;
  f.options.timeouts.tcp_established = 24 * 3600 * kSecond;
  f.reopen(kStart);
  f.a = f.table->open_port("pod-a").value();
  f.b = f.table->open_port("pod-b").value();
  const TcpSegment middle = segment(tcp_flag::kAck, 100, 100), back = segment(tcp_flag::kAck, 100, 100);
  NewConnection wanted = connection(f, tuple(Protocol::tcp, 40000, 80));
  wanted.tcp = &middle;
  const Lookup made = f.table->insert(wanted, kStart).lookup;
  f.table->update(f.table->find(wanted.original.reversed(), kStart), {60, 1, &back}, kStart);
  REQUIRE(f.table->read(made.entry)->deadline_ns == kStart + 24 * 3600 * kSecond);
  f.options.timeouts = {};
  CHECK(f.reopen(kStart + kSecond).recovered == 1);
  CHECK(f.table->read(made.entry)->deadline_ns == kStart + kSecond + f.options.timeouts.longest());
}

TEST_CASE("any damaged octet of an entry's identity drops it") {
  Fixture f;
  const TcpSegment syn = segment(tcp_flag::kSyn, 100);
  const Lookup made = f.table->insert(service_connection(f, 1111, &syn), kStart).lookup;
  const size_t entry = f.region.size - sizeof(Entry) * (f.options.capacity - made.entry);
  // Link, counters, generation and windows are rebuilt, cleared or allowed to be off.
  const std::pair<size_t, size_t> fixed[] = {{8, 48},    {72, 112},  {128, 130}, {132, 136},
                                             {152, 164}, {200, 204}, {208, 224}};
  for (const auto& [from, to] : fixed)
    for (size_t i = from; i < to; ++i) {
      CAPTURE(i);
      Region copy(f.region);
      copy.bytes[entry + i] ^= std::byte{0x41};
      const auto opened = std::move(ConnectionTable::open(copy.span(), f.options, kStart + 1)).value();
      CHECK(opened.recovered == 0);
      CHECK(opened.table->check() == nullptr);
    }
}

TEST_CASE(
    "a header of another version, layout or with damage is refused with a sentence and the table is empty") {
  struct Case {
    const char* name;
    size_t offset;
    const char* code;
  };
  for (const Case& c :
       {Case{"magic", 0, "connections-damaged"}, Case{"version", 8, "connections-version"},
        Case{"capacity", 20, "connections-damaged"}, Case{"identity key", 40, "connections-damaged"},
        Case{"checksum", 56, "connections-damaged"}}) {
    CAPTURE(c.name);
    Fixture f;
    const TcpSegment syn = segment(tcp_flag::kSyn, 100);
    REQUIRE(f.table->insert(service_connection(f, 1111, &syn), kStart).status == InsertStatus::ok);
    f.region.bytes[c.offset] ^= std::byte{0x10};
    const auto report = f.reopen(kStart + 1);
    REQUIRE(report.refused.has_value());
    CHECK(report.refused->code == c.code);
    CHECK(report.refused->message.ends_with("."));
    CHECK(report.recovered == 0);
    CHECK(f.table->counts().used == 0);
    CHECK(f.table->check() == nullptr);
    CHECK_FALSE(f.table->port_open(f.a));
    CHECK_FALSE(f.reopen(kStart + 2).refused.has_value());
  }
  Fixture f;
  f.options.max_ports = 4;
  const auto report = f.reopen(kStart + 1);
  REQUIRE(report.refused.has_value());
  CHECK(report.refused->code == "connections-layout");
  CHECK_FALSE(ConnectionTable::open(f.region.span().subspan(0, 100), f.options, kStart).ok());
  CHECK_FALSE(ConnectionTable::open(f.region.span().subspan(8), f.options, kStart).ok());
}

TEST_CASE("ports get their index, instance and connections back; those nobody reopens lose theirs") {
  Fixture f;
  const TcpSegment syn = segment(tcp_flag::kSyn, 100);
  const PortLife c = f.table->open_port("pod-c").value();
  REQUIRE(f.table->insert(service_connection(f, 1, &syn), kStart).status == InsertStatus::ok);
  NewConnection to_c = connection(f, tuple(Protocol::udp, 5, 53));
  to_c.responder = c;
  REQUIRE(f.table->insert(to_c, kStart).status == InsertStatus::ok);
  CHECK(f.reopen(kStart + 1).recovered == 2);
  CHECK_FALSE(f.table->port_open(f.a));
  CHECK(f.table->open_port("pod-b").value() == f.b);
  CHECK(f.table->open_port("pod-a").value() == f.a);
  CHECK(f.table->port_use(f.a.index) == 2);
  const PortLife d = f.table->open_port("pod-d").value();
  CHECK_FALSE(d.index == c.index);
  CHECK(f.table->release_unclaimed() == 1);
  CHECK(f.table->counts().used == 1);
  CHECK(f.table->check() == nullptr);
  const PortLife again = f.table->open_port("pod-c").value();
  CHECK(again.index == c.index);
  CHECK(again.instance != c.instance);
  CHECK(f.table->open_port("pod-c").error().code == "connections-port-open");
}

TEST_CASE("the policy generation never goes back, whatever store was the last") {
  Fixture f;
  CHECK(f.table->next_generation() == 1);
  CHECK(f.table->next_generation() == 2);
  f.reopen(kStart + 1);
  CHECK(f.table->generation() == 2);
  CHECK(f.table->next_generation() == 3);
  // Killed between the two stores of the next one: slot 0 (4 % 2) holds a value without its check.
  const uint64_t half = 4;
  std::memcpy(f.region.bytes + 64, &half, sizeof half);
  CHECK_FALSE(f.reopen(kStart + 2).refused.has_value());
  CHECK(f.table->generation() == 3);
  CHECK(f.table->next_generation() == 4);
}

TEST_CASE("an expired entry and one from a clock ahead of ours do not survive a restart") {
  Fixture f;
  REQUIRE(f.table->insert(connection(f, tuple(Protocol::udp, 1, 2)), kStart).status == InsertStatus::ok);
  Region later(f.region);
  CHECK(std::move(ConnectionTable::open(later.span(), f.options, kStart + 31 * kSecond)).value().dropped ==
        1);
  CHECK(f.reopen(kStart - 1).dropped == 1);
}
