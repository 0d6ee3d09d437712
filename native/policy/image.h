// The compiled policy as the switch sees it: one immutable image, written by the agent, loaded here, asked
// for every new flow.
//
// Trust: the bytes are hostile until load() has seen all of them. load() copies first and validates the copy,
// so that a writer that still holds the file cannot change what was checked, and refuses whatever does not
// hold together. It checks every index, offset, span and chain once; lookups then check nothing, yet stay
// inside the copy and terminate for every image that loaded.
//
// What an answer costs: classify() is one hash probe, or one walk down a path-compressed trie (at most the
// prefix length of steps); judge() is one hash probe for the peer's identity, at most one for each ipBlock
// that contains the peer (nested blocks), and a binary search among the ranges of one port set. None depends
// on how many pods, policies or rules there are.
//
// Threads: immutable after load(); every const function may be called from any thread, allocates nothing and
// takes no lock. The safe error: refuse the image. The switch then keeps the one it has, or drops everything
// when it has none.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/address.h"
#include "base/result.h"
#include "packet/flow.h"

namespace weft {

enum class DenyAction : uint8_t { drop = 0, reject = 1 };

inline constexpr uint32_t kNoProgram = 0xffffffff;
inline constexpr uint32_t kNoIdentity = 0xffffffff;

// Flags of an address that the image knows by name.
inline constexpr uint32_t kAddressPod = 1u << 0;        // a pod of this cluster (never a hostNetwork pod)
inline constexpr uint32_t kAddressLocal = 1u << 1;      // a pod of this node: its program is valid
inline constexpr uint32_t kAddressOwnNode = 1u << 2;    // an address of this node
inline constexpr uint32_t kAddressOtherNode = 1u << 3;  // an address of another node
inline constexpr uint32_t kAddressService = 1u
                                            << 4;  // a Service's address; meaningful only before translation
// A host's address in its pod CIDR. As a source it is what the host masquerades: a stranger, not the node.
inline constexpr uint32_t kAddressForwarded = 1u << 5;

// A block of clients: the first `depth` bits of the 16-byte form are those of `base`.
struct SourceBlock {
  Address base;
  uint32_t depth = 0;
};

// The endpoints that some addresses of one port of one Service lead to, in one address family. Spans and
// views point into the image and live as long as it does.
struct Service {
  uint32_t id = kNoService;              // index in this image; differs between images
  uint64_t key = 0;                      // of the port: the same in every image and for all its addresses
  uint32_t affinity_seconds = 0;         // 0: no session affinity
  bool drops_when_empty = false;         // without backends: packets are dropped rather than refused
  std::span<const Backend> backends;     // of new flows; ascending by address, then port
  std::span<const Backend> kept;         // of flows begun earlier only; likewise
  std::span<const SourceBlock> sources;  // clients that are let through; empty: all
  std::string_view name;                 // "namespace/name:port"

  // Whether a flow that goes to this endpoint may go on doing so.
  [[nodiscard]] bool keeps(const Address& address, uint16_t port) const noexcept;
  [[nodiscard]] bool takes(const Address& client) const noexcept;
};

class Image;

// What a balancer needs of an image; a view, valid while the image is.
class ServiceView {
 public:
  explicit ServiceView(const Image& image) : image_(&image) {}
  // The service that answers on (protocol, address, port), or false. Cluster, external and load-balancer
  // addresses, and every node address at a node port. One hash probe.
  [[nodiscard]] bool find(uint8_t protocol, const Address& address, uint16_t port,
                          Service& out) const noexcept;
  [[nodiscard]] uint32_t count() const noexcept;
  // id < count().
  [[nodiscard]] Service at(uint32_t id) const noexcept;

 private:
  const Image* image_;
};

class Image {
 public:
  // Copies the bytes, validates the copy whole. Error codes: image-size, image-magic, image-version,
  // image-checksum, image-section, image-bounds, image-order, image-trie, image-hash, image-text. Takes time
  // linear in the image; allocates the copy only.
  static Result<std::unique_ptr<Image>> load(std::span<const uint8_t> bytes);
  ~Image();
  Image(const Image&) = delete;
  Image& operator=(const Image&) = delete;

  // What is known of an address.
  struct Classification {
    uint32_t peer_class = 0;        // always a valid class
    uint32_t program = kNoProgram;  // valid only with kAddressLocal
    uint32_t flags = 0;             // kAddress…; 0 for addresses known only by prefix or not at all
  };
  // Exact address, else longest prefix, else the class of the rest of the world. family is 4 or 6.
  [[nodiscard]] Classification classify(const Address& address, uint8_t family) const noexcept;

  struct Verdict {
    bool allowed = false;
    RuleIndex rule = kNoRule;  // the rule that allowed; kNoRule when denied, or allowed because no policy
                               // isolates this direction
  };
  // May a flow between a pod with this program and a peer of this class pass? For egress the peer is the
  // destination, for ingress the source; port is always the destination's, 0 for protocols without ports.
  // program < program_count(), peer_class < class_count(). The caller applies the exemptions (own node, the
  // pod itself).
  [[nodiscard]] Verdict judge(uint32_t program, Direction direction, uint32_t peer_class, uint8_t protocol,
                              uint16_t port) const noexcept;
  // Whether any policy isolates the program in this direction.
  [[nodiscard]] bool isolated(uint32_t program, Direction direction) const noexcept;

  [[nodiscard]] uint32_t program_count() const noexcept;
  [[nodiscard]] uint32_t class_count() const noexcept;
  [[nodiscard]] uint32_t rule_count() const noexcept;

  // policy.ownNodeEgress: false: a pod may always reach its own node's addresses; true: judged as ordinary
  // egress.
  [[nodiscard]] bool own_node_egress_judged() const noexcept;
  [[nodiscard]] DenyAction deny_action(Direction direction) const noexcept;

  // --- names, for flow events, captures and explanations; not needed to forward a packet ---
  struct Policy {
    std::string_view policy_namespace;
    std::string_view name;
  };
  struct Rule {
    uint32_t policy = 0;  // index into policies
    Direction direction = Direction::egress;
    uint32_t index = 0;     // position in the policy's list of that direction, from 0
    std::string_view file;  // where the rule stands; empty where it came from an API
    uint32_t line = 0;      // from 1; 0 where unknown
    uint32_t column = 0;
  };
  [[nodiscard]] uint32_t policy_count() const noexcept;
  [[nodiscard]] Policy policy(uint32_t index) const noexcept;  // index < policy_count()
  [[nodiscard]] Rule rule(RuleIndex index) const noexcept;     // index < rule_count()
  // The policies that isolate the program in this direction (indexes into policies, ascending); empty when
  // none does.
  [[nodiscard]] std::span<const uint32_t> isolating(uint32_t program, Direction direction) const noexcept;
  // Identity of the class (kNoIdentity for addresses that are no pod's) and its hash, the same in every image
  // and on every node that tells the same pods apart.
  [[nodiscard]] uint32_t class_identity(uint32_t peer_class) const noexcept;
  [[nodiscard]] uint64_t identity_hash(uint32_t identity) const noexcept;

  [[nodiscard]] ServiceView services() const noexcept { return ServiceView(*this); }
  // Whether it was loaded from exactly these bytes.
  [[nodiscard]] bool holds(std::span<const uint8_t> bytes) const noexcept;
  // Bytes held, for the gauge.
  [[nodiscard]] size_t size() const noexcept;

 private:
  friend class ServiceView;
  struct Tables;
  explicit Image(std::unique_ptr<Tables> tables);
  std::unique_ptr<Tables> tables_;
};

}  // namespace weft
