// Fragments: later ones have no ports, so they follow the first of their datagram: same verdict, same
// translation, any order.
//
// The switch does not reassemble. The first fragment must hold the whole transport header (the parser drops
// it otherwise); it is looked up and judged like a whole packet, and its decision is kept here under (source,
// destination, protocol, identification, family, ingress port). A later fragment that comes before the first
// is held, bounded in number, octets and time, in all and per port. Reassembling instead would cost a copy
// and up to 64 KB for each datagram and let one fragment pin that much.
//
// Overlap (RFC 5722, RFC 8200 section 4.5): two fragments that overlap make the whole datagram bad: what is
// held is dropped and so is everything of it that still comes. An exact duplicate (same offset, length and
// last flag) is dropped alone: the first copy counts, so contents cannot be exchanged behind the verdict's
// back. A later fragment that begins inside the transport header would rewrite ports or flags at the receiver
// (RFC 1858, RFC 3128) and is refused even before the first is known.
//
// Threads: a port's packets are one worker's, so each worker has a table of its own and there are no locks.
// No allocation after construction. The safe error: a fragment that cannot be attributed is dropped.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/hash.h"
#include "conntrack/timeouts.h"
#include "packet/flow.h"
#include "packet/tuple_words.h"

namespace weft {

struct FragmentOptions {
  uint32_t max_datagrams = 1024;       // of this table, decided and waiting
  uint32_t max_port_datagrams = 256;   // of one port
  uint32_t max_held = 512;             // fragments waiting for their first, in this table
  uint32_t max_port_held = 128;        // of one port
  uint32_t max_held_octets = 1 << 20;  // memory for held frames, rounded up to whole 2 KB blocks
  uint32_t max_port_held_octets = 256 << 10;
  uint16_t max_ports = 1024;
  uint64_t hold_ns = kSecond;        // how long a later fragment waits for its first
  uint64_t follow_ns = 5 * kSecond;  // how long a decision is kept for those that are missing
  HashKey seed{};
};

struct FragmentKey {
  Address source;
  Address destination;
  uint32_t identification = 0;
  uint8_t protocol = 0;
  uint8_t family = 4;
  PortIndex port = kNoPort;  // that it came in by
};

// Where a fragment lies in its datagram, in octets from the start of the fragmentable part (IPv4 payload).
struct FragmentRange {
  uint32_t offset = 0;  // a multiple of 8
  uint32_t length = 0;
  bool more = false;
};

// What the first fragment met; the later ones meet the same. `drop` is a DropReason's number, 0 = forwarded.
struct FragmentDecision {
  uint8_t drop = 0;
  bool translates = false;
  PortIndex to = kNoPort;  // where it was sent
  PortInstance to_instance = 0;
  uint64_t generation = 0;  // of the policy that judged it; when it is no longer current, drop
  uint32_t egress_rule = kNoRule;
  uint32_t ingress_rule = kNoRule;
  FlowTuple translated;  // of the first fragment as it left
};

enum class FragmentOutcome : uint8_t {
  judge,      // a first fragment: judge it, then decide()
  follow,     // a later fragment whose first is decided: apply `decision`
  held,       // kept; the frame was copied
  duplicate,  // already seen: drop it alone (DropReason fragment_overlap)
  overlap,    // fragment_overlap: the datagram is bad
  malformed,  // fragment_malformed
  limit,      // fragment_limit
};

struct FragmentCounts {
  uint32_t datagrams = 0;
  uint32_t held = 0;
  uint32_t held_octets = 0;  // of frames, not of blocks
};

class FragmentTable {
 public:
  explicit FragmentTable(const FragmentOptions& options);

  struct Result {
    FragmentOutcome outcome;
    uint32_t datagram = 0;                       // with judge: for decide()
    const FragmentDecision* decision = nullptr;  // with follow: valid until the next call
    uint32_t released = 0;  // held fragments dropped with it (overlap); each is a drop of the same reason
    uint32_t lapsed = 0;    // held fragments of an older datagram of this key whose time was over: drops with
                            // fragment_no_first
  };

  // A fragment with offset 0 whose transport header ends `header_octets` after its start.
  Result first(const FragmentKey& key, const FragmentRange& range, uint32_t header_octets, uint64_t now_ns);
  // A fragment with an offset. `frame` is copied if it has to be held.
  Result later(const FragmentKey& key, const FragmentRange& range, std::span<const uint8_t> frame,
               uint64_t now_ns);

