// What the table keeps of a translation, against packets whose checksums are computed from nothing.
#include <doctest/doctest.h>

#include <random>

#include "packet/checksum.h"
#include "test/conntrack_fixture.h"
#include "test/packet_frames.h"

using namespace weft;
using namespace weft::conntrack_test;
using namespace weft::test;

namespace {

// Sums go around at words of zeros and of ones, so these come often.
class Words {
 public:
  uint16_t any() {
    constexpr std::array<uint16_t, 6> kEdges{0x0000, 0xffff, 0x0001, 0xfffe, 0x8000, 0x00ff};
    const auto value = static_cast<uint32_t>(random_());
    return value % 2 == 0 ? kEdges[(value >> 8) % kEdges.size()] : static_cast<uint16_t>(value >> 8);
  }
  // Packets of port 0 are not parsed.
  uint16_t port() { return std::max<uint16_t>(any(), 1); }
  Address address(uint8_t family) {
    if (family == 4) return Address::v4(10u << 24 | (any() & 0xffu) << 16 | any());
    Address address{{0xfd}};
    for (size_t i = 2; i < 16; i += 2) {
      const uint16_t word = any();
      address.bytes[i] = static_cast<uint8_t>(word >> 8);
      address.bytes[i + 1] = static_cast<uint8_t>(word);
    }
    return address;
  }
  Bytes bytes(size_t words) {
    Bytes all;
    for (size_t i = 0; i < words; ++i) put16(all, any());
    return all;
  }

 private:
  std::mt19937 random_{20};
};

// One packet of `tuple` with checksums from nothing.
Bytes packet_of(const FlowTuple& tuple, const Bytes& payload) {
  Network network;
  network.source = tuple.source;
  network.destination = tuple.destination;
  Bytes transport = tuple.protocol == 6 ? tcp(0x18, payload) : udp(payload);
  set16(transport, 0, tuple.source_port);
  set16(transport, 2, tuple.destination_port);
  return frame(network, tuple.protocol, transport);
}

enum class Sum { whole, partial, none, damaged };

struct Sent {
  Bytes bytes;
  VnetHeader vnet;
};

Sent sent_with(Sum sum, const FlowTuple& tuple, const Bytes& payload) {
  Sent sent{packet_of(tuple, payload), {}};
  const size_t l4 = tuple.family == 4 ? 34 : 54;
  const size_t field = l4 + static_cast<size_t>(checksum_at(tuple.protocol));
  if (sum == Sum::none) set16(sent.bytes, field, 0);
  if (sum == Sum::damaged) sent.bytes.back() ^= 1;
  if (sum != Sum::partial) return sent;
  const size_t octets = sent.bytes.size() - l4;
  Bytes pseudo = covered(tuple.source, tuple.destination, tuple.protocol, Bytes(octets, 0));
  pseudo.resize(pseudo.size() - octets);
  set16(sent.bytes, field, static_cast<uint16_t>(~naive_checksum(pseudo)));
  sent.vnet = claim(static_cast<uint16_t>(l4), static_cast<uint16_t>(checksum_at(tuple.protocol)));
  return sent;
}

template <Side side>
bool leaves_rightly(const ConnectionTable& table, Sum sum, const FlowTuple& from, const FlowTuple& to,
                    const Bytes& payload) {
  const Sent before = sent_with(sum, from, payload);
  Parsed p(before.bytes, before.vnet);
  const Lookup found = table.find(from, kStart + 1);
  EndChange change;
  if (p.reason != DropReason::none || found.side != side || !found.changes_end() || found.translated != to ||
      !table.end_change<side>(found, change))
    return false;
  rewrite_end<1 - at(side)>(p.packet, change);
  if (sum == Sum::partial && (!p.packet.needs_checksum() || !complete_checksum(p.packet))) return false;
  if (sum == Sum::damaged) {
    // The damage is all that is wrong with it: without it, it is the packet that was to leave.
    if (p.checksums_right()) return false;
    p.packet.frame[p.packet.length - 1] ^= 1;
  }
  return p.bytes() == sent_with(sum == Sum::none ? sum : Sum::whole, to, payload).bytes;
}

}  // namespace

TEST_CASE("packets of a service's connections leave as if their checksums were computed from nothing") {
  Words words;
  for (const uint8_t family : std::initializer_list<uint8_t>{4, 6})
    for (const uint8_t protocol : std::initializer_list<uint8_t>{6, 17})
      for (const Sum sum : {Sum::whole, Sum::partial, Sum::none, Sum::damaged}) {
        // Only a datagram over IPv4 may have none.
        if (sum == Sum::none && (protocol == 6 || family == 6)) continue;
        CAPTURE(family);
        CAPTURE(protocol);
        CAPTURE(static_cast<int>(sum));
        Fixture f;
        uint32_t looked_at = 0, unchanged_sums = 0, wrong = 0;
        for (uint32_t round = 0; round < 4000; ++round) {
          FlowTuple original{
              words.address(family), words.address(family), words.port(), words.port(), protocol, family, 0};
          // Now and then to an address whose sum is the same.
          Address to = words.address(family);
          uint16_t port = words.port();
          if (round % 8 == 0) {
            to = original.destination;
            std::swap(to.bytes[13], to.bytes[15]);
            if (round % 16 == 0) port = original.destination_port;
          }
          NewConnection wanted = connection(f, original);
          const TcpSegment syn = segment(2, 1);
          if (protocol == 6) wanted.tcp = &syn;
          wanted.translation = {true, false, port, to};
          const InsertResult made = f.table->insert(wanted, kStart);
          if (made.status != InsertStatus::ok || !made.lookup.changes_end()) continue;
          const FlowTuple translated = made.lookup.translated;
          EndChange change;
          REQUIRE(f.table->end_change<Side::original>(made.lookup, change));
          if (change.addresses == 0 || change.addresses == 0xffff) ++unchanged_sums;
          const Bytes payload = words.bytes(round % 5);
          // A damaged packet needs a payload to have its damage in.
          const Bytes some = payload.empty() ? Bytes{0, 0} : payload;
          if (!leaves_rightly<Side::original>(*f.table, sum, original, translated, some)) ++wrong;
          if (!leaves_rightly<Side::reply>(*f.table, sum, translated.reversed(), original.reversed(), some))
            ++wrong;
          ++looked_at;
          REQUIRE(f.table->kill(made.lookup));
        }
        CHECK(wrong == 0);
        CHECK(looked_at > 3500);
        CHECK(unchanged_sums > 300);
      }
}
