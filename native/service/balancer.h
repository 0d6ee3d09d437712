// Which backend a new flow to a service goes to.
//
// Any type with `Address address; uint16_t port` will do for a backend, so that the policy image's own array
// is used as it lies. The choice is uniform over the ready backends by the caller's random value; with
// affinity the client's last backend while it is still among them (a backend that went away is replaced,
// never waited for). Connections once made are the connection table's: they are never balanced again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/time.h"
#include "service/affinity.h"

namespace weft {

enum class BalanceStatus : uint8_t { chosen, no_endpoint };

struct Choice {
  BalanceStatus status = BalanceStatus::no_endpoint;  // no_endpoint: TCP reset or port unreachable at once
  bool hairpin = false;                               // the backend is the client itself
  bool by_affinity = false;
  size_t index = 0;  // into the backends given
  Address address;
  uint16_t port = 0;
};

// A number below `count` from 64 random bits, without division (Lemire 2016); the bias is below count / 2^32.
constexpr size_t pick(uint64_t random, size_t count) {
  return static_cast<size_t>((random >> 32) * count >> 32);
}

class Balancer {
 public:
  explicit Balancer(AffinityTable& affinity) : affinity_(affinity) {}

  // `flow` is the client's packet to the service's address and port; `service` the port's key; `backends`
  // ascend by address, then port; `random` 64 fresh bits; `affinity_seconds` 0: none.
  template <class B, size_t Extent>
  Choice choose(const FlowTuple& flow, uint64_t service, std::span<B, Extent> backends,
                uint32_t affinity_seconds, uint64_t random, uint64_t now_ns) {
    Choice choice;
    if (backends.empty()) return choice;
    choice.index = pick(random, backends.size());
    const AffinityKey key{flow.source, service};
    if (affinity_seconds != 0) {
      AffinityTarget last;
      if (affinity_.find(key, now_ns, last)) {
        const size_t at = find_backend(backends, last.address, last.port);
        if (at != backends.size()) {
          choice.index = at;
          choice.by_affinity = true;
        }
      }
    }
    const auto& backend = backends[choice.index];
    choice.status = BalanceStatus::chosen;
    choice.address = backend.address;
    choice.port = backend.port;
    choice.hairpin = choice.address == flow.source;
    if (affinity_seconds != 0)
      affinity_.put(key, {choice.address, choice.port}, now_ns, affinity_seconds * kSecond);
    return choice;
  }

 private:
  AffinityTable& affinity_;
};

}  // namespace weft
