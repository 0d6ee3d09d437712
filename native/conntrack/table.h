// The connection table: every flow that the switch forwards, both directions, with its translation and its
// verdict.
//
// Bounded and allocated in full. Everything lies in one memory region that the caller gives (a tmpfs file
// mapped by `io`; the heap in tests), so that a new process after a crash goes on with the connections of the
// old one:
//
//   file header | port directory | buckets | ranks | entries
//
// What survives and how it is believed. kill -9 stops a thread between two of its stores; stores that retired
// reach memory, later ones do not, so what a successor finds is a prefix of the program's stores. An entry is
// written under an odd sequence and made even by the last store; it carries a keyed check over all that never
// changes in its life. Recovery drops what is odd, whose check or values are implausible, or whose port is
// gone, rebuilds index, ranks, free list and counts from nothing, and sets every generation to 0: an entry
// that survived forwards nothing before its next packet has been judged again. The policy generation has two
// slots, written in turn, each with its own check; the larger valid one counts, so it never goes back.
//
// Memory order (ARM reorders; x86 does not show it). Three kinds of readers, three arguments:
//  1. Index walk without locks. A link is published by a release store to a bucket head or a predecessor's
//  link and read with acquire, so
//     the entry behind it is seen at least as old as when it was linked. Entries are reused, so a walk may be
//     carried into another bucket's chain: every chain ends in a mark that names its bucket, and a walk that
//     ends elsewhere starts again (Linux's hlist_nulls). A missed entry is harmless: insert looks again under
//     the bucket's lock.
//  2. Sequence word. The writer stores odd, then a release fence, then the fields (relaxed), then even with
//  release. The reader loads the
//     word with acquire, the fields relaxed, then an acquire fence and the word again: if both are the same
//     even value, no field came from another life (Boehm, "Can seqlocks get along with programming language
//     memory models?", 2012). A lookup therefore returns copies, never a reference into an entry.
//  3. Changes after insert. State and flags change by compare-and-exchange on the word, which fails if the
//  entry has begun another life.
//     Generation is written under the bucket lock of the original tuple (removal takes it too), after the
//     rules, with release: a verdict can never be written onto another connection. Deadline, windows and
//     counters are relaxed: a lost update costs one packet's refresh. Counters of a direction have one
//     writer, its worker.
//  4. Releasing a port against inserting for it: release stores the port's instance 0, then scans; insert
//  links the entry, then reads the
//     instance; both with sequential consistency between. One of the two sees the other, so no entry outlives
//     its port.
//
// Threads: find, insert, update, judge, kill, sweep and read from any worker at once; open, open_port,
// release_port, release_unclaimed and next_generation from one control thread. Locks: one spin lock a bucket,
// at most two held, lower bucket first; nothing else is taken while they are held. No allocation after
// open().
//
// Time: `now_ns` is CLOCK_MONOTONIC (its zero is the boot, and so survives a restart of the process), never
// 0.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "base/hash.h"
#include "base/result.h"
#include "base/spin_lock.h"
#include "conntrack/entry.h"
#include "conntrack/sctp.h"
#include "conntrack/tcp.h"
#include "conntrack/timeouts.h"
#include "packet/flow.h"
#include "packet/rewrite.h"
#include "packet/tuple_words.h"

