// Opening a region: formatting it, or taking over what a former process left in it. See the head of table.h
// for what is believed.
#include "conntrack/write.h"

namespace weft {

namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;
constexpr size_t kLine = 64;

constexpr size_t aligned(size_t octets) {
  return (octets + kLine - 1) & ~(kLine - 1);
}

bool family_fits(const FlowTuple& tuple) {
  if (tuple.family == 4) return tuple.source.is_v4() && tuple.destination.is_v4();
  return tuple.family == 6 && !tuple.source.is_v4() && !tuple.destination.is_v4();
}

}  // namespace

uint64_t entry_check(const HashKey& key, const Entry& entry, Word word) {
  KeyedHash hash(key);
  for (const Entry::Half& half : entry.half)
    for (const auto& part : half.tuple) hash.add(part.load(kRelaxed));
  for (size_t i = 0; i < 2; ++i)
    hash.add(static_cast<uint64_t>(entry.port[i].load(kRelaxed)) << 32 | entry.instance[i].load(kRelaxed));
  hash.add(entry.created_ns.load(kRelaxed));
  hash.add(static_cast<uint64_t>(word.sequence) << 32 | (word.flags & kFixedFlags));
  hash.add(entry.service.load(kRelaxed));
  return hash.finish();
}

// One opening of one region.
class Recovery {
 public:
  Recovery(ConnectionTable& table, std::span<std::byte> region, uint64_t now_ns)
      : table_(table), region_(region), layout_(layout_of(table.options_)), now_ns_(now_ns) {
    std::byte* base = region.data();
    table_.header_ = reinterpret_cast<ConnectionTable::FileHeader*>(base);
    table_.slots_ = reinterpret_cast<ConnectionTable::PortSlot*>(base + layout_.slots);
    table_.buckets_ = reinterpret_cast<ConnectionTable::Bucket*>(base + layout_.buckets);
    table_.ranks_ = reinterpret_cast<std::atomic<uint8_t>*>(base + layout_.ranks);
    table_.entries_ = reinterpret_cast<Entry*>(base + layout_.entries);
    table_.bucket_mask_ = layout_.bucket_count - 1;
    table_.ports_ = std::make_unique<ConnectionTable::PortUse[]>(table_.options_.max_ports);
  }

  static RegionLayout layout_of(const TableOptions& options) {
    RegionLayout layout{};
    layout.bucket_count = std::bit_ceil(2 * options.capacity);
    layout.slots = aligned(sizeof(ConnectionTable::FileHeader));
    layout.buckets = layout.slots + aligned(sizeof(ConnectionTable::PortSlot) * options.max_ports);
    layout.ranks = layout.buckets + aligned(sizeof(ConnectionTable::Bucket) * layout.bucket_count);
    layout.entries = layout.ranks + aligned(options.capacity);
    layout.total = layout.entries + sizeof(Entry) * options.capacity;
    return layout;
  }

  // Why what the region holds cannot be used; nothing when it can. `fresh` when there is nothing in it.
  std::optional<Error> examine(bool& fresh) const {
    const ConnectionTable::FileHeader& header = *table_.header_;
    const uint64_t magic = header.magic.load(std::memory_order_acquire);
    fresh = magic == 0;
    if (fresh) return std::nullopt;
    const auto refused = [](const char* code, std::string found) {
      return Error{
          code,
          "The connection state file " + found + "; it was emptied, and every connection is judged anew.", 0};
    };
    if (magic != kConnectionsMagic)
      return refused("connections-damaged", "does not begin as one (wrong magic number)");
    if (header.version != kConnectionsVersion)
      return refused("connections-version", "is of format version " + std::to_string(header.version) +
                                                ", this switch writes version " +
                                                std::to_string(kConnectionsVersion));
    if (header.check != header.expected_check())
      return refused("connections-damaged", "is damaged (the checksum of its header is wrong)");
    if (header.header_octets != sizeof(ConnectionTable::FileHeader) || header.entry_octets != sizeof(Entry) ||
        header.capacity != table_.options_.capacity || header.buckets != layout_.bucket_count ||
        header.max_ports != table_.options_.max_ports || header.region_octets != layout_.total)
      return refused("connections-layout", "was made for " + std::to_string(header.capacity) +
                                               " connections and " + std::to_string(header.max_ports) +
                                               " ports, not for the configured " +
                                               std::to_string(table_.options_.capacity) + " and " +
                                               std::to_string(table_.options_.max_ports));
    bool generation_valid = false;
    for (size_t i = 0; i < 2; ++i)
      generation_valid =
          generation_valid || header.generation[i].check.load(kRelaxed) ==
                                  header.generation_check(i, header.generation[i].value.load(kRelaxed));
    if (!generation_valid)
      return refused("connections-damaged", "is damaged (its policy generation is unreadable)");
    return std::nullopt;
  }