  // The first fragment's decision. Calls `release(std::span<uint8_t> frame)` for every held fragment in the
  // order of arrival; the bytes are scratch of this table, may be rewritten in place, and are valid during
  // the call. `release` must not call into this table: parse the frame again and apply the decision given
  // here.
  template <class Release>
  void decide(uint32_t datagram, const FragmentDecision& decision, Release&& release) {
    store_decision(datagram, decision);
    while (take_held(datagram)) release(std::span<uint8_t>(scratch_.data(), scratch_length_));
    settle(datagram);
  }

  // Looks at the next `budget` datagrams and drops those whose time is over. Calls `expired(PortIndex,
  // count)` for each that still held fragments: `count` drops with DropReason fragment_no_first.
  template <class Expired>
  void sweep(uint32_t budget, uint64_t now_ns, Expired&& expired) {
    for (uint32_t i = 0; i < budget; ++i) {
      PortIndex port = kNoPort;
      if (const uint32_t count = sweep_one(now_ns, port)) expired(port, count);
    }
  }
  // Forgets everything of a port that is being released; returns how many fragments were held.
  uint32_t forget_port(PortIndex port);

  [[nodiscard]] FragmentCounts counts() const { return counts_; }
  [[nodiscard]] uint32_t port_datagrams(PortIndex port) const;
  [[nodiscard]] const FragmentOptions& options() const { return options_; }
  [[nodiscard]] const char* check() const;  // first inconsistency, for tests

 private:
  static constexpr uint32_t kNone = 0xffffffff;
  static constexpr uint32_t kBlockOctets = 2048;
  static constexpr uint32_t kMaxRanges = 64;
  static constexpr uint32_t kMaxFrame = 65536 + 64;

  enum class Phase : uint8_t { free, waiting, judging, decided, bad };
  struct Datagram {
    FragmentKey key;
    Phase phase = Phase::free;
    uint8_t range_count = 0;
    uint32_t next = kNone;  // in its bucket, or in the free list
    uint32_t total = 0;     // octets of the datagram, 0 while the last fragment is missing
    uint32_t seen = 0;      // octets so far
    uint32_t header = 0;    // octets of the transport header, 0 before the first fragment
    uint32_t held_head = kNone, held_tail = kNone;
    uint64_t deadline_ns = 0;
    FragmentDecision decision;
    std::array<FragmentRange, kMaxRanges> ranges;  // sorted by offset
  };
  struct Held {
    uint32_t next = kNone;
    uint32_t length = 0;
    uint32_t block = kNone;
  };
  struct PortUse {
    uint32_t datagrams = 0, held = 0, octets = 0;
  };

  uint32_t find(const FragmentKey& key, uint64_t now_ns, uint32_t& lapsed);
  uint32_t create(const FragmentKey& key, uint64_t now_ns);
  FragmentOutcome place(Datagram& datagram, const FragmentRange& range);
  bool hold(Datagram& datagram, std::span<const uint8_t> frame);
  uint32_t drop_held(Datagram& datagram);
  void remove(uint32_t index);
  void store_decision(uint32_t index, const FragmentDecision& decision);
  bool take_held(uint32_t index);
  void settle(uint32_t index);
  uint32_t sweep_one(uint64_t now_ns, PortIndex& port);
  [[nodiscard]] uint32_t bucket_of(const FragmentKey& key) const;
  [[nodiscard]] PortUse& use(PortIndex port) {
    return ports_[port < ports_.size() ? port : ports_.size() - 1];
  }

  FragmentOptions options_;
  std::vector<uint32_t> buckets_;
  std::vector<Datagram> datagrams_;
  std::vector<Held> held_;
  std::vector<uint32_t> block_next_;
  std::unique_ptr<uint8_t[]> blocks_;
  std::vector<uint8_t> scratch_;
  std::vector<PortUse> ports_;  // one more than max_ports: the last is for indexes out of range
  size_t scratch_length_ = 0;
  uint32_t free_datagram_ = kNone, free_held_ = kNone, free_block_ = kNone;
  uint32_t free_blocks_ = 0;
  uint32_t hand_ = 0;
  FragmentCounts counts_;
};

}  // namespace weft
