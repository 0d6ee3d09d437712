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

// A number below `count` from 64 random bits, without division (Lemire 2016); the bias is below count / 2^32.
constexpr size_t pick(uint64_t random, size_t count) {
  return static_cast<size_t>((random >> 32) * count >> 32);
}

class Balancer {
 public:
  explicit Balancer(AffinityTable& affinity) : affinity_(affinity) {}

  // Index of the chosen one of `backends`: at least one, ascending by address, then port. `service` is the
  // service port's key; `random` 64 fresh bits; `affinity_seconds` 0: none.
  template <class B, size_t Extent>
  size_t choose(const Address& client, uint64_t service, std::span<B, Extent> backends,
                uint32_t affinity_seconds, uint64_t random, uint64_t now_ns) {
    const size_t any = pick(random, backends.size());
    if (affinity_seconds == 0) return any;
    const AffinityKey key{client, service};
    AffinityTarget last;
    const size_t before =
        affinity_.find(key, now_ns, last) ? find_backend(backends, last.address, last.port) : backends.size();
    const size_t chosen = before != backends.size() ? before : any;
    const auto& backend = backends[chosen];
    affinity_.put(key, {backend.address, backend.port}, now_ns, affinity_seconds * kSecond);
    return chosen;
  }

 private:
  AffinityTable& affinity_;
};

}  // namespace weft
