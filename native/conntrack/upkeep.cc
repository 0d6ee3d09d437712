// Free list, eviction, sweep, counts and the consistency check of the connection table.
#include <algorithm>
#include <vector>

#include "conntrack/write.h"

namespace weft {

namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;
constexpr uint32_t kEvictScan = 4096;        // rank bytes looked at: 64 cache lines
constexpr uint32_t kEvictCandidates = 32;    // of the lowest ranks among them
constexpr uint32_t kEvictOwnCandidates = 8;  // and on the search for one port's own
// On the search for one port's own. Entries lie in clusters: a search that gave up in a gap, or among those
// of others, would refuse what there is room for. Its time counts as that of the port.
constexpr uint32_t kEvictOwnScan = 1 << 18;  // rank bytes
constexpr uint32_t kEvictRead = 2048;        // entries of any port, read

}  // namespace

// A stack with a change count in the upper half of its head, so that a pop which was overtaken by pop, pop,
// push fails (ABA).
std::optional<uint32_t> ConnectionTable::take_free() {
  uint64_t head = free_head_.load(std::memory_order_acquire);
  for (;;) {
    const auto top = static_cast<uint32_t>(head);
    if (top == 0) return take_untouched();
    const uint32_t next = entries_[top - 1].free_next.load(kRelaxed);
    const uint64_t wanted = ((head >> 32) + 1) << 32 | next;
    if (free_head_.compare_exchange_weak(head, wanted, std::memory_order_acq_rel, std::memory_order_acquire))
      return top - 1;
  }
}

// What was used before comes first: a node with few connections stays with few pages of the region.
std::optional<uint32_t> ConnectionTable::take_untouched() {
  uint32_t next = untouched_.load(kRelaxed);
  while (next < options_.capacity)
    if (untouched_.compare_exchange_weak(next, next + 1, kRelaxed)) return next;
  return std::nullopt;
}

void ConnectionTable::give_free(uint32_t index) {
  uint64_t head = free_head_.load(std::memory_order_acquire);
  for (;;) {
    entries_[index].free_next.store(static_cast<uint32_t>(head), kRelaxed);
    const uint64_t wanted = ((head >> 32) + 1) << 32 | (index + 1);
    if (free_head_.compare_exchange_weak(head, wanted, std::memory_order_acq_rel, std::memory_order_acquire))
      return;
  }
}

std::optional<uint32_t> ConnectionTable::take_or_evict(uint64_t now_ns) {
  for (int tries = 0; tries < 4; ++tries) {
    if (const auto index = take_free()) return index;
    if (!evict(now_ns)) return std::nullopt;
  }
  return take_free();
}

// Ends one connection that is not established. What has lapsed goes first, then the lowest rank, and within a
// rank that of the port with the most connections: who floods pays with his own. With `only` it is one that
// this port began: a port at its quota makes room among its own instead of waiting until they time out.
bool ConnectionTable::evict(uint64_t now_ns, PortIndex only) {
  const uint32_t enough = only == kNoPort ? kEvictCandidates : kEvictOwnCandidates;
  uint32_t read = 0;
  const uint32_t capacity = options_.capacity;
  const uint32_t scan = std::min(capacity, only == kNoPort ? kEvictScan : kEvictOwnScan);
  // A hand of its own for each port: where a flooder's connections lie in between, another port's search
  // would begin among them again and again.
  std::atomic<uint32_t>& hand = only == kNoPort ? evict_hand_ : ports_[only % options_.max_ports].evict_hand;
  const uint32_t start = hand.load(kRelaxed) % capacity;
  uint32_t victim = Lookup::kNone;
  uint32_t victim_sequence = 0;
  uint64_t best = ~uint64_t{0};
  uint32_t candidates = 0;
  uint32_t looked = 0;
  for (; looked < scan && candidates < enough; ++looked) {
    const uint32_t index = start + looked < capacity ? start + looked : start + looked - capacity;
    const uint8_t hint = ranks_[index].load(kRelaxed);
    if (hint == 0 || hint >= static_cast<uint8_t>(Rank::established)) continue;
    const Entry& entry = entries_[index];
    if (only != kNoPort) {
      if (++read > kEvictRead) break;
      if (entry.port[0].load(kRelaxed) != only) continue;
    }
    const Word word = Word::of(entry.word.load(std::memory_order_acquire));
    const Rank rank = rank_of(word.state);
    if (!word.live() || rank == Rank::established) continue;
    // Candidates of the first ranks end the search early; of the others there may be better ones ahead.
    if (rank <= Rank::unreplied) ++candidates;
    const bool lapsed = entry.deadline_ns.load(kRelaxed) <= now_ns;
    const uint32_t use = ports_[entry.port[0].load(kRelaxed) % options_.max_ports].used.load(kRelaxed);
    const uint64_t score =
        static_cast<uint64_t>(lapsed ? 0 : static_cast<uint8_t>(rank)) << 32 | (~use & 0xffffffff);
    if (score >= best) continue;
    best = score;
    victim = index;
    victim_sequence = word.sequence;
  }
  hand.store((start + looked) % capacity, kRelaxed);
  if (victim == Lookup::kNone) return false;
  if (remove(victim, victim_sequence)) evicted_.fetch_add(1, kRelaxed);
  return true;  // also when another worker ended it first: there is something to take
}

