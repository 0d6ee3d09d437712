// Session affinity ClientIP: which backend a client's last connection to a service went to.
//
// Bounded and allocated in full: sets of eight, the oldest of a full set gives way (the client is then
// balanced anew, which is what a lapsed affinity means too). Keyed by the service port's key, which is the
// same for all its addresses, as kube-proxy has it, and in every image; the time starts again with each
// connection, as kube-proxy's does. Not kept over a restart of the switch. Threads: any; one spin lock a set,
// held for at most eight comparisons, once for each new connection.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "base/hash.h"
#include "base/spin_lock.h"
#include "packet/flow.h"
#include "packet/tuple_words.h"

namespace weft {

struct AffinityKey {
  Address client;
  uint64_t service = 0;  // Service::key
  friend bool operator==(const AffinityKey&, const AffinityKey&) = default;
};

struct AffinityTarget {
  Address address;
  uint16_t port = 0;
};

class AffinityTable {
 public:
  // `capacity` clients, rounded up to a power of two of at least eight; 64 octets each.
  AffinityTable(uint32_t capacity, const HashKey& seed);

  // The backend of the client's last connection, if that was less than its timeout ago.
  bool find(const AffinityKey& key, uint64_t now_ns, AffinityTarget& out) const;
  void put(const AffinityKey& key, const AffinityTarget& target, uint64_t now_ns, uint64_t timeout_ns);
  [[nodiscard]] uint32_t capacity() const { return static_cast<uint32_t>((mask_ + 1) * kWays); }
  // Times that a lock was taken; for tests.
  [[nodiscard]] uint64_t locks_taken() const;
  [[nodiscard]] uint32_t used(uint64_t now_ns) const;  // not lapsed; walks the table

 private:
  static constexpr size_t kWays = 8;
  struct Slot {
    AffinityKey key;
    AffinityTarget target;
    uint64_t deadline_ns = 0;  // 0: empty
  };
  struct alignas(64) Set {
    mutable SpinLock lock;
    std::array<Slot, kWays> slots;
  };
  [[nodiscard]] size_t set_of(const AffinityKey& key) const;

  HashKey seed_;
  size_t mask_;
  std::unique_ptr<Set[]> sets_;
};

}  // namespace weft