namespace weft {

// The form in which ICMP questions and answers are tracked (echo; in IPv4 timestamp, information and mask
// too). A packet's tuple holds the identifier in both ports, so that a request and its reply would be each
// other's reverse and also a request from the other end would look like a reply, and pass without being
// judged. Here a request has the identifier as source port and its complement as destination port; reversed()
// is then the reply and nothing else is, because no number is its own complement (0 in place of the
// complement would fail for identifier 0). Every other packet's tuple is returned as it is. `icmp_type` is
// the ICMP or ICMPv6 type, ignored for other protocols. EVERY tuple given to find() or insert() passes
// through this (an unkeyed echo tuple matches nothing).
FlowTuple connection_key(const FlowTuple& tuple, uint8_t icmp_type);

struct TableOptions {
  uint32_t capacity = 65536;  // connections; 256 bytes each, + 33 for the index
  uint16_t max_ports = 1024;
  uint32_t port_quota =
      0;  // connections that one port may have begun, where open_port names no other; 0: half of capacity
  HashKey seed{};  // random, of this process: keys the index and the choice of translated ports
  uint16_t translation_tries = 64;  // ports tried for a connection whose reply tuple is taken
  Timeouts timeouts;
  // The region holds zeros and nothing else, as a file does that was just made. What is not cleared is not
  // touched: memory is used as connections come.
  bool zeroed = false;
  Address hairpin_v4 =
      Address::v4(0xa9fe0101);  // 169.254.1.1: source of a connection from a pod to itself by a service
  // 100::1, of the prefix whose traffic everybody may discard (RFC 6666), so an answer that comes after its
  // connection's end goes nowhere. Not link-local: a server on a wildcard socket answers such an address from
  // the link-local address of its own (RFC 6724), which no connection knows.
  Address hairpin_v6{{0x01, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}};
};

// A life of a port: entries name it, and die with it.
struct PortLife {
  PortIndex index = kNoPort;
  PortInstance instance = 0;  // never 0 for an open port
  friend bool operator==(const PortLife&, const PortLife&) = default;
};

// How the switch changes the initiator's packets. Chosen by the caller (service), completed by insert
// (ports).
struct Translation {
  bool destination = false;  // to `to`:`to_port`
  bool hairpin = false;      // source becomes the hairpin address of the family
  uint16_t to_port = 0;
  Address to;
};

struct NewConnection {
  FlowTuple original;  // as the initiator sent it, through connection_key()
  Translation translation;
  PortLife initiator;  // charged for the connection
  PortLife responder;
  uint64_t generation = 0;  // of the image that judged it
  RuleIndex egress_rule = kNoRule;
  RuleIndex ingress_rule = kNoRule;
  uint32_t service = kNoService;
  uint32_t bytes = 0;                // of the first packet, for the counters
  const TcpSegment* tcp = nullptr;   // required for TCP
  const SctpPacket* sctp = nullptr;  // required for SCTP
};

// A copy of what forwarding a packet needs, valid for the packet in hand; `entry` and `sequence` name the
// life it was taken from.
struct Found {
  uint32_t entry = kNone;
  uint32_t sequence = 0;
  uint32_t flags = 0;
  Side side = Side::original;  // of the packet looked up
  State state = State::free;
  uint8_t protocol = 0;
  uint64_t generation = 0;  // compare with the image's: different means judge() before anything passes
  PortLife from;            // port that this side's packets come from
  PortLife to;              // port they go to

  static constexpr uint32_t kNone = 0xffffffff;
  [[nodiscard]] bool hit() const { return entry != kNone; }
  [[nodiscard]] bool translates() const { return (flags & kTranslated) != 0; }
  // What end_change() is for.
  [[nodiscard]] bool changes_end() const { return (flags & kChangesEnd) != 0; }
};

// The same with the tuples.
struct Lookup : Found {
  FlowTuple key;         // as looked up
  FlowTuple translated;  // what this packet's tuple must be when it leaves; equals `key` unless translates()

  // What policy judges: from the initiator's own address to the translated destination, whichever side the
  // packet is of.
  [[nodiscard]] FlowTuple judged() const;
};

enum class InsertStatus : uint8_t {
  ok,
  exists,   // another worker was first, or the tuple is a live connection's: `lookup` is that one
  invalid,  // the packet cannot begin a connection (tcp_start, sctp_start): DropReason conntrack_invalid
  full,     // nothing may be evicted: conntrack_full
  quota,    // the initiator's port has its share, and nothing in it may be evicted: conntrack_quota
  nat_exhausted,  // no free port for the translation: nat_port_exhausted
  port_closed,    // one of the ports was released meanwhile: port_closed
};
struct InsertResult {
  InsertStatus status;
  Lookup lookup;  // with ok and exists
};

// A packet of a known connection, for update().
struct Observation {
  uint32_t bytes = 0;                // octets of the IP packet (all of them where it is GSO)
  uint32_t packets = 1;              // segments, where it is GSO
  const TcpSegment* tcp = nullptr;   // required for TCP
  const SctpPacket* sctp = nullptr;  // required for SCTP
};

enum class Update : uint8_t {
  pass,
  invalid,        // conntrack_invalid
  out_of_window,  // tcp_out_of_window
  restart,        // a new connection begins on this tuple: kill(), then treat the packet as a miss
};

struct ConnectionView {
  uint32_t entry;
  FlowTuple original;
  FlowTuple reply;
  State state;
  uint32_t flags;
  uint64_t generation, created_ns, deadline_ns;
  PortLife initiator, responder;
  RuleIndex egress_rule, ingress_rule;
  uint32_t service;
  std::array<uint64_t, 2> packets, bytes;  // by Side
};

struct TableCounts {
  uint32_t capacity = 0;
  uint32_t used = 0;
  uint64_t inserted = 0, expired = 0, evicted = 0, killed = 0;
  uint64_t refused_full = 0, refused_quota = 0, refused_nat = 0;
};

class ConnectionTable {
 public:
  struct Opened {
    std::unique_ptr<ConnectionTable> table;
    uint32_t recovered = 0;  // connections that will be judged again
    uint32_t dropped = 0;    // entries that were half written, implausible, expired or of a port that is gone
    std::optional<Error>
        refused;  // what was found could not be used, and the table is empty: a sentence for the log
  };

