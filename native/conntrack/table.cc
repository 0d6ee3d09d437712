#include "conntrack/table.h"

#include "conntrack/write.h"

namespace weft {

namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;
constexpr uint64_t kStreamAfter = 2 * kSecond;  // UDP that both ends keep up this long is a stream
constexpr uint16_t kFirstTranslatedPort = 1024;

bool is_icmp(uint8_t protocol) {
  return protocol == static_cast<uint8_t>(Protocol::icmp) ||
         protocol == static_cast<uint8_t>(Protocol::icmpv6);
}

// While a carry is under way it may be 2^32 off: a listing shows that for less than a microsecond in four
// thousand million packets.
uint64_t packets_of(const Entry& entry, size_t side) {
  return uint64_t{entry.packets_high[side].load(kRelaxed)} << 32 | entry.half[side].packets.load(kRelaxed);
}

bool has_ports(uint8_t protocol) {
  return protocol == static_cast<uint8_t>(Protocol::tcp) || protocol == static_cast<uint8_t>(Protocol::udp) ||
         protocol == static_cast<uint8_t>(Protocol::sctp);
}

}  // namespace

FlowTuple connection_key(const FlowTuple& tuple, uint8_t icmp_type) {
  if (!is_icmp(tuple.protocol)) return tuple;
  // ICMP over IPv6 and ICMPv6 over IPv4 are no ICMP: other protocols, by address pair.
  const bool v4 = tuple.family == 4;
  if (v4 != (tuple.protocol == static_cast<uint8_t>(Protocol::icmp))) return tuple;
  FlowTuple key = tuple;
  // Echo, and RFC 792's and 950's timestamp, information and mask: each answer's type is next to its
  // request's.
  const bool request =
      v4 ? icmp_type == 8 || icmp_type == 13 || icmp_type == 15 || icmp_type == 17 : icmp_type == 128;
  const bool reply =
      v4 ? icmp_type == 0 || icmp_type == 14 || icmp_type == 16 || icmp_type == 18 : icmp_type == 129;
  if (request)
    key.destination_port = static_cast<uint16_t>(~key.source_port);
  else if (reply)
    key.source_port = static_cast<uint16_t>(~key.destination_port);
  return key;
}

FlowTuple Lookup::judged() const {
  FlowTuple tuple = side == Side::original ? key : translated.reversed();
  const FlowTuple& far = side == Side::original ? translated : key;
  tuple.destination = side == Side::original ? far.destination : far.source;
  tuple.destination_port = side == Side::original ? far.destination_port : far.source_port;
  if (is_icmp(tuple.protocol)) tuple.source_port = tuple.destination_port = 0;
  return tuple;
}

// Reading
// ----------------------------------------------------------------------------------------------------------------------------

bool ConnectionTable::tuple_is(const Entry::Half& half, const TupleWords& words) {
  uint64_t different = 0;
  for (size_t i = 0; i < 4; ++i) different |= half.tuple[i].load(kRelaxed) ^ words[i];
  return (different | (half.tuple[4].load(kRelaxed) ^ words[4]) << (64 - kChangeShift)) == 0;
}

TupleWords ConnectionTable::tuple_of(const Entry::Half& half) {
  TupleWords words;
  for (size_t i = 0; i < words.size(); ++i) words[i] = half.tuple[i].load(kRelaxed);
  words[4] &= kTupleBits;
  return words;
}

bool ConnectionTable::copy_tuples(const Entry& entry, uint32_t sequence, std::array<TupleWords, 2>& out) {
  const Word word = Word::of(entry.word.load(std::memory_order_acquire));
  if (word.sequence != sequence || !word.live()) return false;
  for (size_t side = 0; side < 2; ++side) out[side] = tuple_of(entry.half[side]);
  std::atomic_thread_fence(std::memory_order_acquire);
  return Word::of(entry.word.load(kRelaxed)).sequence == sequence;
}

