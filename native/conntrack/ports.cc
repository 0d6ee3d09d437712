// The port directory of the connection table, and the persisted policy generation.
#include "conntrack/write.h"

namespace weft {

namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;

// 0 means closed.
uint64_t identity_of(const HashKey& key, std::string_view stable_id) {
  const uint64_t identity = hash_text(key, stable_id);
  return identity == 0 ? 1 : identity;
}

}  // namespace

bool ConnectionTable::port_live(PortLife port) const {
  return port.instance != 0 && port.index < options_.max_ports &&
         ports_[port.index].live_instance.load(std::memory_order_seq_cst) == port.instance;
}

bool ConnectionTable::port_open(PortLife port) const {
  return port_live(port) && ports_[port.index].claimed.load(kRelaxed);
}

uint32_t ConnectionTable::port_use(PortIndex index) const {
  return index < options_.max_ports ? ports_[index].used.load(kRelaxed) : 0;
}

uint32_t ConnectionTable::port_quota(PortIndex index) const {
  return index < options_.max_ports ? ports_[index].quota.load(kRelaxed) : 0;
}

Result<PortLife> ConnectionTable::open_port(std::string_view stable_id, uint32_t quota) {
  const uint64_t identity = identity_of(header_->identity_key, stable_id);
  PortIndex index = kNoPort;
  for (uint16_t i = 0; i < options_.max_ports; ++i) {
    const uint64_t held = slots_[i].identity.load(kRelaxed);
    if (held == identity) {
      if (ports_[i].claimed.load(kRelaxed))
        return Error{
            "connections-port-open",
            "Port " + std::string(stable_id) + " is open already; release it before opening it again.", 0};
      index = i;
      break;
    }
    if (held == 0 && index == kNoPort) index = i;
  }
  if (index == kNoPort)
    return Error{"connections-ports",
                 "Port " + std::string(stable_id) + " has no place: all " +
                     std::to_string(options_.max_ports) +
                     " ports are in use; raise the limit of ports and restart the switch.",
                 0};
  PortSlot& slot = slots_[index];
  PortUse& use = ports_[index];
  if (slot.identity.load(kRelaxed) == 0) {
    // Instance first: whoever dies between the two stores leaves a closed slot.
    uint32_t instance = slot.instance.load(kRelaxed) + 1;
    if (instance == 0) instance = 1;
    slot.instance.store(instance, kRelaxed);
    slot.identity.store(identity, std::memory_order_release);
    use.live_instance.store(instance, std::memory_order_seq_cst);
  }
  use.quota.store(quota != 0 ? quota : options_.port_quota, kRelaxed);
  use.claimed.store(true, kRelaxed);
  return PortLife{index, slot.instance.load(kRelaxed)};
}

uint32_t ConnectionTable::release_port(PortLife port) {
  if (!port_live(port)) return 0;
  PortUse& use = ports_[port.index];
  use.live_instance.store(0, std::memory_order_seq_cst);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  use.claimed.store(false, kRelaxed);
  // The slot stays taken during the scan: the index must not have a new life while entries of the old one are
  // being found.
  const uint32_t killed = kill_port_entries(port);
  slots_[port.index].identity.store(0, std::memory_order_release);
  return killed;
}

uint32_t ConnectionTable::release_unclaimed() {
  uint32_t killed = 0;
  for (uint16_t i = 0; i < options_.max_ports; ++i)
    if (!ports_[i].claimed.load(kRelaxed))
      killed += release_port({i, ports_[i].live_instance.load(kRelaxed)});
  return killed;
}

uint32_t ConnectionTable::kill_port_entries(PortLife port) {
  uint32_t killed = 0;
  for (uint32_t index = 0; index < options_.capacity; ++index) {
    // Set before an entry is linked, cleared when it has ended. One that is set after this look is an
    // insert's that looks at the port again.
    if (ranks_[index].load(kRelaxed) == 0) continue;
    const Entry& entry = entries_[index];
    for (;;) {
      const Word word = Word::of(entry.word.load(std::memory_order_acquire));
      if ((word.sequence & 1) != 0)
        break;  // being written: its insert looks at the port again when it is done
      if (!word.live()) break;
      bool names = false;
      for (size_t side = 0; side < 2; ++side)
        names = names || (entry.port[side].load(kRelaxed) == port.index &&
                          entry.instance[side].load(kRelaxed) == port.instance);
      std::atomic_thread_fence(std::memory_order_acquire);
      if (Word::of(entry.word.load(kRelaxed)).sequence != word.sequence) continue;
      if (!names) break;
      if (remove(index, word.sequence)) ++killed;
    }
  }
  killed_.fetch_add(killed, kRelaxed);
  return killed;
}

uint64_t ConnectionTable::generation() const {
  uint64_t latest = 0;
  for (size_t i = 0; i < 2; ++i) {
    const uint64_t value = header_->generation[i].value.load(kRelaxed);
    if (header_->generation[i].check.load(kRelaxed) == header_->generation_check(i, value) && value > latest)
      latest = value;
  }
  return latest;
}

uint64_t ConnectionTable::next_generation() {
  const uint64_t value = generation() + 1;
  // Into the slot that does not hold the latest: whoever dies between the two stores leaves the other slot
  // valid.
  const size_t slot = value % 2;
  header_->generation[slot].value.store(value, kRelaxed);
  header_->generation[slot].check.store(header_->generation_check(slot, value), std::memory_order_release);
  return value;
}

}  // namespace weft