  // Octets that a region for these options must have.
  static size_t region_size(const TableOptions& options);
  // Takes over what the region holds, or formats it: when it is all zeros (new), and when what it holds is of
  // another version or layout or damaged (`refused`). The region is 64-byte aligned, at least region_size()
  // long and outlives the table; one live table a region. Error `connections-region`: too small or not
  // aligned; `connections-options`: a capacity or port count of 0 or out of range.
  static Result<Opened> open(std::span<std::byte> region, const TableOptions& options, uint64_t now_ns);

  ConnectionTable(const ConnectionTable&) = delete;
  ConnectionTable& operator=(const ConnectionTable&) = delete;

  // Ports
  // ------------------------------------------------------------------------------------------------------------------------
  // A port's life across restarts is named by a 64-bit identity: a keyed hash (key kept in the region) of the
  // stable id that the agent gives the port (PortSpec.id; a new pod has a new one even if it takes over name
  // and address). The directory in the region maps identity → index and instance; so the table hands out the
  // port indexes. Reopened with the same id after a restart, a port gets its old index and instance back and
  // with them its connections. `quota` 0: the option's. Error `connections-ports`: max_ports are open;
  // `connections-port-open`: this id is open already.
  Result<PortLife> open_port(std::string_view stable_id, uint32_t quota = 0);
  // Ends the port's life; every entry that names it is gone when this returns. Returns how many.
  uint32_t release_port(PortLife port);
  // After the first desired state has been applied: releases the ports of the former process that nobody
  // reopened.
  uint32_t release_unclaimed();
  [[nodiscard]] bool port_open(PortLife port) const;
  [[nodiscard]] uint32_t port_use(PortIndex index) const;  // connections charged to it
  [[nodiscard]] uint32_t port_quota(PortIndex index) const;

  // Policy generation
  // --------------------------------------------------------------------------------------------------------------
  // The next one, made durable before it is returned; 1 is the first. Call once for each image that is
  // swapped in.
  uint64_t next_generation();
  [[nodiscard]] uint64_t generation() const;  // the last one handed out, by this process or an earlier one