bool ConnectionTable::snapshot(uint32_t node, const TupleWords& words, uint64_t now_ns, Found& out) const {
  const Entry& entry = entries_[node >> 1];
  const size_t mine = node & 1;
  const size_t theirs = mine ^ 1;
  const Word word = Word::of(entry.word.load(std::memory_order_acquire));
  if (!word.live() || !tuple_is(entry.half[mine], words)) return false;
  if (entry.deadline_ns.load(kRelaxed) <= now_ns) return false;
  out.entry = node >> 1;
  out.sequence = word.sequence;
  out.side = static_cast<Side>(mine);
  out.state = word.state;
  out.flags = word.flags;
  out.protocol = from_words(words).protocol;
  out.generation = entry.generation.load(std::memory_order_acquire);
  out.from = {entry.port[mine].load(kRelaxed), entry.instance[mine].load(kRelaxed)};
  out.to = {entry.port[theirs].load(kRelaxed), entry.instance[theirs].load(kRelaxed)};
  std::atomic_thread_fence(std::memory_order_acquire);
  return Word::of(entry.word.load(kRelaxed)).sequence == word.sequence;
}

std::optional<Lookup> ConnectionTable::complete(const Found& found, const FlowTuple& key) const {
  Lookup lookup;
  static_cast<Found&>(lookup) = found;
  lookup.key = lookup.translated = key;
  if (!found.translates()) return lookup;
  std::array<TupleWords, 2> tuples;
  if (!copy_tuples(entries_[found.entry], found.sequence, tuples)) return std::nullopt;
  lookup.translated = from_words(tuples[at(other(found.side))]).reversed();
  return lookup;
}

// The first entry of the bucket only: chains are half an entry long when the table is full.
void ConnectionTable::prefetch_entry(uint64_t key_hash) const {
  const uint32_t node = buckets_[bucket_of(key_hash)].head.load(kRelaxed);
  if ((node & kEndMark) != 0) return;
  const Entry& entry = entries_[node >> 1];
  __builtin_prefetch(&entry.half[node & 1], 1);
  __builtin_prefetch(&entry.word, 1);
}

bool ConnectionTable::find(const FlowTuple& key, uint64_t key_hash, uint64_t now_ns, Found& out) const {
  const TupleWords words = to_words(key);
  const uint32_t bucket = bucket_of(key_hash);
  const uint64_t tag = key_hash >> 32;
  // A walk that strays into another chain starts again; a few times, because a miss is safe.
  for (int walks = 0; walks < 4; ++walks) {
    uint32_t node = buckets_[bucket].head.load(std::memory_order_acquire);
    for (int steps = 0; (node & kEndMark) == 0 && steps < 4096; ++steps) {
      const uint64_t link = entries_[node >> 1].half[node & 1].link.load(std::memory_order_acquire);
      if (link >> 32 == tag && snapshot(node, words, now_ns, out)) return true;
      node = static_cast<uint32_t>(link);
    }
    if (node == (kEndMark | bucket)) break;
  }
  out.entry = Found::kNone;
  return false;
}

std::optional<uint32_t> ConnectionTable::find_locked(const TupleWords& words, uint64_t key_hash) const {
  uint32_t node = buckets_[bucket_of(key_hash)].head.load(kRelaxed);
  while ((node & kEndMark) == 0) {
    const Entry::Half& half = entries_[node >> 1].half[node & 1];
    const uint64_t link = half.link.load(kRelaxed);
    if (link >> 32 == key_hash >> 32 && tuple_is(half, words)) return node;
    node = static_cast<uint32_t>(link);
  }
  return std::nullopt;
}

Lookup ConnectionTable::find_related(const FlowTuple& quoted, uint64_t now_ns) const {
  FlowTuple reverse = quoted.reversed();
  if (!is_icmp(quoted.protocol)) return find(reverse, now_ns);
  // What is quoted was a request or a reply; its type is not told, so both are tried.
  FlowTuple of_request = reverse;
  of_request.source_port = static_cast<uint16_t>(~of_request.destination_port);
  if (const Lookup found = find(of_request, now_ns); found.hit()) return found;
  reverse.destination_port = static_cast<uint16_t>(~reverse.source_port);
  return find(reverse, now_ns);
}

