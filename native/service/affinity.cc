#include "service/affinity.h"

#include <bit>
#include <cstring>
#include <mutex>

namespace weft {

AffinityTable::AffinityTable(uint32_t capacity, const HashKey& seed)
    : seed_(seed),
      mask_(std::bit_ceil(capacity < kWays ? size_t{1} : (size_t{capacity} + kWays - 1) / kWays) - 1),
      sets_(std::make_unique<Set[]>(mask_ + 1)) {}

size_t AffinityTable::set_of(const AffinityKey& key) const {
  FlowTuple tuple{key.client, {}, 0, 0, 0, 0, 0};
  std::memcpy(tuple.destination.bytes.data(), &key.service, sizeof key.service);
  return static_cast<size_t>(hash_words(seed_, to_words(tuple))) & mask_;
}

bool AffinityTable::find(const AffinityKey& key, uint64_t now_ns, AffinityTarget& out) const {
  const Set& set = sets_[set_of(key)];
  const std::lock_guard hold(set.lock);
  for (const Slot& slot : set.slots)
    if (slot.deadline_ns > now_ns && slot.key == key) {
      out = slot.target;
      return true;
    }
  return false;
}

void AffinityTable::put(const AffinityKey& key, const AffinityTarget& target, uint64_t now_ns,
                        uint64_t timeout_ns) {
  Set& set = sets_[set_of(key)];
  const std::lock_guard hold(set.lock);
  Slot* chosen =
      &set.slots[0];  // the client's own, or else the one whose time ends first (an empty one's has ended)
  for (Slot& slot : set.slots) {
    if (slot.deadline_ns != 0 && slot.key == key) {
      chosen = &slot;
      break;
    }
    if (slot.deadline_ns < chosen->deadline_ns) chosen = &slot;
  }
  *chosen = {key, target, now_ns + timeout_ns};
}

uint64_t AffinityTable::locks_taken() const {
  uint64_t times = 0;
  for (size_t i = 0; i <= mask_; ++i) times += sets_[i].lock.times();
  return times;
}

uint32_t AffinityTable::used(uint64_t now_ns) const {
  uint32_t count = 0;
  for (size_t i = 0; i <= mask_; ++i) {
    const std::lock_guard hold(sets_[i].lock);
    for (const Slot& slot : sets_[i].slots) count += slot.deadline_ns > now_ns ? 1 : 0;
  }
  return count;
}

}  // namespace weft
