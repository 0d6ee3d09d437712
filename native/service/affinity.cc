#include "service/affinity.h"

#include <bit>
#include <thread>

namespace weft {

namespace {

class SetLock {
 public:
  explicit SetLock(std::atomic<uint32_t>& lock) : lock_(lock) {
    for (unsigned tries = 0; lock_.exchange(1, std::memory_order_acquire) != 0; ++tries)
      if (tries >= 64) std::this_thread::yield();
  }
  ~SetLock() { lock_.store(0, std::memory_order_release); }
  SetLock(const SetLock&) = delete;
  SetLock& operator=(const SetLock&) = delete;

 private:
  std::atomic<uint32_t>& lock_;
};

}  // namespace

AffinityTable::AffinityTable(uint32_t capacity, const HashKey& seed)
    : seed_(seed),
      mask_(std::bit_ceil(capacity < kWays ? size_t{1} : (size_t{capacity} + kWays - 1) / kWays) - 1),
      sets_(std::make_unique<Set[]>(mask_ + 1)) {}

size_t AffinityTable::set_of(const AffinityKey& key) const {
  const FlowTuple tuple{key.client, key.service, 0, key.port, key.protocol, 0, 0};
  return static_cast<size_t>(hash_words(seed_, to_words(tuple))) & mask_;
}

bool AffinityTable::find(const AffinityKey& key, uint64_t now_ns, AffinityTarget& out) const {
  const Set& set = sets_[set_of(key)];
  const SetLock lock(set.lock);
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
  const SetLock lock(set.lock);
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

uint32_t AffinityTable::used(uint64_t now_ns) const {
  uint32_t count = 0;
  for (size_t i = 0; i <= mask_; ++i) {
    const SetLock lock(sets_[i].lock);
    for (const Slot& slot : sets_[i].slots) count += slot.deadline_ns > now_ns ? 1 : 0;
  }
  return count;
}

}  // namespace weft