std::optional<ConnectionView> ConnectionTable::read(uint32_t index) const {
  if (index >= options_.capacity || ranks_[index].load(kRelaxed) == 0) return std::nullopt;
  const Entry& entry = entries_[index];
  for (int tries = 0; tries < 4; ++tries) {
    const Word word = Word::of(entry.word.load(std::memory_order_acquire));
    std::array<TupleWords, 2> tuples;
    if (!word.live() || !copy_tuples(entry, word.sequence, tuples)) continue;
    ConnectionView view{};
    view.entry = index;
    view.original = from_words(tuples[0]);
    view.reply = from_words(tuples[1]);
    view.state = word.state;
    view.flags = word.flags;
    view.generation = entry.generation.load(std::memory_order_acquire);
    view.created_ns = entry.created_ns.load(kRelaxed);
    view.deadline_ns = entry.deadline_ns.load(kRelaxed);
    view.initiator = {entry.port[0].load(kRelaxed), entry.instance[0].load(kRelaxed)};
    view.responder = {entry.port[1].load(kRelaxed), entry.instance[1].load(kRelaxed)};
    view.egress_rule = entry.egress_rule.load(kRelaxed);
    view.ingress_rule = entry.ingress_rule.load(kRelaxed);
    view.service = entry.service.load(kRelaxed);
    for (size_t i = 0; i < 2; ++i) {
      view.packets[i] = packets_of(entry, i);
      view.bytes[i] = entry.half[i].bytes.load(kRelaxed);
    }
    std::atomic_thread_fence(std::memory_order_acquire);
    if (Word::of(entry.word.load(kRelaxed)).sequence == word.sequence) return view;
  }
  return std::nullopt;
}

// Making and ending
// ------------------------------------------------------------------------------------------------------------------

bool ConnectionTable::prepare(const NewConnection& wanted, const TableOptions& options, uint32_t& flags,
                              FlowTuple& translated) {
  if (wanted.original.protocol == static_cast<uint8_t>(Protocol::tcp)) {
    if (wanted.tcp == nullptr) return false;
    const TcpStart start = tcp_start(*wanted.tcp);
    if (start == TcpStart::refuse) return false;
    if (start == TcpStart::pick_up) flags |= kPickedUp;
  } else if (wanted.original.protocol == static_cast<uint8_t>(Protocol::sctp)) {
    if (wanted.sctp == nullptr) return false;
    const SctpStart start = sctp_start(*wanted.sctp);
    if (start == SctpStart::refuse) return false;
    if (start == SctpStart::pick_up) flags |= kPickedUp;
  }
  if (wanted.translation.destination) {
    flags |= kDestinationTranslated;
    translated.destination = wanted.translation.to;
    translated.destination_port = wanted.translation.to_port;
  }
  if (wanted.translation.hairpin) {
    flags |= kSourceTranslated | kHairpin;
    translated.source = wanted.original.family == 6 ? options.hairpin_v6 : options.hairpin_v4;
  }
  return true;
}

// The next source port to try where the reply tuple is taken; false when the tries are used up. The walk
// starts at a keyed place and goes in odd steps through a range whose size is a power of two, so that no port
// is tried twice.
bool ConnectionTable::next_port(const FlowTuple& original, uint16_t& tried, FlowTuple& translated) const {
  if (!has_ports(original.protocol) || tried >= options_.translation_tries) return false;
  const uint64_t start = hash(to_words(original));
  constexpr uint32_t kRange = 32768;
  const auto stride = static_cast<uint32_t>(start >> 32) | 1;
  const uint32_t offset = (static_cast<uint32_t>(start) + tried * stride) & (kRange - 1);
  static_assert(kFirstTranslatedPort + kRange <= 65536);
  translated.source_port = static_cast<uint16_t>(kFirstTranslatedPort + offset);
  ++tried;
  return true;
}

