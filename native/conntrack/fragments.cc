#include "conntrack/fragments.h"

#include <algorithm>
#include <bit>

namespace weft {

namespace {

// The least that a transport header can be: no later fragment may begin inside it.
uint32_t least_header(uint8_t protocol) {
  switch (static_cast<Protocol>(protocol)) {
    case Protocol::tcp:
      return 20;
    case Protocol::sctp:
      return 12;
    case Protocol::udp:
    case Protocol::icmp:
    case Protocol::icmpv6:
      return 8;
  }
  return 0;
}

// What the receiver reassembles by: IPv6 leaves the protocol out (RFC 8200 section 4.5), as a later fragment
// may name an extension header where the first one's was parsed through to the transport.
uint8_t keyed_protocol(const FragmentKey& key) {
  return key.family == 6 ? 0 : key.protocol;
}

bool same_key(const FragmentKey& a, const FragmentKey& b) {
  return a.identification == b.identification && a.port == b.port && keyed_protocol(a) == keyed_protocol(b) &&
         a.family == b.family && a.source == b.source && a.destination == b.destination;
}

// Impossible by itself: empty, an offset or (but for the last) a length that is not in units of 8, or past
// the largest datagram.
bool impossible(const FragmentRange& range) {
  if (range.length == 0 || range.offset % 8 != 0) return true;
  if (range.more && range.length % 8 != 0) return true;
  return uint64_t{range.offset} + range.length > 65535;
}

}  // namespace

FragmentTable::FragmentTable(const FragmentOptions& options)
    : options_(options),
      buckets_(std::bit_ceil(size_t{std::max(options.max_datagrams, 1u)}), kNone),
      datagrams_(options.max_datagrams),
      held_(options.max_held),
      block_next_((size_t{options.max_held_octets} + kBlockOctets - 1) / kBlockOctets),
      blocks_(new uint8_t[block_next_.size() * kBlockOctets + 1]),
      scratch_(kMaxFrame),
      ports_(size_t{options.max_ports} + 1) {
  for (auto i = static_cast<uint32_t>(datagrams_.size()); i-- > 0;) {
    datagrams_[i].next = free_datagram_;
    free_datagram_ = i;
  }
  for (auto i = static_cast<uint32_t>(held_.size()); i-- > 0;) {
    held_[i].next = free_held_;
    free_held_ = i;
  }
  for (auto i = static_cast<uint32_t>(block_next_.size()); i-- > 0;) {
    block_next_[i] = free_block_;
    free_block_ = i;
  }
  free_blocks_ = static_cast<uint32_t>(block_next_.size());
}

uint32_t FragmentTable::bucket_of(const FragmentKey& key) const {
  KeyedHash hash(options_.seed);
  const FlowTuple addresses{key.source, key.destination, key.port, 0, keyed_protocol(key), key.family, 0};
  for (const uint64_t word : to_words(addresses)) hash.add(word);
  hash.add(key.identification);
  return static_cast<uint32_t>(hash.finish() & (buckets_.size() - 1));
}

// A datagram whose time is over is removed on the way; the fragments it held are added to `lapsed`.
uint32_t FragmentTable::find(const FragmentKey& key, uint64_t now_ns, uint32_t& lapsed) {
  for (uint32_t index = buckets_[bucket_of(key)]; index != kNone; index = datagrams_[index].next) {
    Datagram& datagram = datagrams_[index];
    if (!same_key(datagram.key, key)) continue;
    if (datagram.deadline_ns > now_ns) return index;
    lapsed += drop_held(datagram);
    remove(index);
    return kNone;
  }
  return kNone;
}

uint32_t FragmentTable::create(const FragmentKey& key, uint64_t now_ns) {
  PortUse& port = use(key.port);
  if (free_datagram_ == kNone || port.datagrams >= options_.max_port_datagrams) return kNone;
  const uint32_t index = free_datagram_;
  Datagram& datagram = datagrams_[index];
  free_datagram_ = datagram.next;
  const uint32_t bucket = bucket_of(key);
  datagram.key = key;
  datagram.phase = Phase::waiting;
  datagram.range_count = 0;
  datagram.total = datagram.seen = datagram.header = 0;
  datagram.held_head = datagram.held_tail = kNone;
  datagram.deadline_ns = now_ns + options_.hold_ns;
  datagram.next = buckets_[bucket];
  buckets_[bucket] = index;
  ++port.datagrams;
  ++counts_.datagrams;
  return index;
}

void FragmentTable::remove(uint32_t index) {
  Datagram& datagram = datagrams_[index];
  uint32_t* link = &buckets_[bucket_of(datagram.key)];
  while (*link != index) link = &datagrams_[*link].next;
  *link = datagram.next;
  --use(datagram.key.port).datagrams;
  --counts_.datagrams;
  datagram.phase = Phase::free;
  datagram.next = free_datagram_;
  free_datagram_ = index;
}

// Enters a range. `judge` stands for "fits" here.
FragmentOutcome FragmentTable::place(Datagram& datagram, const FragmentRange& range) {
  if (datagram.phase == Phase::bad) return FragmentOutcome::overlap;
  const uint32_t end = range.offset + range.length;
  FragmentRange* const first = datagram.ranges.data();
  FragmentRange* const last = first + datagram.range_count;
  FragmentRange* const at = std::lower_bound(
      first, last, range.offset, [](const FragmentRange& a, uint32_t offset) { return a.offset < offset; });
  if (at != last && at->offset == range.offset && at->length == range.length && at->more == range.more)
    return FragmentOutcome::duplicate;
  if (at != last && at->offset < end) return FragmentOutcome::overlap;
  if (at != first && at[-1].offset + at[-1].length > range.offset) return FragmentOutcome::overlap;
  // The last fragment fixes the datagram's length: nothing beyond it, and no other last one.
  if (datagram.total != 0 && (end > datagram.total || !range.more)) return FragmentOutcome::overlap;
  if (!range.more && at != last) return FragmentOutcome::overlap;
  if (datagram.range_count == kMaxRanges) return FragmentOutcome::limit;
  std::move_backward(at, last, last + 1);
  *at = range;
  ++datagram.range_count;
  datagram.seen += range.length;
  if (!range.more) datagram.total = end;
  return FragmentOutcome::judge;
}

FragmentTable::Result FragmentTable::first(const FragmentKey& key, const FragmentRange& range,
                                           uint32_t header_octets, uint64_t now_ns) {
  if (impossible(range) || range.offset != 0 || range.length < header_octets)
    return {FragmentOutcome::malformed};
  uint32_t lapsed = 0;
  uint32_t index = find(key, now_ns, lapsed);
  if (index == kNone) index = create(key, now_ns);
  if (index == kNone) return {FragmentOutcome::limit, 0, nullptr, 0, lapsed};
  Datagram& datagram = datagrams_[index];
  FragmentOutcome outcome = place(datagram, range);
  if (outcome == FragmentOutcome::overlap) {
    datagram.phase = Phase::bad;
    return {outcome, 0, nullptr, drop_held(datagram), lapsed};
  }
  if (outcome != FragmentOutcome::judge) return {outcome, 0, nullptr, 0, lapsed};
  datagram.header = header_octets;
  datagram.phase = Phase::judging;
  return {FragmentOutcome::judge, index, nullptr, 0, lapsed};
}

FragmentTable::Result FragmentTable::later(const FragmentKey& key, const FragmentRange& range,
                                           std::span<const uint8_t> frame, uint64_t now_ns) {
  if (impossible(range) || range.offset == 0 || frame.size() > kMaxFrame) return {FragmentOutcome::malformed};
  uint32_t lapsed = 0;
  uint32_t index = find(key, now_ns, lapsed);
  if (index == kNone) index = create(key, now_ns);
  if (index == kNone) return {FragmentOutcome::limit, 0, nullptr, 0, lapsed};
  Datagram& datagram = datagrams_[index];
  FragmentOutcome outcome = FragmentOutcome::overlap;
  if (range.offset >= std::max(least_header(key.protocol), datagram.header)) outcome = place(datagram, range);
  if (outcome == FragmentOutcome::overlap) {
    datagram.phase = Phase::bad;
    return {outcome, 0, nullptr, drop_held(datagram), lapsed};
  }
  if (outcome != FragmentOutcome::judge) return {outcome, 0, nullptr, 0, lapsed};
  if (datagram.phase == Phase::decided) {
    const FragmentDecision* decision = &datagram.decision;
    settle(index);  // leaves the decision in place until the record is used again
    return {FragmentOutcome::follow, index, decision, 0, lapsed};
  }
  if (hold(datagram, frame)) return {FragmentOutcome::held, index, nullptr, 0, lapsed};
  // Its range must not stay: the fragment is gone, and a copy of it would be taken for a duplicate.
  FragmentRange* const last = datagram.ranges.data() + datagram.range_count;
  FragmentRange* const at = std::find_if(datagram.ranges.data(), last,
                                         [&](const FragmentRange& r) { return r.offset == range.offset; });
  std::move(at + 1, last, at);
  --datagram.range_count;
  datagram.seen -= range.length;
  if (!range.more) datagram.total = 0;
  if (datagram.range_count == 0 && datagram.phase == Phase::waiting) remove(index);
  return {FragmentOutcome::limit, 0, nullptr, 0, lapsed};
}

bool FragmentTable::hold(Datagram& datagram, std::span<const uint8_t> frame) {
  PortUse& port = use(datagram.key.port);
  const auto length = static_cast<uint32_t>(frame.size());
  const uint32_t blocks = (length + kBlockOctets - 1) / kBlockOctets;
  if (free_held_ == kNone || port.held >= options_.max_port_held) return false;
  if (blocks > free_blocks_ || port.octets + length > options_.max_port_held_octets) return false;
  const uint32_t index = free_held_;
  Held& held = held_[index];
  free_held_ = held.next;
  held = {kNone, length, kNone};
  uint32_t* link = &held.block;
  for (uint32_t from = 0; from < length; from += kBlockOctets) {
    const uint32_t block = free_block_;
    free_block_ = block_next_[block];
    block_next_[block] = kNone;
    *link = block;
    link = &block_next_[block];
    std::memcpy(blocks_.get() + size_t{block} * kBlockOctets, frame.data() + from,
                std::min(kBlockOctets, length - from));
  }
  free_blocks_ -= blocks;
  (datagram.held_tail == kNone ? datagram.held_head : held_[datagram.held_tail].next) = index;
  datagram.held_tail = index;
  ++port.held;
  port.octets += length;
  ++counts_.held;
  counts_.held_octets += length;
  return true;
}

// Moves the oldest held fragment to the scratch buffer; false when there is none.
bool FragmentTable::take_held(uint32_t index) {
  Datagram& datagram = datagrams_[index];
  if (datagram.held_head == kNone) return false;
  const uint32_t taken = datagram.held_head;
  Held& held = held_[taken];
  datagram.held_head = held.next;
  if (datagram.held_head == kNone) datagram.held_tail = kNone;
  uint32_t from = 0;
  for (uint32_t block = held.block; block != kNone;) {
    const uint32_t part = std::min(kBlockOctets, held.length - from);
    std::memcpy(scratch_.data() + from, blocks_.get() + size_t{block} * kBlockOctets, part);
    from += part;
    const uint32_t next = block_next_[block];
    block_next_[block] = free_block_;
    free_block_ = block;
    ++free_blocks_;
    block = next;
  }
  scratch_length_ = held.length;
  PortUse& port = use(datagram.key.port);
  --port.held;
  port.octets -= held.length;
  --counts_.held;
  counts_.held_octets -= held.length;
  held.next = free_held_;
  free_held_ = taken;
  return true;
}

uint32_t FragmentTable::drop_held(Datagram& datagram) {
  const auto index = static_cast<uint32_t>(&datagram - datagrams_.data());
  uint32_t count = 0;
  while (take_held(index)) ++count;
  return count;
}

void FragmentTable::store_decision(uint32_t index, const FragmentDecision& decision) {
  Datagram& datagram = datagrams_[index];
  if (datagram.phase != Phase::judging) return;
  datagram.phase = Phase::decided;
  datagram.decision = decision;
  datagram.deadline_ns += options_.follow_ns;
}

// A datagram of which everything has been seen is forgotten at once, so that its identification may be used
// again.
void FragmentTable::settle(uint32_t index) {
  const Datagram& datagram = datagrams_[index];
  if (datagram.phase == Phase::decided && datagram.total != 0 && datagram.seen == datagram.total)
    remove(index);
}

uint32_t FragmentTable::sweep_one(uint64_t now_ns, PortIndex& port) {
  if (datagrams_.empty()) return 0;
  const uint32_t index = hand_;
  hand_ = hand_ + 1 < datagrams_.size() ? hand_ + 1 : 0;
  Datagram& datagram = datagrams_[index];
  if (datagram.phase == Phase::free || datagram.deadline_ns > now_ns) return 0;
  port = datagram.key.port;
  const uint32_t count = drop_held(datagram);
  remove(index);
  return count;
}

uint32_t FragmentTable::forget_port(PortIndex port) {
  uint32_t count = 0;
  for (uint32_t index = 0; index < datagrams_.size(); ++index) {
    Datagram& datagram = datagrams_[index];
    if (datagram.phase == Phase::free || datagram.key.port != port) continue;
    count += drop_held(datagram);
    remove(index);
  }
  return count;
}

uint32_t FragmentTable::port_datagrams(PortIndex port) const {
  return port < options_.max_ports ? ports_[port].datagrams : 0;
}

const char* FragmentTable::check() const {
  FragmentCounts found;
  for (const uint32_t head : buckets_)
    for (uint32_t index = head; index != kNone; index = datagrams_[index].next) {
      const Datagram& datagram = datagrams_[index];
      if (datagram.phase == Phase::free) return "a free datagram is in the index";
      if (++found.datagrams > datagrams_.size()) return "a chain has a loop";
      uint32_t seen = 0;
      for (size_t i = 0; i < datagram.range_count; ++i) {
        const FragmentRange& range = datagram.ranges[i];
        seen += range.length;
        if (i > 0 && datagram.ranges[i - 1].offset + datagram.ranges[i - 1].length > range.offset)
          return "two ranges of a datagram overlap";
      }
      if (seen != datagram.seen) return "a datagram's octets are miscounted";
      if (datagram.phase == Phase::decided && datagram.held_head != kNone)
        return "a decided datagram holds fragments";
      for (uint32_t held = datagram.held_head; held != kNone; held = held_[held].next) {
        ++found.held;
        found.held_octets += held_[held].length;
      }
    }
  if (found.datagrams != counts_.datagrams) return "datagrams are miscounted";
  if (found.held != counts_.held || found.held_octets != counts_.held_octets)
    return "held fragments are miscounted";
  uint32_t blocks = 0;
  for (uint32_t block = free_block_; block != kNone; block = block_next_[block]) ++blocks;
  if (blocks != free_blocks_) return "free blocks are miscounted";
  return counts_.held != 0 || blocks == block_next_.size() ? nullptr : "a block is lost";
}

}  // namespace weft
