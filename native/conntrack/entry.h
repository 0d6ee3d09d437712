// One connection, as it lies in the memory region that outlives the process.
//
// Four cache lines. A packet of one direction reads its own line (index link, tuple, counters, what it
// acknowledges: written by that direction's worker only), the shared line (sequence word, generation,
// deadline, ports, TCP windows), and the other direction's tuple only if addresses are translated. The cold
// line is for insert, judging, listing and recovery.
//
// A tuple's last word has 16 bits that are none of it. Where only one end is translated (kChangesEnd) they
// hold what that does to checksums, which is the same for every packet of a direction (see kTupleBits).
//
// The sequence word holds, in one 64-bit atomic: sequence (upper 32 bits; odd while the entry is being
// written), flags, state. Every life of an entry has its own sequence, so a change of state is a
// compare-and-exchange that cannot hit the next life of a reused entry. Memory order is argued at the head of
// table.h.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "packet/flow.h"
#include "packet/tuple_words.h"

namespace weft {

// One list for all protocols, so that a state is named without its protocol. Numbers are part of the file
// format: append only.
enum class State : uint8_t {
  free = 0,
  // TCP (RFC 9293), as seen from between the ends
  tcp_syn_sent = 1,           // SYN from the initiator
  tcp_simultaneous_open = 2,  // SYN from both (section 3.5, figure 8)
  tcp_syn_received = 3,       // SYN ACK from the responder
  tcp_established = 4,
  tcp_fin_wait = 5,   // FIN from one end
  tcp_closing = 6,    // FIN from both
  tcp_time_wait = 7,  // both acknowledged
  tcp_closed = 8,     // reset
  // UDP
  udp_unreplied = 16,
  udp_replied = 17,
  udp_stream = 18,
  // SCTP (RFC 9260 section 4)
  sctp_cookie_wait = 32,    // INIT
  sctp_cookie_ready = 33,   // INIT ACK
  sctp_cookie_echoed = 34,  // COOKIE ECHO
  sctp_established = 35,    // COOKIE ACK, or picked up
  sctp_shutdown = 36,       // SHUTDOWN from one end
  sctp_shutdown_ack = 37,   // SHUTDOWN ACK
  sctp_closed = 38,         // SHUTDOWN COMPLETE or ABORT
  // ICMP echo and protocols tracked by address pair
  icmp_unreplied = 48,
  icmp_replied = 49,
  other_unreplied = 50,
  other_replied = 51,
};
const char* state_name(State state);  // "tcp-established"
bool state_fits(State state, uint8_t protocol);

// How readily an entry is given up when the table or its port's quota is full: lowest first, `established`
// never. What is over comes before what has just begun: a busy client's finished connections must not cost it
// the SYN that is on its way.
enum class Rank : uint8_t {
  free = 0,
  finished = 1,
  unreplied = 2,
  closing = 3,
  replied = 4,
  established = 5
};
Rank rank_of(State state);

// Flags of the sequence word.
inline constexpr uint32_t kDestinationTranslated = 1u << 0;
inline constexpr uint32_t kSourceTranslated = 1u << 1;  // address or only port
inline constexpr uint32_t kHairpin = 1u << 2;           // client and backend are the same pod
inline constexpr uint32_t kPickedUp =
    1u << 3;  // the first packet seen was not a beginning: original = that packet's direction
inline constexpr uint32_t kReplied = 1u << 4;    // a packet of the reply direction was seen
inline constexpr uint32_t kRecovered = 1u << 5;  // outlived a restart
// One end of TCP's or UDP's packets is translated and nothing else: its tuples hold what that does to
// checksums. Follows from the flags above and the protocol; a packet then asks one question instead of four.
inline constexpr uint32_t kChangesEnd = 1u << 6;
inline constexpr uint32_t kTranslated = kDestinationTranslated | kSourceTranslated;
inline constexpr uint32_t kAllFlags = (1u << 7) - 1;
constexpr uint32_t changes_end(uint32_t flags, uint8_t protocol) {
  const bool ports =
      protocol == static_cast<uint8_t>(Protocol::tcp) || protocol == static_cast<uint8_t>(Protocol::udp);
  return ports && (flags & kTranslated) == kDestinationTranslated ? kChangesEnd : 0;
}

// Which direction of a connection a packet belongs to; index into every two-element array of an entry.
enum class Side : uint8_t { original = 0, reply = 1 };
constexpr Side other(Side side) {
  return side == Side::original ? Side::reply : Side::original;
}
constexpr size_t at(Side side) {
  return static_cast<size_t>(side);
}

// The sequence word taken apart.
struct Word {
  uint32_t sequence = 0;
  uint32_t flags = 0;
  State state = State::free;