InsertResult ConnectionTable::insert(const NewConnection& wanted, uint64_t now_ns) {
  return insert_stepping(wanted, now_ns, NoStep{});
}

bool ConnectionTable::remove(uint32_t index, uint32_t sequence) {
  return remove_stepping(index, sequence, NoStep{});
}

bool ConnectionTable::kill(const Found& lookup) {
  if (!lookup.hit() || !remove(lookup.entry, lookup.sequence)) return false;
  killed_.fetch_add(1, kRelaxed);
  return true;
}

bool ConnectionTable::remove_lapsed(uint32_t index, uint64_t now_ns) {
  const Word word = Word::of(entries_[index].word.load(std::memory_order_acquire));
  if (!word.live() || entries_[index].deadline_ns.load(kRelaxed) > now_ns) return false;
  if (!remove(index, word.sequence)) return false;
  expired_.fetch_add(1, kRelaxed);
  return true;
}

// Packets of known connections
// -------------------------------------------------------------------------------------------------------

uint64_t ConnectionTable::timeout_of(State state, uint32_t flags) const {
  const Timeouts& t = options_.timeouts;
  const bool one_sided = (flags & kPickedUp) != 0 && (flags & kReplied) == 0;
  switch (state) {
    case State::free:
      break;
    case State::tcp_syn_sent:
    case State::tcp_simultaneous_open:
      return t.tcp_syn_sent;
    case State::tcp_syn_received:
      return t.tcp_syn_received;
    case State::tcp_established:
      return one_sided ? t.tcp_picked_up : t.tcp_established;
    case State::tcp_fin_wait:
      return t.tcp_fin_wait;
    case State::tcp_closing:
      return t.tcp_closing;
    case State::tcp_time_wait:
      return t.tcp_time_wait;
    case State::tcp_closed:
      return t.tcp_closed;
    case State::udp_unreplied:
      return t.udp_unreplied;
    case State::udp_replied:
      return t.udp_replied;
    case State::udp_stream:
      return t.udp_stream;
    case State::sctp_cookie_wait:
    case State::sctp_cookie_ready:
    case State::sctp_cookie_echoed:
      return t.sctp_handshake;
    case State::sctp_established:
      return one_sided ? t.sctp_picked_up : t.sctp_established;
    case State::sctp_shutdown:
    case State::sctp_shutdown_ack:
      return t.sctp_shutdown;
    case State::sctp_closed:
      return t.sctp_closed;
    case State::icmp_unreplied:
    case State::icmp_replied:
      return t.icmp;
    case State::other_unreplied:
      return t.other_unreplied;
    case State::other_replied:
      return t.other_replied;
  }
  return 0;
}