  // Packets
  // ------------------------------------------------------------------------------------------------------------------------
  // Lock-free. An entry whose time is over is a miss.
  [[nodiscard]] Lookup find(const FlowTuple& key, uint64_t now_ns) const {
    return find(key, hash_of(key), now_ns);
  }
  // The same with the hash made before, for a caller that has a batch of packets in hand: it calls
  // prefetch_index() for all of them, then prefetch_entry() for all, then find() for each, and so waits for
  // memory about once instead of once a packet. Both only ask the processor for cache lines; what they look
  // at may be old.
  [[nodiscard]] uint64_t hash_of(const FlowTuple& key) const { return hash(to_words(key)); }
  void prefetch_index(uint64_t key_hash) const { __builtin_prefetch(&buckets_[bucket_of(key_hash)]); }
  void prefetch_entry(uint64_t key_hash) const;
  // `key_hash` is hash_of(key); with any other the answer is a miss.
  [[nodiscard]] Lookup find(const FlowTuple& key, uint64_t key_hash, uint64_t now_ns) const {
    Found found;
    if (!find(key, key_hash, now_ns, found)) return {};
    return complete(found, key).value_or(Lookup{});
  }
  // The same without the tuples, into `out`: what nearly every packet needs. Nothing of it but hit() means
  // anything where the answer is false.
  [[nodiscard]] bool find(const FlowTuple& key, uint64_t key_hash, uint64_t now_ns, Found& out) const;
  // Adds the tuples to what was found for `key`. Nothing where the connection is gone meanwhile.
  [[nodiscard]] std::optional<Lookup> complete(const Found& found, const FlowTuple& key) const;
  // What becomes of the packets of `side`, where found.changes_end() and found.side is it. False: the
  // connection is gone meanwhile.
  template <Side side>
  [[nodiscard, gnu::always_inline]] bool end_change(const Found& found, EndChange& change) const {
    constexpr auto relaxed = std::memory_order_relaxed;
    constexpr size_t mine = at(side), theirs = at(other(side));
    const Entry& entry = entries_[found.entry];
    // Of what the initiator sends the destination is another, which is the source of the other direction's
    // tuple; of the replies the source.
    const auto& far = entry.half[theirs].tuple;
    const uint64_t last = far[4].load(relaxed);
    change.address = {far[2 * mine].load(relaxed), far[2 * mine + 1].load(relaxed)};
    change.port = static_cast<uint16_t>(last >> (16 * mine));
    constexpr uint16_t kReverse = side == Side::original ? 0 : 0xffff;
    const uint64_t own = entry.half[mine].tuple[4].load(relaxed);
    change.addresses = static_cast<uint16_t>((mine == 0 ? own : last) >> kChangeShift ^ kReverse);
    change.all = static_cast<uint16_t>((mine == 0 ? last : own) >> kChangeShift ^ kReverse);
    std::atomic_thread_fence(std::memory_order_acquire);
    return Word::of(entry.word.load(relaxed)).sequence == found.sequence;
  }
  // The connection that an ICMP error belongs to. `quoted` is the tuple of the packet inside it, as quoted
  // (echo identifiers in both ports). The error travels against the quoted packet, so `side` is the side of
  // the ERROR's sender: Lookup of the quoted packet's reverse. `translated.reversed()` is what the inner
  // packet must read when the error leaves. Does not extend the connection's life.
  [[nodiscard]] Lookup find_related(const FlowTuple& quoted, uint64_t now_ns) const;
  InsertResult insert(const NewConnection& wanted, uint64_t now_ns);
  // Counts the packet, advances the state, extends the life. Only for a packet that passes (judged at the
  // current generation).
  Update update(const Found& lookup, const Observation& packet, uint64_t now_ns);
  // Records that the connection was allowed again at `generation`. False: the entry is gone meanwhile; look
  // up again.
  bool judge(const Found& lookup, uint64_t generation, RuleIndex egress_rule, RuleIndex ingress_rule);
  // Records that policy no longer allows the connection. It passes nothing, but stays known, with its
  // direction: forgotten, the next segment of the end that answered would be picked up as a connection that
  // this end began, and the forbidden one would go on as the reply to it. Judged again at each packet,
  // because its generation stays old. TCP and SCTP are remembered for Timeouts::denied after each such
  // packet, the others until their time is over.
  void refuse(const Found& lookup, uint64_t now_ns);
  // Ends the connection that was looked up, if it still is that one: its ends moved, or Update::restart.
  bool kill(const Found& lookup);

  // Upkeep
  // -------------------------------------------------------------------------------------------------------------------------
  // Looks at the next `budget` entries and removes those whose time is over; returns how many.
  uint32_t sweep(uint32_t budget, uint64_t now_ns);
  // A consistent copy of entry `index` < capacity, if one is live there. For listings.
  [[nodiscard]] std::optional<ConnectionView> read(uint32_t index) const;
  [[nodiscard]] TableCounts counts() const;
  [[nodiscard]] uint32_t capacity() const { return options_.capacity; }
  // Walks every structure and returns the first inconsistency as a sentence, nullptr when there is none. For
  // tests, while nothing else runs.
  [[nodiscard]] const char* check() const;

  // Times that a lock was taken since the table was opened. For tests, while nothing else runs.
  [[nodiscard]] uint64_t locks_taken() const;

