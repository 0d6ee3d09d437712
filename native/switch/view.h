// A View is all that a packet's way depends on, as of one moment: ports, which addresses they have, the image
// and its generation. Immutable once published, except for the atomics inside ports. Holding one pointer for
// a port's turn keeps a verdict and its generation from different images apart.
#pragma once

#include <bit>
#include <cstdint>
#include <memory>
#include <vector>

#include "packet/flow.h"
#include "policy/image.h"
#include "switch/port.h"
#include "switch/settings.h"

namespace weft {

// Address → port, for local ports. Open addressing, at most half full.
class RouteMap {
 public:
  RouteMap() = default;
  explicit RouteMap(size_t addresses) : slots_(std::bit_ceil(addresses * 2 + 1)) {}

  // The address is not in the map yet, and the map was made for at least as many.
  void insert(const Address& address, Port* port) noexcept {
    size_t at = hash(address) & (slots_.size() - 1);
    while (slots_[at].port != nullptr) at = (at + 1) & (slots_.size() - 1);
    slots_[at] = {address, port};
  }
  [[nodiscard]] Port* find(const Address& address) const noexcept {
    if (slots_.empty()) return nullptr;
    for (size_t at = hash(address) & (slots_.size() - 1); slots_[at].port != nullptr;
         at = (at + 1) & (slots_.size() - 1))
      if (slots_[at].address == address) return slots_[at].port;
    return nullptr;
  }

 private:
  struct Slot {
    Address address;
    Port* port = nullptr;
  };
  // Not keyed: the keys are addresses that our own allocator gave out, and a probe ends at the first empty
  // slot.
  static size_t hash(const Address& address) noexcept {
    uint64_t low = 0, high = 0;
    std::memcpy(&low, address.bytes.data(), 8);
    std::memcpy(&high, address.bytes.data() + 8, 8);
    uint64_t mixed = (low ^ std::rotl(high, 29)) * 0x9e3779b97f4a7c15ull;
    mixed ^= mixed >> 32;
    return static_cast<size_t>(mixed * 0xd6e8feb86659fd93ull >> 16);
  }
  std::vector<Slot> slots_;
};

struct View {
  std::shared_ptr<const Image> image;  // null: nothing published yet
  uint64_t generation = 0;
  LiveSettings live;
  std::vector<std::shared_ptr<Port>> ports;  // by index; null where there is none
  Port* host = nullptr;
  RouteMap routes;
  std::shared_ptr<const Image> shadow;  // null outside of a trial; never enforced
  uint64_t trial_since = 0;             // the generation that the trial began with

  [[nodiscard]] Port* port(PortIndex index) const noexcept {
    return index < ports.size() ? ports[index].get() : nullptr;
  }
  // Null when that life of the port is over.
  [[nodiscard]] Port* port(PortIndex index, PortInstance instance) const noexcept {
    Port* found = port(index);
    return found != nullptr && found->instance == instance ? found : nullptr;
  }
};

}  // namespace weft