  // `clean`: it is all zeros already.
  void format(bool clean) {
    ConnectionTable::FileHeader& header = *table_.header_;
    header.magic.store(0, std::memory_order_release);
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (!clean) std::memset(region_.data(), 0, layout_.total);
    header.version = kConnectionsVersion;
    header.header_octets = sizeof(ConnectionTable::FileHeader);
    header.entry_octets = sizeof(Entry);
    header.capacity = table_.options_.capacity;
    header.buckets = layout_.bucket_count;
    header.max_ports = table_.options_.max_ports;
    header.region_octets = layout_.total;
    for (uint64_t i = 0; i < 2; ++i) {
      const std::array<uint64_t, 2> purpose{0x6964656e74697479, i};
      header.identity_key[i] = hash_words(table_.options_.seed, purpose);
    }
    header.check = header.expected_check();
    for (size_t i = 0; i < 2; ++i) header.generation[i].check.store(header.generation_check(i, 0), kRelaxed);
    header.magic.store(kConnectionsMagic, std::memory_order_release);
  }

  // `formatted`: by this opening, so that there is no entry to look at.
  void rebuild(bool formatted, uint32_t& recovered, uint32_t& dropped) {
    for (uint32_t bucket = 0; bucket < layout_.bucket_count; ++bucket) {
      table_.buckets_[bucket].head.store(kEndMark | bucket, kRelaxed);
      table_.buckets_[bucket].lock.open();
    }
    rebuild_ports();
    if (formatted) return;
    // Those behind the last one that was ever used stay as they are.
    uint32_t used = table_.options_.capacity;
    while (used > 0 && table_.entries_[used - 1].word.load(kRelaxed) == 0) {
      --used;
      table_.ranks_[used].store(0, kRelaxed);
    }
    table_.untouched_.store(used, kRelaxed);
    for (uint32_t index = used; index-- > 0;) {
      Entry& entry = table_.entries_[index];
      const Word word = Word::of(entry.word.load(kRelaxed));
      if (word.live() && believable(entry, word) && link(index, entry)) {
        entry.generation.store(0, kRelaxed);
        // The times may be shorter now than when it was written.
        const uint64_t latest = now_ns_ + table_.options_.timeouts.longest();
        if (entry.deadline_ns.load(kRelaxed) > latest) entry.deadline_ns.store(latest, kRelaxed);
        entry.word.store(Word{word.sequence, word.flags | kRecovered, word.state}.raw(),
                         std::memory_order_release);
        table_.ranks_[index].store(static_cast<uint8_t>(rank_of(word.state)), kRelaxed);
        table_.ports_[entry.port[0].load(kRelaxed)].used.fetch_add(1, kRelaxed);
        table_.used_.fetch_add(1, kRelaxed);
        ++recovered;
        continue;
      }
      if ((word.sequence & 1) != 0 || word.state != State::free) ++dropped;
      entry.word.store(Word{(word.sequence | 1) + 1, 0, State::free}.raw(), std::memory_order_release);
      table_.ranks_[index].store(0, kRelaxed);
      table_.give_free(index);
    }
  }

 private:
  // Ports of the former process are live, so that their entries are too, but belong to nobody until open_port
  // claims them.
  void rebuild_ports() {
    const uint16_t count = table_.options_.max_ports;
    for (uint16_t i = 0; i < count; ++i) {
      const uint64_t identity = table_.slots_[i].identity.load(kRelaxed);
      const uint32_t instance = table_.slots_[i].instance.load(kRelaxed);
      if (identity == 0) continue;
      bool twice = instance == 0;
      for (uint16_t j = 0; j < i && !twice; ++j) twice = table_.slots_[j].identity.load(kRelaxed) == identity;
      if (twice) {
        table_.slots_[i].identity.store(0, kRelaxed);
        continue;
      }
      table_.ports_[i].live_instance.store(instance, kRelaxed);
      table_.ports_[i].quota.store(table_.options_.port_quota, kRelaxed);
    }
  }

