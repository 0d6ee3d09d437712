// Merging datagrams and taking them apart again. The oracle of the round trip is the Segmenter; that of every
// frame's checksums is packet_frames.h.
#include <doctest/doctest.h>

#include <memory>
#include <random>

#include "packet/checksum.h"
#include "packet/merge.h"
#include "packet/segment.h"
#include "packet_frames.h"

namespace weft::test {
namespace {

using Change = void (*)(Bytes&);

Bytes datagram(const Network& network, const Bytes& payload) {
  return frame(network, 17, udp(payload));
}
VnetHeader partial(bool v4) {
  return claim(v4 ? 34 : 54, 6);
}
// The field of a partial checksum holds the pseudo-header's sum.
Bytes with_partial(Bytes bytes, const Network& network) {
  const bool is_v4 = network.source.is_v4();
  const size_t l4 = is_v4 ? 34 : 54;
  const Bytes transport = part(bytes, l4, bytes.size() - l4);
  const Bytes whole = covered(network.source, network.destination, 17, transport);
  Bytes pseudo = part(whole, 0, whole.size() - transport.size());
  set16(bytes, l4 + 6, static_cast<uint16_t>(~naive_checksum(pseudo)));
  return bytes;
}

std::vector<Bytes> segments_of(const Packet& packet) {
  Bytes buffer(kMaxMergedLength);
  std::vector<Bytes> out;
  CHECK(segment(packet, buffer,
                [&](const uint8_t* data, uint32_t length) { out.emplace_back(data, data + length); }));
  return out;
}

// Whether two datagrams merge, and if, that they come apart as they were.
bool merges(const Bytes& first, const Bytes& second, const VnetHeader& a = {}, const VnetHeader& b = {}) {
  const Parsed x(first, a), y(second, b);
  REQUIRE(x.reason == DropReason::none);
  REQUIRE(y.reason == DropReason::none);
  if (!mergeable(x.packet) || !mergeable(y.packet) || !same_flow(x.packet, y.packet) ||
      !Merge::fits(x.packet, y.packet))
    return false;
  Bytes buffer(kMaxMergedLength);
  Merge merge;
  merge.begin(x.packet, buffer);
  CHECK(merge.fits(y.packet));
  merge.add(y.packet);
  const Packet& merged = merge.finish();
  CHECK_FALSE(merge.fits(y.packet));
  // What a receiver would read is what the switch itself would take.
  const Parsed again(Bytes(merged.frame, merged.frame + merged.length), merged.vnet);
  CHECK(name(again.reason) == "none");
  CHECK(again.packet.vnet == merged.vnet);
  const std::vector<Bytes> apart = segments_of(merged);
  REQUIRE(apart.size() == 2);
  CHECK(apart[0] == first);
  CHECK(apart[1] == second);
  return true;
}

TEST_CASE("datagrams merge where all headers are equal, and only there") {
  struct Row {
    const char* what;
    bool expected;
    Network first, second;
    size_t first_length, second_length;
  };
  Network v4_plain;
  Network not_df = v4_plain;
  not_df.fragment = 0;
  Network counted_id = not_df;
  counted_id.id = static_cast<uint16_t>(not_df.id + 1);
  Network gap_id = not_df;
  gap_id.id = static_cast<uint16_t>(not_df.id + 2);
  Network wrapped = not_df, before = not_df;
  before.id = 0xffff;
  wrapped.id = 0;
  Network ttl = v4_plain;
  ttl.ttl = 63;
  Network other_source = v4_plain;
  other_source.source = v4(10, 42, 0, 6);
  Network other_destination = v4_plain;
  other_destination.destination = v4(10, 42, 0, 6);
  Network options = v4_plain;
  options.options = {1, 1, 1, 0};
  Network evil = v4_plain;
  evil.fragment = 0xc000;
  Network ttl6 = network6();
  ttl6.ttl = 63;
  Network other6 = network6();
  other6.source = v6(6);
  Network extension = network6();
  extension.next = 60;
  extension.extensions = {17, 0, 1, 4, 0, 0, 0, 0};
  // With the second's identification as its frames come out of the segmenter: one more than the first's.
  Network v4_next = v4_plain;
  v4_next.id = static_cast<uint16_t>(v4_plain.id + 1);
  const std::vector<Row> rows = {
      {"equal", true, v4_plain, v4_next, 100, 100},
      {"a shorter last one", true, v4_plain, v4_next, 100, 1},
      {"odd lengths", true, v4_plain, v4_next, 101, 7},
      {"eight octets each", true, v4_plain, v4_next, 8, 8},
      {"less than a segment may have", false, v4_plain, v4_next, 7, 7},
      {"a longer one", false, v4_plain, v4_next, 100, 101},
      {"an empty first", false, v4_plain, v4_next, 0, 0},
      {"an empty second", false, v4_plain, v4_next, 100, 0},
      {"identification counts, without DF", true, not_df, counted_id, 100, 100},
      {"identification counts past its end", true, before, wrapped, 100, 100},
      {"identification equal, without DF", false, not_df, not_df, 100, 100},
      {"identification with a gap, without DF", false, not_df, gap_id, 100, 100},
      {"only one with DF", false, v4_plain, counted_id, 100, 100},
      {"the reserved flag", false, v4_plain, evil, 100, 100},
      {"TTL", false, v4_plain, ttl, 100, 100},
      {"source", false, v4_plain, other_source, 100, 100},
      {"destination", false, v4_plain, other_destination, 100, 100},
      {"options", false, options, options, 100, 100},
      {"IPv6", true, network6(), network6(), 100, 100},
      {"IPv6, a shorter last one", true, network6(), network6(), 1400, 33},
      {"IPv6 hop limit", false, network6(), ttl6, 100, 100},
      {"IPv6 source", false, network6(), other6, 100, 100},
      {"IPv6 extension header", false, extension, extension, 100, 100},
      {"another family", false, v4_plain, network6(), 100, 100},
  };
  for (const Row& row : rows) {
    CAPTURE(row.what);
    CHECK(merges(datagram(row.first, counted(row.first_length)),
                 datagram(row.second, counted(row.second_length, 9))) == row.expected);
  }
}

TEST_CASE("what is not in the addresses keeps datagrams apart, too") {
  Network second;
  second.id = static_cast<uint16_t>(second.id + 1);
  const Bytes x = datagram(Network{}, counted(50)), y = datagram(second, counted(50));
  const Bytes x6 = datagram(network6(), counted(50));
  CHECK(merges(x, y));
  CHECK_FALSE(merges(x, changed_ip(y, 1, 0x20)));  // TOS
  CHECK_FALSE(merges(x, changed(y, 35, 1)));       // source port
  CHECK_FALSE(merges(x, changed(y, 37, 54)));      // destination port
  CHECK_FALSE(merges(x6, changed(x6, 14, 0x61)));  // traffic class
  CHECK_FALSE(merges(x6, changed(x6, 17, 1)));     // flow label
  CHECK_FALSE(merges(frame(Network{}, 6, tcp(0x10, counted(50))), frame(second, 6, tcp(0x10, counted(50)))));
  SUBCASE("no checksum") {
    Bytes a = x, b = y;
    set16(a, 40, 0);
    set16(b, 40, 0);
    CHECK_FALSE(merges(a, b));
    CHECK_FALSE(merges(x, b));
    CHECK_FALSE(merges(a, y));
  }
  SUBCASE("octets behind the datagram") {
    Bytes transport = with_checksum(kClient4, kServer4, 17, udp(counted(50)));
    append(transport, {0, 0});
    Bytes padded = ethernet(0x0800);
    append(padded, ip_packet(second, 17, transport));
    CHECK_FALSE(merges(x, padded));
  }
  SUBCASE("segments already") {
    CHECK_FALSE(merges(with_partial(x, {}), y, claim(34, 6, VnetHeader::kGsoUdp, 10)));
    CHECK_FALSE(merges(x, with_partial(y, second), {}, claim(34, 6, VnetHeader::kGsoUdp, 10)));
  }
  SUBCASE("fragments") {
    Network piece;
    piece.fragment = 0x2000;
    CHECK_FALSE(merges(datagram(piece, counted(48)), datagram(piece, counted(48))));
  }
}

TEST_CASE("a partial checksum and a complete one merge, and both come out complete") {
  for (const bool is_v4 : {true, false}) {
    CAPTURE(is_v4);
    const Network first = is_v4 ? Network{} : network6();
    Network second = first;
    second.id = static_cast<uint16_t>(first.id + 1);
    const Bytes whole = datagram(second, counted(70, 3));
    const Parsed x(with_partial(datagram(first, counted(70)), first), partial(is_v4));
    const Parsed y(whole);
    REQUIRE(Merge::fits(x.packet, y.packet));
    Bytes buffer(kMaxMergedLength);
    Merge merge;
    merge.begin(x.packet, buffer);
    merge.add(y.packet);
    const std::vector<Bytes> apart = segments_of(merge.finish());
    REQUIRE(apart.size() == 2);
    CHECK(apart[0] == datagram(first, counted(70)));
    CHECK(apart[1] == whole);
  }
}

TEST_CASE("a merged frame ends at 64 datagrams, at 64 KB, and after a shorter one") {
  struct Row {
    size_t payload;
    uint32_t most;
  };
  for (const bool is_v4 : {true, false})
    for (const Row& row : {Row{8, 64}, Row{1022, 64}, Row{1472, 44}, Row{8000, 8}, Row{32000, 2}}) {
      CAPTURE(is_v4);
      CAPTURE(row.payload);
      Network network = is_v4 ? Network{} : network6();
      network.fragment = 0;
      const Parsed first(datagram(network, counted(row.payload)));
      Bytes buffer(kMaxMergedLength);
      Merge merge;
      merge.begin(first.packet, buffer);
      while (true) {
        ++network.id;
        const Parsed next(datagram(network, counted(row.payload)));
        if (!merge.fits(next.packet)) break;
        merge.add(next.packet);
        REQUIRE(merge.count() < 100);
      }
      CHECK(merge.count() == row.most);
      CHECK(merge.packet().length <= kMaxMergedLength);
    }
  const Parsed first(datagram(network6(), counted(50)));
  const Parsed shorter(datagram(network6(), counted(49)));
  Bytes buffer(kMaxMergedLength);
  Merge merge;
  merge.begin(first.packet, buffer);
  merge.add(shorter.packet);
  CHECK_FALSE(merge.fits(shorter.packet));
  CHECK_FALSE(merge.fits(first.packet));
}

TEST_CASE("whatever merges comes apart into the same datagrams in the same order") {
  std::mt19937 random(7);
  const auto pick = [&](uint32_t below) { return static_cast<uint32_t>(random() % below); };
  uint32_t merged_frames = 0, largest = 0;
  for (int round = 0; round < 300; ++round) {
    CAPTURE(round);
    const bool is_v4 = pick(2) == 0;
    const uint32_t usual = 1 + pick(pick(4) == 0 ? 1471 : 80);
    Network network = is_v4 ? Network{} : network6();
    if (pick(2) == 0) network.fragment = 0;
    std::vector<Bytes> sent, received;
    Bytes buffer(kMaxMergedLength);
    Merge merge;
    std::unique_ptr<Parsed> single;
    bool open = false;
    const auto close = [&] {
      if (open) {
        const Packet& frame = merge.finish();
        largest = std::max(largest, merge.count());
        ++merged_frames;
        for (Bytes& bytes : segments_of(frame)) received.push_back(std::move(bytes));
      } else if (single != nullptr) {
        received.push_back(single->bytes());
      }
      open = false;
      single.reset();
    };
    for (uint32_t i = pick(90); i > 0; --i) {
      const uint32_t size = pick(40) == 0 ? pick(usual + 20) : usual;
      if (pick(50) == 0) network.ttl = static_cast<uint8_t>(60 + pick(3));
      network.id = static_cast<uint16_t>(network.id + (pick(40) == 0 ? 7 : 1));
      const Bytes bytes = datagram(network, counted(size, static_cast<uint8_t>(i)));
      sent.push_back(bytes);
      auto next = std::make_unique<Parsed>(bytes);
      REQUIRE(next->reason == DropReason::none);
      if (!mergeable(next->packet)) {
        close();
        received.push_back(next->bytes());
      } else if (open && merge.fits(next->packet)) {
        merge.add(next->packet);
      } else if (!open && single != nullptr && Merge::fits(single->packet, next->packet)) {
        merge.begin(single->packet, buffer);
        merge.add(next->packet);
        open = true;
      } else {
        close();
        single = std::move(next);
      }
    }
    close();
    // With DF the identification means nothing, and the segmenter counts it up.
    if (is_v4 && network.fragment != 0)
      for (std::vector<Bytes>* list : {&sent, &received})
        for (Bytes& bytes : *list) {
          set16(bytes, 18, 0);
          set16(bytes, 24, 0);
        }
    REQUIRE(sent.size() == received.size());
    for (size_t i = 0; i < sent.size(); ++i) CHECK(sent[i] == received[i]);
  }
  CHECK(merged_frames > 300);
  CHECK(largest == 64);
}

}  // namespace
}  // namespace weft::test