Update ConnectionTable::update(const Found& lookup, const Observation& packet, uint64_t now_ns) {
  if (!lookup.hit()) return Update::restart;
  Entry& entry = entries_[lookup.entry];
  const size_t mine = at(lookup.side);
  bool extend = true;
  State state = State::free;
  uint32_t flags = 0;
  uint64_t raw = entry.word.load(std::memory_order_acquire);
  const uint8_t protocol = lookup.protocol;
  for (int lost = 0;;) {
    const Word word = Word::of(raw);
    if (word.sequence != lookup.sequence || !word.live()) return Update::restart;
    state = word.state;
    flags = lookup.side == Side::reply ? word.flags | kReplied : word.flags;
    if (protocol == static_cast<uint8_t>(Protocol::tcp)) {
      if (packet.tcp == nullptr) return Update::invalid;
      const TcpStep step = tcp_advance(entry, state, word.flags, lookup.side, *packet.tcp);
      if (step.verdict == TcpVerdict::restart) return Update::restart;
      if (step.verdict == TcpVerdict::out_of_window) return Update::out_of_window;
      state = step.state;
      extend = step.refresh;
    } else if (protocol == static_cast<uint8_t>(Protocol::udp)) {
      if (state == State::udp_unreplied && lookup.side == Side::reply)
        state = State::udp_replied;
      else if (state == State::udp_replied && now_ns >= entry.created_ns.load(kRelaxed) + kStreamAfter)
        state = State::udp_stream;
    } else if (protocol == static_cast<uint8_t>(Protocol::sctp)) {
      if (packet.sctp == nullptr) return Update::invalid;
      const SctpStep step = sctp_advance(entry, state, lookup.side, *packet.sctp);
      if (step.verdict == SctpVerdict::restart) return Update::restart;
      if (step.verdict == SctpVerdict::invalid) return Update::invalid;
      state = step.state;
      extend = step.refresh;
    } else if (lookup.side == Side::reply) {
      state = is_icmp(protocol) ? State::icmp_replied : State::other_replied;
    }
    if (state == word.state && flags == word.flags) break;
    const Word next{word.sequence, flags, state};
    if (entry.word.compare_exchange_strong(raw, next.raw(), std::memory_order_acq_rel,
                                           std::memory_order_acquire)) {
      const auto rank = static_cast<uint8_t>(rank_of(state));
      if (rank != static_cast<uint8_t>(rank_of(word.state))) ranks_[lookup.entry].store(rank, kRelaxed);
      break;
    }
    // The other direction's worker was first. Advancing again is harmless: windows only grow, FIN bits are
    // only set.
    if (++lost == 8) break;
  }
  // One writer a direction: load and store instead of an atomic addition.
  Entry::Half& half = entry.half[mine];
  const uint32_t packets = half.packets.load(kRelaxed) + packet.packets;
  if (packets < packet.packets) [[unlikely]]
    entry.packets_high[mine].store(entry.packets_high[mine].load(kRelaxed) + 1, kRelaxed);
  half.packets.store(packets, kRelaxed);
  half.bytes.store(half.bytes.load(kRelaxed) + packet.bytes, kRelaxed);
  if (extend) {
    // Written only when it moves by more than 1/128 of the timeout (or comes nearer), so that the two workers
    // do not take the line from each other with each packet. Deadlines are early by less than one percent for
    // that.
    const uint64_t timeout = timeout_of(state, flags);
    const uint64_t deadline = now_ns + timeout;
    const uint64_t old = entry.deadline_ns.load(kRelaxed);
    if (deadline - old > timeout >> 7) entry.deadline_ns.store(deadline, kRelaxed);
  }
  return Update::pass;
}

void ConnectionTable::refuse(const Found& lookup, uint64_t now_ns) {
  if (!lookup.hit() || !has_ports(lookup.protocol) || lookup.protocol == static_cast<uint8_t>(Protocol::udp))
    return;
  Entry& entry = entries_[lookup.entry];
  // As in update(): where the entry begins another life in between, that one's first packet sets its own.
  if (Word::of(entry.word.load(std::memory_order_acquire)).sequence != lookup.sequence) return;
  entry.deadline_ns.store(now_ns + options_.timeouts.denied, kRelaxed);
}

bool ConnectionTable::judge(const Found& lookup, uint64_t generation, RuleIndex egress_rule,
                            RuleIndex ingress_rule) {
  if (!lookup.hit()) return false;
  Entry& entry = entries_[lookup.entry];
  std::array<TupleWords, 2> tuples;
  if (!copy_tuples(entry, lookup.sequence, tuples)) return false;
  const uint32_t bucket = bucket_of(hash(tuples[0]));
  BucketLocks locks(buckets_, bucket, bucket);
  const Word word = Word::of(entry.word.load(kRelaxed));
  if (word.sequence != lookup.sequence || !word.live()) return false;
  entry.egress_rule.store(egress_rule, kRelaxed);
  entry.ingress_rule.store(ingress_rule, kRelaxed);
  entry.generation.store(generation, std::memory_order_release);
  return true;
}

}  // namespace weft