  // insert() and kill() with `step` called after every store to the region, for the test that stops at each
  // of them. See write.h.
  template <class Step>
  InsertResult insert_stepping(const NewConnection& wanted, uint64_t now_ns, Step&& step);
  template <class Step>
  bool remove_stepping(uint32_t index, uint32_t sequence, Step&& step);

 private:
  friend class Recovery;

  struct Bucket {
    std::atomic<uint32_t> head;
    SpinLock lock;
  };
  struct PortSlot {                  // in the region
    std::atomic<uint64_t> identity;  // 0: closed
    std::atomic<uint32_t> instance;  // grows with each life
    std::atomic<uint32_t> unused;
  };
  struct PortUse {                           // of this process
    std::atomic<uint32_t> live_instance{0};  // 0: not open
    std::atomic<uint32_t> used{0};
    std::atomic<uint32_t> quota{0};
    std::atomic<uint32_t> evict_hand{0};  // where the search for one of its own goes on
    std::atomic<bool> claimed{false};     // by this process
  };
  struct FileHeader;
  class BucketLocks;

  ConnectionTable() = default;

  struct Place {
    enum Kind : uint8_t { placed, original_taken, reply_taken } kind;
    uint32_t node;  // that is in the way
  };

  [[nodiscard]] uint64_t hash(const TupleWords& words) const { return hash_tuple(options_.seed, words); }
  [[nodiscard]] uint32_t bucket_of(uint64_t hash) const { return static_cast<uint32_t>(hash) & bucket_mask_; }
  [[nodiscard]] bool port_live(PortLife port) const;
  [[nodiscard]] uint64_t timeout_of(State state, uint32_t flags) const;

  // Reading entries.
  [[nodiscard]] static bool tuple_is(const Entry::Half& half, const TupleWords& words);
  [[nodiscard]] static TupleWords tuple_of(const Entry::Half& half);
  [[nodiscard]] static bool copy_tuples(const Entry& entry, uint32_t sequence,
                                        std::array<TupleWords, 2>& out);
  [[nodiscard]] bool snapshot(uint32_t node, const TupleWords& words, uint64_t now_ns, Found& out) const;
  [[nodiscard]] std::optional<uint32_t> find_locked(const TupleWords& words, uint64_t hash) const;

  // Making and ending connections.
  static bool prepare(const NewConnection& wanted, const TableOptions& options, uint32_t& flags,
                      FlowTuple& translated);
  bool next_port(const FlowTuple& original, uint16_t& tried, FlowTuple& translated) const;
  template <class Step>
  Place place(uint32_t index, const NewConnection& wanted, const TupleWords& original,
              const TupleWords& reply, uint32_t flags, uint64_t now_ns, Word& word, Step&& step);
  template <class Step>
  void unlink(uint32_t node, uint64_t node_hash, Step&& step);
  bool remove(uint32_t index, uint32_t sequence);
  bool remove_lapsed(uint32_t index, uint64_t now_ns);
  std::optional<uint32_t> take_free();
  std::optional<uint32_t> take_untouched();
  void give_free(uint32_t index);
  std::optional<uint32_t> take_or_evict(uint64_t now_ns);
  bool evict(uint64_t now_ns, PortIndex only = kNoPort);
  uint32_t kill_port_entries(PortLife port);

  TableOptions options_;
  uint32_t bucket_mask_ = 0;
  FileHeader* header_ = nullptr;
  PortSlot* slots_ = nullptr;
  Bucket* buckets_ = nullptr;
  std::atomic<uint8_t>* ranks_ =
      nullptr;  // Rank of each entry: a hint for eviction and sweep, one byte so that 64 cost one cache line
  Entry* entries_ = nullptr;
  std::unique_ptr<PortUse[]> ports_;

  alignas(64) std::atomic<uint64_t> free_head_{
      0};  // upper half counts changes (ABA), lower half entry index + 1
  // Entries from here on were never used; they are free, and not in the list. Only grows.
  std::atomic<uint32_t> untouched_{0};
  alignas(64) std::atomic<uint32_t> used_{0};
  std::atomic<uint32_t> sweep_hand_{0};
  std::atomic<uint32_t> evict_hand_{0};
  std::atomic<uint64_t> inserted_{0}, expired_{0}, evicted_{0}, killed_{0};
  std::atomic<uint64_t> refused_full_{0}, refused_quota_{0}, refused_nat_{0};
};

}  // namespace weft