  static constexpr Word of(uint64_t raw) {
    return {static_cast<uint32_t>(raw >> 32), static_cast<uint32_t>(raw >> 8) & 0xffffff,
            static_cast<State>(raw & 0xff)};
  }
  [[nodiscard]] constexpr uint64_t raw() const {
    return static_cast<uint64_t>(sequence) << 32 | static_cast<uint64_t>(flags) << 8 |
           static_cast<uint64_t>(state);
  }
  [[nodiscard]] constexpr bool live() const { return (sequence & 1) == 0 && state != State::free; }
};

// What of a stored tuple's last word is the tuple. Above it, as one's complement sums, by how much
// the initiator's packets change: in its own tuple their addresses, in the other addresses and ports. Replies
// change by the complement.
inline constexpr uint64_t kTupleBits = (uint64_t{1} << 48) - 1;
inline constexpr unsigned kChangeShift = 48;

// What a TCP window needs of one direction (Rooij, "Real stateful TCP packet filtering", 2000; the scheme
// Linux and BSD use). For SCTP `end` holds the verification tag that this direction's packets must carry.
struct alignas(64) Entry {
  struct Half {
    std::atomic<uint64_t>
        link;  // upper half: upper half of the tuple's hash; lower half: next node, or the end mark
    std::array<std::atomic<uint64_t>, 5> tuple;
    std::atomic<uint32_t> packets;       // lower half; the upper one is carried to packets_high
    std::atomic<uint32_t> acknowledges;  // TCP: the highest that this side has acknowledged to the other
    std::atomic<uint64_t> bytes;
  };
  // Lines 0 and 1
  std::array<Half, 2> half;
  // Line 2
  std::atomic<uint64_t> word;
  std::atomic<uint64_t> generation;  // of the policy that judged it; 0: judge before the next packet passes
  std::atomic<uint64_t> deadline_ns;
  std::array<std::atomic<uint32_t>, 2>
      instance;  // [original]: the initiator's port, [reply]: the responder's
  std::array<std::atomic<uint16_t>, 2> port;
  std::array<std::atomic<uint32_t>, 2> end;    // highest sequence number + 1 sent by this side
  std::array<std::atomic<uint32_t>, 2> limit;  // highest end that the other side's window allows this side
  std::array<std::atomic<uint32_t>, 2>
      max_window;                             // largest window this side advertised, in bytes, at least 1
  std::array<std::atomic<uint8_t>, 2> scale;  // window scale (RFC 7323), as this side applies it
  std::array<std::atomic<uint8_t>, 2> seen;   // kSeen… bits of this side
  // Line 3
  std::atomic<uint32_t> egress_rule;
  std::atomic<uint32_t> ingress_rule;
  std::atomic<uint32_t> service;
  std::atomic<uint32_t> free_next;
  std::atomic<uint64_t> created_ns;
  std::atomic<uint64_t> check;  // keyed hash of what never changes in this life; recovery compares it
  std::array<std::atomic<uint32_t>, 2> packets_high;  // of each side's `packets`
  std::atomic<uint64_t> late_syn;  // TCP: the last SYN within the connection, as LateSyn has it; 0: none
  std::array<std::atomic<uint64_t>, 2> unused;

  // Highest that the other side acknowledged to `side`. It lies with the side that says so, whose worker
  // alone writes it, beside the counters that it writes with each packet anyway.
  [[nodiscard]] std::atomic<uint32_t>& acknowledged(Side side) { return half[at(other(side))].acknowledges; }
  [[nodiscard]] const std::atomic<uint32_t>& acknowledged(Side side) const {
    return half[at(other(side))].acknowledges;
  }
};
static_assert(sizeof(Entry) == 256);
static_assert(offsetof(Entry, word) == 128 && offsetof(Entry, egress_rule) == 192);
static_assert(std::atomic<uint64_t>::is_always_lock_free, "an entry is shared between processes over time");

// Bits of Entry::seen.
inline constexpr uint8_t kSeenPacket = 1 << 0;    // windows of this side are known from its own packets
inline constexpr uint8_t kSeenFin = 1 << 1;       // its FIN is at `end`
inline constexpr uint8_t kSeenFinAcked = 1 << 2;  // the other side has acknowledged it
inline constexpr uint8_t kSeenTag = 1 << 3;       // SCTP: `end` holds this direction's verification tag

}  // namespace weft
