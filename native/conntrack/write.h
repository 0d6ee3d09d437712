// Every store that makes or ends a connection, with a seam between them.
//
// `step()` is called after each store to the region (the windows that tcp_open and sctp_open write count as
// one: the entry is odd). The product passes an empty callable and the compiler removes it; the test passes
// one that copies the region (or kills the process), and so sees each prefix of stores that a kill -9 can
// leave behind. The order is the point of this file: odd sequence first, even sequence last, index links
// (which recovery rebuilds) after that.
#pragma once

#include "conntrack/layout.h"

namespace weft {

struct NoStep {
  void operator()() const {}
};

// Up to two bucket locks, lower bucket first.
class ConnectionTable::BucketLocks {
 public:
  BucketLocks(Bucket* buckets, uint32_t a, uint32_t b)
      : first_(&buckets[a < b ? a : b]), second_(a == b ? nullptr : &buckets[a < b ? b : a]) {
    first_->lock.lock();
    if (second_ != nullptr) second_->lock.lock();
  }
  ~BucketLocks() {
    if (second_ != nullptr) second_->lock.unlock();
    first_->lock.unlock();
  }
  BucketLocks(const BucketLocks&) = delete;
  BucketLocks& operator=(const BucketLocks&) = delete;

 private:
  Bucket* first_;
  Bucket* second_;
};

// The tuples as they are stored: with what translation does to the checksums of each direction's packets
// where it changes one end (see kTupleBits).
inline std::array<TupleWords, 2> with_changes(const TupleWords& original, const TupleWords& reply,
                                              uint32_t flags) {
  std::array<TupleWords, 2> tuples{original, reply};
  if ((flags & kChangesEnd) == 0) return tuples;
  const EndChange change = change_of(from_words(original), from_words(reply).reversed(), 1);
  tuples[0][4] |= uint64_t{change.addresses} << kChangeShift;
  tuples[1][4] |= uint64_t{change.all} << kChangeShift;
  return tuples;
}

// Writes a connection into a free entry that the caller owns and returns its word. The caller holds both
// bucket locks.
template <class Step>
Word write_entry(Entry& entry, const HashKey& key, const NewConnection& wanted, const TupleWords& original,
                 const TupleWords& reply, uint32_t flags, uint64_t now_ns, Step&& step) {
  constexpr auto relaxed = std::memory_order_relaxed;
  const auto store = [&step](auto& field, auto value) {
    field.store(value, relaxed);
    step();
  };
  Word word = Word::of(entry.word.load(relaxed));
  word = {word.sequence + 1, 0, State::free};
  store(entry.word, word.raw());
  std::atomic_thread_fence(std::memory_order_release);  // nothing below is seen before the odd sequence
  flags |= changes_end(flags, wanted.original.protocol);
  const std::array<TupleWords, 2> tuples = with_changes(original, reply, flags);
  for (size_t side = 0; side < 2; ++side) {
    for (size_t i = 0; i < original.size(); ++i) store(entry.half[side].tuple[i], tuples[side][i]);
    store(entry.half[side].packets, uint32_t{side == 0});
    store(entry.packets_high[side], uint32_t{0});
    store(entry.half[side].bytes, side == 0 ? uint64_t{wanted.bytes} : uint64_t{0});
  }
  store(entry.generation, wanted.generation);
  store(entry.instance[0], wanted.initiator.instance);
  store(entry.instance[1], wanted.responder.instance);
  store(entry.port[0], wanted.initiator.index);
  store(entry.port[1], wanted.responder.index);
  store(entry.egress_rule, wanted.egress_rule);
  store(entry.ingress_rule, wanted.ingress_rule);
  store(entry.service, wanted.service);
  store(entry.created_ns, now_ns);
  const auto protocol = static_cast<Protocol>(wanted.original.protocol);
  word = {word.sequence + 1, flags, State::other_unreplied};
  if (protocol == Protocol::tcp) {
    word.state = tcp_open(entry, *wanted.tcp);
  } else if (protocol == Protocol::sctp) {
    word.state = sctp_open(entry, *wanted.sctp);
  } else if (protocol == Protocol::udp) {
    word.state = State::udp_unreplied;
  } else if (protocol == Protocol::icmp || protocol == Protocol::icmpv6) {
    word.state = State::icmp_unreplied;
  }
  step();
  store(entry.check, entry_check(key, entry, word));
  return word;
}

template <class Step>
void ConnectionTable::unlink(uint32_t node, uint64_t node_hash, Step&& step) {
  constexpr auto relaxed = std::memory_order_relaxed;
  Bucket& bucket = buckets_[bucket_of(node_hash)];
  const auto next = static_cast<uint32_t>(entries_[node >> 1].half[node & 1].link.load(relaxed));
  uint32_t walk = bucket.head.load(relaxed);
  if (walk == node) {
    bucket.head.store(next, std::memory_order_release);
    step();
    return;
  }
  while ((walk & kEndMark) == 0) {
    std::atomic<uint64_t>& link = entries_[walk >> 1].half[walk & 1].link;
    const uint64_t value = link.load(relaxed);
    if (static_cast<uint32_t>(value) == node) {
      link.store((value >> 32) << 32 | next, std::memory_order_release);
      step();
      return;
    }
    walk = static_cast<uint32_t>(value);
  }
}

// One attempt to put a connection under its two tuples: the caller owns entry `index`. Fills `word` when
// placed.
template <class Step>
ConnectionTable::Place ConnectionTable::place(uint32_t index, const NewConnection& wanted,
                                              const TupleWords& original, const TupleWords& reply,
                                              uint32_t flags, uint64_t now_ns, Word& word, Step&& step) {
  constexpr auto relaxed = std::memory_order_relaxed;
  const std::array<uint64_t, 2> hashes{hash(original), hash(reply)};
  BucketLocks locks(buckets_, bucket_of(hashes[0]), bucket_of(hashes[1]));
  if (const auto node = find_locked(original, hashes[0])) return {Place::original_taken, *node};
  if (const auto node = find_locked(reply, hashes[1])) return {Place::reply_taken, *node};
  Entry& entry = entries_[index];
  word = write_entry(entry, header_->identity_key, wanted, original, reply, flags, now_ns, step);
  entry.deadline_ns.store(now_ns + timeout_of(word.state, flags), relaxed);
  step();
  entry.word.store(word.raw(), std::memory_order_release);
  step();
  ranks_[index].store(static_cast<uint8_t>(rank_of(word.state)), relaxed);
  step();
  for (uint32_t side = 0; side < 2; ++side) {
    Bucket& bucket = buckets_[bucket_of(hashes[side])];
    entry.half[side].link.store((hashes[side] >> 32) << 32 | bucket.head.load(relaxed), relaxed);
    step();
    bucket.head.store(index << 1 | side, std::memory_order_release);
    step();
  }
  used_.fetch_add(1, relaxed);
  inserted_.fetch_add(1, relaxed);
  return {Place::placed, 0};
}

template <class Step>
InsertResult ConnectionTable::insert_stepping(const NewConnection& wanted, uint64_t now_ns, Step&& step) {
  constexpr auto relaxed = std::memory_order_relaxed;
  uint32_t flags = 0;
  FlowTuple translated = wanted.original;
  if (!prepare(wanted, options_, flags, translated)) return {InsertStatus::invalid, {}};
  if (!port_live(wanted.initiator) || !port_live(wanted.responder)) return {InsertStatus::port_closed, {}};
  if (const Lookup found = find(wanted.original, now_ns); found.hit()) return {InsertStatus::exists, found};

  std::atomic<uint32_t>& used = ports_[wanted.initiator.index].used;
  if (used.fetch_add(1, relaxed) >= ports_[wanted.initiator.index].quota.load(relaxed) &&
      !evict(now_ns, wanted.initiator.index)) {
    used.fetch_sub(1, relaxed);
    refused_quota_.fetch_add(1, relaxed);
    return {InsertStatus::quota, {}};
  }
  const std::optional<uint32_t> taken = take_or_evict(now_ns);
  if (!taken) {
    used.fetch_sub(1, relaxed);
    refused_full_.fetch_add(1, relaxed);
    return {InsertStatus::full, {}};
  }
  const auto give_back = [&](InsertStatus status, const Lookup& lookup = {}) {
    give_free(*taken);
    used.fetch_sub(1, relaxed);
    return InsertResult{status, lookup};
  };

  const TupleWords original = to_words(wanted.original);
  uint16_t tried = 0;     // translated ports so far; 0: the client's own
  uint32_t retries = 16;  // for lapsed entries in the way and for races that were lost
  for (;;) {
    const TupleWords reply = to_words(translated.reversed());
    Word word;
    Place outcome{Place::reply_taken, Lookup::kNone};
    // A tuple that is its own reverse (from an address and port to itself) would be in the index twice.
    if (reply != original) outcome = place(*taken, wanted, original, reply, flags, now_ns, word, step);
    if (outcome.kind == Place::placed) {
      // Argument 4 of table.h: a port released meanwhile is seen here, or its release sees this entry.
      std::atomic_thread_fence(std::memory_order_seq_cst);
      if (!port_live(wanted.initiator) || !port_live(wanted.responder)) {
        remove(*taken, word.sequence);
        return {InsertStatus::port_closed, {}};
      }
      Lookup lookup;
      lookup.entry = *taken;
      lookup.sequence = word.sequence;
      lookup.state = word.state;
      lookup.flags = word.flags;
      lookup.protocol = wanted.original.protocol;
      lookup.generation = wanted.generation;
      lookup.from = wanted.initiator;
      lookup.to = wanted.responder;
      lookup.key = wanted.original;
      lookup.translated = translated;
      return {InsertStatus::ok, lookup};
    }
    if (outcome.node != Lookup::kNone && retries > 0) {
      if (remove_lapsed(outcome.node >> 1, now_ns)) {
        --retries;
        continue;
      }
      if (outcome.kind == Place::original_taken) {
        const Lookup found = find(wanted.original, now_ns);
        if (found.hit()) return give_back(InsertStatus::exists, found);
        --retries;  // it ended between the two looks
        continue;
      }
    }
    if (outcome.kind == Place::original_taken) return give_back(InsertStatus::full);
    if (!next_port(wanted.original, tried, translated)) {
      refused_nat_.fetch_add(1, relaxed);
      return give_back(reply == original ? InsertStatus::invalid : InsertStatus::nat_exhausted);
    }
    flags |= kSourceTranslated;
  }
}

template <class Step>
bool ConnectionTable::remove_stepping(uint32_t index, uint32_t sequence, Step&& step) {
  constexpr auto relaxed = std::memory_order_relaxed;
  Entry& entry = entries_[index];
  std::array<TupleWords, 2> tuples;
  if (!copy_tuples(entry, sequence, tuples)) return false;
  const std::array<uint64_t, 2> hashes{hash(tuples[0]), hash(tuples[1])};
  {
    BucketLocks locks(buckets_, bucket_of(hashes[0]), bucket_of(hashes[1]));
    const Word word = Word::of(entry.word.load(relaxed));
    if (word.sequence != sequence || !word.live()) return false;
    // One store ends the connection; what follows is only index, which recovery does not read.
    entry.word.store(Word{sequence + 2, 0, State::free}.raw(), std::memory_order_release);
    step();
    for (uint32_t side = 0; side < 2; ++side) unlink(index << 1 | side, hashes[side], step);
  }
  ports_[entry.port[0].load(relaxed)].used.fetch_sub(1, relaxed);
  used_.fetch_sub(1, relaxed);
  ranks_[index].store(0, relaxed);
  step();
  give_free(index);
  step();
  return true;
}

}  // namespace weft
