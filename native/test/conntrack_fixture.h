// What the connection tests share: a table on the heap, ports, tuples, and segments in one line each.
#pragma once

#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "conntrack/table.h"

namespace weft::conntrack_test {

inline constexpr uint64_t kStart = 1000 * kSecond;

struct Region {
  explicit Region(size_t octets)
      : size(octets), bytes(static_cast<std::byte*>(std::aligned_alloc(64, (octets + 63) & ~size_t{63}))) {
    std::memset(bytes, 0, octets);
  }
  Region(const Region& o) : Region(o.size) { std::memcpy(bytes, o.bytes, size); }
  Region& operator=(const Region&) = delete;
  ~Region() { std::free(bytes); }
  std::span<std::byte> span() { return {bytes, size}; }
  size_t size;
  std::byte* bytes;
};

inline TableOptions small(uint32_t capacity = 64) {
  TableOptions options;
  options.capacity = capacity;
  options.max_ports = 8;
  options.port_quota = 2 * capacity;
  options.seed = {0x0123456789abcdef, 0xfedcba9876543210};
  return options;
}

struct Fixture {
  explicit Fixture(TableOptions wanted = small())
      : options(wanted), region(ConnectionTable::region_size(wanted)) {
    reopen(kStart);
    a = table->open_port("pod-a").value();
    b = table->open_port("pod-b").value();
  }
  ConnectionTable::Opened reopen(uint64_t now) {
    table.reset();
    auto opened = std::move(ConnectionTable::open(region.span(), options, now)).value();
    ConnectionTable::Opened report{nullptr, opened.recovered, opened.dropped, opened.refused};
    table = std::move(opened.table);
    return report;
  }
  TableOptions options;
  Region region;
  std::unique_ptr<ConnectionTable> table;
  PortLife a, b;
};

inline FlowTuple tuple(Protocol protocol, uint16_t from, uint16_t to, uint32_t source = 0x0a000001,
                       uint32_t destination = 0x0a000002) {
  return {Address::v4(source), Address::v4(destination), from, to, static_cast<uint8_t>(protocol), 4, 0};
}

inline NewConnection connection(const Fixture& f, const FlowTuple& original) {
  NewConnection wanted;
  wanted.original = original;
  wanted.initiator = f.a;
  wanted.responder = f.b;
  wanted.generation = 1;
  wanted.bytes = 60;
  return wanted;
}

inline InsertResult put(Fixture& f, const FlowTuple& original, uint64_t now = kStart) {
  return f.table->insert(connection(f, original), now);
}

inline Update hear(Fixture& f, const FlowTuple& tuple, uint64_t now = kStart) {
  Observation packet;
  packet.bytes = 100;
  return f.table->update(f.table->find(tuple, now), packet, now);
}

// Whether packets of both directions are changed as the two tuples of the connection ask for. A connection of
// TCP or UDP with only its destination translated.
inline bool ends_change_rightly(const ConnectionTable& table, const FlowTuple& original) {
  const Lookup there = table.find(original, kStart + 1);
  const Lookup back = table.find(there.translated.reversed(), kStart + 1);
  EndChange first, second;
  return there.changes_end() && back.changes_end() && table.end_change<Side::original>(there, first) &&
         table.end_change<Side::reply>(back, second) && first == change_of(original, there.translated, 1) &&
         second == change_of(there.translated.reversed(), original.reversed(), 0) &&
         first.address == there.translated.destination.words() &&
         first.port == there.translated.destination_port;
}

inline TcpSegment segment(uint8_t flags, uint32_t sequence, uint32_t acknowledgement = 0, uint32_t data = 0,
                          uint16_t window = 65535, uint8_t scale = 0) {
  return {sequence, acknowledgement, data, window, flags, scale};
}

}  // namespace weft::conntrack_test