uint32_t ConnectionTable::sweep(uint32_t budget, uint64_t now_ns) {
  uint32_t removed = 0;
  if (budget > options_.capacity) budget = options_.capacity;
  const uint32_t start = sweep_hand_.fetch_add(budget, kRelaxed);
  for (uint32_t i = 0; i < budget; ++i) {
    const auto index = static_cast<uint32_t>((uint64_t{start} + i) % options_.capacity);
    if (ranks_[index].load(kRelaxed) != 0 && remove_lapsed(index, now_ns)) ++removed;
  }
  return removed;
}

TableCounts ConnectionTable::counts() const {
  TableCounts counts;
  counts.capacity = options_.capacity;
  counts.used = used_.load(kRelaxed);
  counts.inserted = inserted_.load(kRelaxed);
  counts.expired = expired_.load(kRelaxed);
  counts.evicted = evicted_.load(kRelaxed);
  counts.killed = killed_.load(kRelaxed);
  counts.refused_full = refused_full_.load(kRelaxed);
  counts.refused_quota = refused_quota_.load(kRelaxed);
  counts.refused_nat = refused_nat_.load(kRelaxed);
  return counts;
}

uint64_t ConnectionTable::locks_taken() const {
  uint64_t times = 0;
  for (uint32_t bucket = 0; bucket <= bucket_mask_; ++bucket) times += buckets_[bucket].lock.times();
  return times;
}

const char* ConnectionTable::check() const {
  const uint32_t capacity = options_.capacity;
  uint32_t live = 0;
  std::vector<uint32_t> charged(options_.max_ports);
  for (uint32_t index = 0; index < capacity; ++index) {
    const Entry& entry = entries_[index];
    const Word word = Word::of(entry.word.load(kRelaxed));
    if ((word.sequence & 1) != 0) return "an entry at rest is odd";
    if ((ranks_[index].load(kRelaxed) != 0) != word.live())
      return "a rank does not say whether its entry is live";
    if (!word.live()) continue;
    ++live;
    if (ranks_[index].load(kRelaxed) != static_cast<uint8_t>(rank_of(word.state)))
      return "a rank is not its state's";
    if (entry.check.load(kRelaxed) != entry_check(header_->identity_key, entry, word))
      return "an entry's check is wrong";
    std::array<TupleWords, 2> tuples;
    if (!copy_tuples(entry, word.sequence, tuples)) return "an entry changed during the check";
    if (!state_fits(word.state, from_words(tuples[0]).protocol)) return "a state is not of its protocol";
    for (uint32_t side = 0; side < 2; ++side) {
      const auto node = find_locked(tuples[side], hash(tuples[side]));
      if (!node) return "a live tuple is not in the index";
      if (*node != (index << 1 | side)) return "a tuple is in the index twice";
    }
    const PortLife initiator{entry.port[0].load(kRelaxed), entry.instance[0].load(kRelaxed)};
    const PortLife responder{entry.port[1].load(kRelaxed), entry.instance[1].load(kRelaxed)};
    if (!port_live(initiator) || !port_live(responder)) return "an entry outlived its port";
    ++charged[initiator.index];
  }
  if (live != used_.load(kRelaxed)) return "the count of connections is wrong";
  for (uint32_t port = 0; port < options_.max_ports; ++port)
    if (charged[port] != ports_[port].used.load(kRelaxed)) return "a port's count of connections is wrong";
  uint64_t nodes = 0;
  for (uint32_t bucket = 0; bucket <= bucket_mask_; ++bucket) {
    if (buckets_[bucket].lock.taken()) return "a bucket at rest is locked";
    uint32_t node = buckets_[bucket].head.load(kRelaxed);
    for (; (node & kEndMark) == 0; ++nodes) {
      if (nodes > 2 * uint64_t{capacity}) return "a chain has a loop";
      if (node >> 1 >= capacity) return "a link leads out of the table";
      if (!Word::of(entries_[node >> 1].word.load(kRelaxed)).live()) return "a dead entry is in the index";
      node = static_cast<uint32_t>(entries_[node >> 1].half[node & 1].link.load(kRelaxed));
    }
    if (node != (kEndMark | bucket)) return "a chain ends in another bucket's mark";
  }
  if (nodes != 2 * uint64_t{live}) return "the index holds more than the live tuples";
  uint32_t free = 0;
  for (auto top = static_cast<uint32_t>(free_head_.load(kRelaxed)); top != 0;
       top = entries_[top - 1].free_next.load(kRelaxed)) {
    if (Word::of(entries_[top - 1].word.load(kRelaxed)).live()) return "a live entry is in the free list";
    if (top - 1 >= untouched_.load(kRelaxed)) return "an entry that was never used is in the free list";
    if (++free > capacity) return "the free list has a loop";
  }
  free += capacity - untouched_.load(kRelaxed);
  return free + live == capacity ? nullptr : "entries are neither live nor free";
}

}  // namespace weft