  [[nodiscard]] bool believable(const Entry& entry, Word word) const {
    if ((word.flags & ~kAllFlags) != 0) return false;
    if (entry.check.load(kRelaxed) != entry_check(table_.header_->identity_key, entry, word)) return false;
    std::array<TupleWords, 2> words;
    if (!ConnectionTable::copy_tuples(entry, word.sequence, words)) return false;
    const FlowTuple original = from_words(words[0]);
    const FlowTuple reply = from_words(words[1]);
    if (!family_fits(original) || !family_fits(reply) || original.family != reply.family ||
        original.protocol != reply.protocol)
      return false;
    if ((word.flags & kChangesEnd) != changes_end(word.flags, original.protocol)) return false;
    // What is beside the tuples, too, or packets would leave with wrong checksums.
    const std::array<TupleWords, 2> stored = with_changes(words[0], words[1], word.flags);
    for (size_t side = 0; side < 2; ++side)
      if (entry.half[side].tuple[4].load(kRelaxed) != stored[side][4]) return false;
    if (!state_fits(word.state, original.protocol)) return false;
    if ((word.flags & kTranslated) == 0 && !(reply == original.reversed())) return false;
    const uint64_t created = entry.created_ns.load(kRelaxed);
    const uint64_t deadline = entry.deadline_ns.load(kRelaxed);
    if (created > now_ns_ || deadline <= now_ns_) return false;
    for (size_t side = 0; side < 2; ++side) {
      if (!table_.port_live({entry.port[side].load(kRelaxed), entry.instance[side].load(kRelaxed)}))
        return false;
      if (entry.scale[side].load(kRelaxed) > 14 || entry.max_window[side].load(kRelaxed) == 0) {
        const auto protocol = static_cast<Protocol>(original.protocol);
        if (protocol == Protocol::tcp) return false;
      }
    }
    return true;
  }

  // False when one of its tuples is in the index already: two entries cannot both be right, and the later one
  // is dropped.
  bool link(uint32_t index, Entry& entry) {
    std::array<uint64_t, 2> hashes{};
    for (size_t side = 0; side < 2; ++side) {
      const TupleWords words = ConnectionTable::tuple_of(entry.half[side]);
      hashes[side] = table_.hash(words);
      if (table_.find_locked(words, hashes[side])) return false;
    }
    for (uint32_t side = 0; side < 2; ++side) {
      auto& head = table_.buckets_[table_.bucket_of(hashes[side])].head;
      entry.half[side].link.store((hashes[side] >> 32) << 32 | head.load(kRelaxed), kRelaxed);
      head.store(index << 1 | side, kRelaxed);
    }
    return true;
  }

  ConnectionTable& table_;
  std::span<std::byte> region_;
  RegionLayout layout_;
  uint64_t now_ns_;
};

size_t ConnectionTable::region_size(const TableOptions& options) {
  return Recovery::layout_of(options).total;
}

Result<ConnectionTable::Opened> ConnectionTable::open(std::span<std::byte> region,
                                                      const TableOptions& options, uint64_t now_ns) {
  if (options.capacity == 0 || options.capacity > kMaxCapacity || options.max_ports == 0 ||
      options.max_ports == kNoPort)
    return Error{"connections-options",
                 "The connection table needs 1 to " + std::to_string(kMaxCapacity) +
                     " connections and 1 to 65534 ports, not " + std::to_string(options.capacity) + " and " +
                     std::to_string(options.max_ports) + ".",
                 0};
  const size_t needed = region_size(options);
  if (region.size() < needed || reinterpret_cast<uintptr_t>(region.data()) % kLine != 0)
    return Error{"connections-region",
                 "The connection table needs " + std::to_string(needed) +
                     " octets aligned to 64, the region has " + std::to_string(region.size()) + ".",
                 0};
  Opened opened;
  opened.table.reset(new ConnectionTable());
  opened.table->options_ = options;
  if (options.port_quota == 0) opened.table->options_.port_quota = std::max(1u, options.capacity / 2);
  Recovery recovery(*opened.table, region, now_ns);
  bool fresh = false;
  opened.refused = recovery.examine(fresh);
  const bool format = fresh || opened.refused;
  if (format) recovery.format(fresh && options.zeroed);
  recovery.rebuild(format, opened.recovered, opened.dropped);
  return opened;
}

}  // namespace weft
