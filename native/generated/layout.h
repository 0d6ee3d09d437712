// Generated from src/image/layout.ts by native/generate/generate.ts; do not edit.
// clang-format off
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace weft::layout {

inline constexpr std::array<uint8_t, 8> kMagic = {0x57, 0x45, 0x46, 0x54, 0x49, 0x4d, 0x47, 0x00};
inline constexpr uint32_t kFormatVersion = 1;
inline constexpr uint32_t kNone = 0xffffffff;
inline constexpr uint32_t kCacheLine = 64;
inline constexpr uint32_t kPageAlignment = 65536;
inline constexpr uint32_t kMaxBucket = 32;
inline constexpr uint32_t kMaxNesting = 129;
inline constexpr uint32_t kMaxImageSize = 0x7fff0000;

// First bytes of an image.
struct ImageHeader {
  uint64_t magic;  // magic bytes, in file order
  uint32_t version;  // format version
  uint32_t header_size;  // bytes of this header and the section table
  uint32_t total_size;  // bytes of the whole image
  uint32_t section_count;  // entries of the section table, which follows
  uint64_t checksum;  // of header and section table, with this field zero
  uint32_t identity_cell_seed;  // hash seed
  uint32_t block_cell_seed;  // hash seed
  uint32_t address_seed;  // hash seed
  uint32_t frontend_seed;  // hash seed
  uint8_t own_node_egress;  // 0: a pod may always reach its own node, 1: judged
  uint8_t deny_egress;  // 0: drop, 1: reject
  uint8_t deny_ingress;  // 0: drop, 1: reject
  uint8_t reserved0;  // zero
  uint32_t reserved1;  // zero
};
static_assert(sizeof(ImageHeader) == 56);
static_assert(offsetof(ImageHeader, magic) == 0);
static_assert(offsetof(ImageHeader, version) == 8);
static_assert(offsetof(ImageHeader, header_size) == 12);
static_assert(offsetof(ImageHeader, total_size) == 16);
static_assert(offsetof(ImageHeader, section_count) == 20);
static_assert(offsetof(ImageHeader, checksum) == 24);
static_assert(offsetof(ImageHeader, identity_cell_seed) == 32);
static_assert(offsetof(ImageHeader, block_cell_seed) == 36);
static_assert(offsetof(ImageHeader, address_seed) == 40);
static_assert(offsetof(ImageHeader, frontend_seed) == 44);
static_assert(offsetof(ImageHeader, own_node_egress) == 48);
static_assert(offsetof(ImageHeader, deny_egress) == 49);
static_assert(offsetof(ImageHeader, deny_ingress) == 50);
static_assert(offsetof(ImageHeader, reserved0) == 51);
static_assert(offsetof(ImageHeader, reserved1) == 52);
static_assert(std::is_trivially_copyable_v<ImageHeader>);

// One entry of the section table.
struct ImageSection {
  uint32_t offset;  // from the start of the image
  uint32_t size;  // bytes; element size times count
  uint32_t element_size;  // as in the layout table
  uint32_t count;  // elements
  uint64_t checksum;  // of the section
};
static_assert(sizeof(ImageSection) == 24);
static_assert(offsetof(ImageSection, offset) == 0);
static_assert(offsetof(ImageSection, size) == 4);
static_assert(offsetof(ImageSection, element_size) == 8);
static_assert(offsetof(ImageSection, count) == 12);
static_assert(offsetof(ImageSection, checksum) == 16);
static_assert(std::is_trivially_copyable_v<ImageSection>);

// UTF-8 bytes that others point into by offset and length.
struct ImageText {
  uint8_t byte;
};
static_assert(sizeof(ImageText) == 1);
static_assert(offsetof(ImageText, byte) == 0);
static_assert(std::is_trivially_copyable_v<ImageText>);

// A policy that selects a local pod; sorted by namespace and name.
struct ImagePolicy {
  uint32_t namespace_offset;  // into strings
  uint32_t namespace_length;
  uint32_t name_offset;  // into strings
  uint32_t name_length;
};
static_assert(sizeof(ImagePolicy) == 16);
static_assert(offsetof(ImagePolicy, namespace_offset) == 0);
static_assert(offsetof(ImagePolicy, namespace_length) == 4);
static_assert(offsetof(ImagePolicy, name_offset) == 8);
static_assert(offsetof(ImagePolicy, name_length) == 12);
static_assert(std::is_trivially_copyable_v<ImagePolicy>);

// A rule of such a policy; sorted by policy, direction, index.
struct ImageRule {
  uint32_t policy;  // into policies
  uint32_t direction;  // 0 egress, 1 ingress
  uint32_t index;  // position in the policy, from 0
  uint32_t line;  // in its file, from 1; 0 unknown
  uint32_t column;
  uint32_t file_offset;  // into strings
  uint32_t file_length;
};
static_assert(sizeof(ImageRule) == 28);
static_assert(offsetof(ImageRule, policy) == 0);
static_assert(offsetof(ImageRule, direction) == 4);
static_assert(offsetof(ImageRule, index) == 8);
static_assert(offsetof(ImageRule, line) == 12);
static_assert(offsetof(ImageRule, column) == 16);
static_assert(offsetof(ImageRule, file_offset) == 20);
static_assert(offsetof(ImageRule, file_length) == 24);
static_assert(std::is_trivially_copyable_v<ImageRule>);

// What a cell allows. Set 0 is empty.
struct ImagePortSet {
  uint32_t any_rule;  // rule that allows every protocol and port, or none
  uint32_t first_range;  // into port_ranges
  uint32_t range_count;
};
static_assert(sizeof(ImagePortSet) == 12);
static_assert(offsetof(ImagePortSet, any_rule) == 0);
static_assert(offsetof(ImagePortSet, first_range) == 4);
static_assert(offsetof(ImagePortSet, range_count) == 8);
static_assert(std::is_trivially_copyable_v<ImagePortSet>);

// Ports of one protocol; within a set sorted by protocol and first, disjoint.
struct ImagePortRange {
  uint16_t first;
  uint16_t last;  // inclusive
  uint8_t protocol;  // IANA number
  uint8_t reserved0;  // zero
  uint16_t reserved1;  // zero
  uint32_t rule;  // the first rule that allows them
};
static_assert(sizeof(ImagePortRange) == 12);
static_assert(offsetof(ImagePortRange, first) == 0);
static_assert(offsetof(ImagePortRange, last) == 2);
static_assert(offsetof(ImagePortRange, protocol) == 4);
static_assert(offsetof(ImagePortRange, reserved0) == 5);
static_assert(offsetof(ImagePortRange, reserved1) == 6);
static_assert(offsetof(ImagePortRange, rule) == 8);
static_assert(std::is_trivially_copyable_v<ImagePortRange>);

// The policies that isolate a row.
struct ImageWord {
  uint32_t value;
};
static_assert(sizeof(ImageWord) == 4);
static_assert(offsetof(ImageWord, value) == 0);
static_assert(std::is_trivially_copyable_v<ImageWord>);

// One direction of a program that is isolated in that direction.
struct ImageRow {
  uint32_t direction;  // 0 egress, 1 ingress
  uint32_t other_ports;  // port set for peers that are no pod, whatever their address
  uint32_t pod_ports;  // port set for pods whose identity has no cell
  uint32_t first_policy;  // into row_policies
  uint32_t policy_count;  // at least one
};
static_assert(sizeof(ImageRow) == 20);
static_assert(offsetof(ImageRow, direction) == 0);
static_assert(offsetof(ImageRow, other_ports) == 4);
static_assert(offsetof(ImageRow, pod_ports) == 8);
static_assert(offsetof(ImageRow, first_policy) == 12);
static_assert(offsetof(ImageRow, policy_count) == 16);
static_assert(std::is_trivially_copyable_v<ImageRow>);

// The policy of local pods that no policy tells apart.
struct ImageProgram {
  uint32_t egress_row;  // or none: not isolated
  uint32_t ingress_row;  // or none: not isolated
};
static_assert(sizeof(ImageProgram) == 8);
static_assert(offsetof(ImageProgram, egress_row) == 0);
static_assert(offsetof(ImageProgram, ingress_row) == 4);
static_assert(std::is_trivially_copyable_v<ImageProgram>);

// What a row allows to one identity; hashed by (row, identity).
struct ImageIdentityCell {
  uint32_t row;
  uint32_t identity;
  uint32_t port_set;
};
static_assert(sizeof(ImageIdentityCell) == 12);
static_assert(offsetof(ImageIdentityCell, row) == 0);
static_assert(offsetof(ImageIdentityCell, identity) == 4);
static_assert(offsetof(ImageIdentityCell, port_set) == 8);
static_assert(std::is_trivially_copyable_v<ImageIdentityCell>);

// What a row's ipBlocks allow to addresses below a prefix, where that differs from the prefix around it; hashed by (row, prefix).
struct ImageBlockCell {
  uint32_t row;
  uint32_t prefix;
  uint32_t port_set;
};
static_assert(sizeof(ImageBlockCell) == 12);
static_assert(offsetof(ImageBlockCell, row) == 0);
static_assert(offsetof(ImageBlockCell, prefix) == 4);
static_assert(offsetof(ImageBlockCell, port_set) == 8);
static_assert(std::is_trivially_copyable_v<ImageBlockCell>);

// Pods that no policy here tells apart; sorted by hash.
struct ImageIdentity {
  uint64_t hash;  // of the canonical bytes
};
static_assert(sizeof(ImageIdentity) == 8);
static_assert(offsetof(ImageIdentity, hash) == 0);
static_assert(std::is_trivially_copyable_v<ImageIdentity>);

// A prefix that some ipBlock or exception names; a prefix follows those around it.
struct ImagePrefix {
  uint8_t base[16];  // first address
  uint32_t depth;  // length in the 16-byte form
  uint32_t parent;  // the narrowest prefix around it, or none
};
static_assert(sizeof(ImagePrefix) == 24);
static_assert(offsetof(ImagePrefix, base) == 0);
static_assert(offsetof(ImagePrefix, depth) == 16);
static_assert(offsetof(ImagePrefix, parent) == 20);
static_assert(std::is_trivially_copyable_v<ImagePrefix>);

// Peer class. 0 is the rest of the world that no prefix names, and what hosts masquerade; 1 + p every non-pod address whose longest prefix is p; then those of pods.
struct ImageClass {
  uint32_t identity;  // or none
  uint32_t prefix;  // longest prefix that contains the address, or none
};
static_assert(sizeof(ImageClass) == 8);
static_assert(offsetof(ImageClass, identity) == 0);
static_assert(offsetof(ImageClass, prefix) == 4);
static_assert(std::is_trivially_copyable_v<ImageClass>);

// Path-compressed binary trie. Node 0 is the root; children follow their parent and are deeper.
struct ImageTrieNode {
  uint8_t key[16];  // bits before depth; the rest zero
  uint32_t depth;  // bits of the 16-byte form that the node fixes
  uint32_t prefix;  // the prefix that is this node, or none
  uint32_t child0;  // where the next bit is 0, or none
  uint32_t child1;  // where the next bit is 1, or none
};
static_assert(sizeof(ImageTrieNode) == 32);
static_assert(offsetof(ImageTrieNode, key) == 0);
static_assert(offsetof(ImageTrieNode, depth) == 16);
static_assert(offsetof(ImageTrieNode, prefix) == 20);
static_assert(offsetof(ImageTrieNode, child0) == 24);
static_assert(offsetof(ImageTrieNode, child1) == 28);
static_assert(std::is_trivially_copyable_v<ImageTrieNode>);

// An address known exactly; hashed by address.
struct ImageAddress {
  uint8_t address[16];
  uint32_t peer_class;  // into classes
  uint32_t program;  // of a local pod, else none
  uint32_t flags;  // kAddress…
};
static_assert(sizeof(ImageAddress) == 28);
static_assert(offsetof(ImageAddress, address) == 0);
static_assert(offsetof(ImageAddress, peer_class) == 16);
static_assert(offsetof(ImageAddress, program) == 20);
static_assert(offsetof(ImageAddress, flags) == 24);
static_assert(std::is_trivially_copyable_v<ImageAddress>);

// Where a service answers; hashed by (protocol and port, address).
struct ImageFrontend {
  uint8_t address[16];
  uint16_t port;
  uint8_t protocol;  // IANA number
  uint8_t reserved;  // zero
  uint32_t service;  // into services
};
static_assert(sizeof(ImageFrontend) == 24);
static_assert(offsetof(ImageFrontend, address) == 0);
static_assert(offsetof(ImageFrontend, port) == 16);
static_assert(offsetof(ImageFrontend, protocol) == 18);
static_assert(offsetof(ImageFrontend, reserved) == 19);
static_assert(offsetof(ImageFrontend, service) == 20);
static_assert(std::is_trivially_copyable_v<ImageFrontend>);

// Endpoints that some addresses of one port of one Service lead to, in one family; sorted by name.
struct ImageService {
  uint64_t key;  // of the port: hash of the name, the same in every image and for all records of the port
  uint32_t name_offset;  // into service_strings
  uint32_t name_length;
  uint32_t first_backend;  // into backends
  uint32_t backend_count;  // of new flows
  uint32_t kept_count;  // after those: of flows begun earlier only
  uint32_t affinity_seconds;  // 0: none
  uint32_t first_source;  // into service_sources
  uint32_t source_count;  // 0: any client
  uint32_t empty;  // without backends: 0: the client is refused, 1: its packets are dropped
  uint32_t reserved;  // zero
};
static_assert(sizeof(ImageService) == 48);
static_assert(offsetof(ImageService, key) == 0);
static_assert(offsetof(ImageService, name_offset) == 8);
static_assert(offsetof(ImageService, name_length) == 12);
static_assert(offsetof(ImageService, first_backend) == 16);
static_assert(offsetof(ImageService, backend_count) == 20);
static_assert(offsetof(ImageService, kept_count) == 24);
static_assert(offsetof(ImageService, affinity_seconds) == 28);
static_assert(offsetof(ImageService, first_source) == 32);
static_assert(offsetof(ImageService, source_count) == 36);
static_assert(offsetof(ImageService, empty) == 40);
static_assert(offsetof(ImageService, reserved) == 44);
static_assert(std::is_trivially_copyable_v<ImageService>);

// An endpoint; those of new flows and those kept each ascend by address, then port.
struct ImageBackend {
  uint8_t address[16];
  uint16_t port;
  uint16_t reserved;  // zero
};
static_assert(sizeof(ImageBackend) == 20);
static_assert(offsetof(ImageBackend, address) == 0);
static_assert(offsetof(ImageBackend, port) == 16);
static_assert(offsetof(ImageBackend, reserved) == 18);
static_assert(std::is_trivially_copyable_v<ImageBackend>);

// A block of clients that a load balancer takes packets from.
struct ImageSource {
  uint8_t base[16];  // first address
  uint32_t depth;  // length in the 16-byte form
};
static_assert(sizeof(ImageSource) == 20);
static_assert(offsetof(ImageSource, base) == 0);
static_assert(offsetof(ImageSource, depth) == 16);
static_assert(std::is_trivially_copyable_v<ImageSource>);

enum class Section : uint32_t {
  strings = 0,
  policies = 1,
  rules = 2,
  port_sets = 3,
  port_ranges = 4,
  row_policies = 5,
  rows = 6,
  programs = 7,
  identity_buckets = 8,
  identity_cells = 9,
  block_buckets = 10,
  block_cells = 11,
  identities = 12,
  prefixes = 13,
  classes = 14,
  trie4 = 15,
  trie6 = 16,
  address_buckets = 17,
  addresses = 18,
  frontend_buckets = 19,
  frontends = 20,
  services = 21,
  backends = 22,
  service_sources = 23,
  service_strings = 24,
};
inline constexpr uint32_t kSectionCount = 25;
inline constexpr std::array<const char*, kSectionCount> kSectionNames = {"strings", "policies", "rules", "port_sets", "port_ranges", "row_policies", "rows", "programs", "identity_buckets", "identity_cells", "block_buckets", "block_cells", "identities", "prefixes", "classes", "trie4", "trie6", "address_buckets", "addresses", "frontend_buckets", "frontends", "services", "backends", "service_sources", "service_strings"};

// The element type of each section.
template <Section S>
struct ElementOf;
template <> struct ElementOf<Section::strings> { using type = ImageText; };
template <> struct ElementOf<Section::policies> { using type = ImagePolicy; };
template <> struct ElementOf<Section::rules> { using type = ImageRule; };
template <> struct ElementOf<Section::port_sets> { using type = ImagePortSet; };
template <> struct ElementOf<Section::port_ranges> { using type = ImagePortRange; };
template <> struct ElementOf<Section::row_policies> { using type = ImageWord; };
template <> struct ElementOf<Section::rows> { using type = ImageRow; };
template <> struct ElementOf<Section::programs> { using type = ImageProgram; };
template <> struct ElementOf<Section::identity_buckets> { using type = ImageWord; };
template <> struct ElementOf<Section::identity_cells> { using type = ImageIdentityCell; };
template <> struct ElementOf<Section::block_buckets> { using type = ImageWord; };
template <> struct ElementOf<Section::block_cells> { using type = ImageBlockCell; };
template <> struct ElementOf<Section::identities> { using type = ImageIdentity; };
template <> struct ElementOf<Section::prefixes> { using type = ImagePrefix; };
template <> struct ElementOf<Section::classes> { using type = ImageClass; };
template <> struct ElementOf<Section::trie4> { using type = ImageTrieNode; };
template <> struct ElementOf<Section::trie6> { using type = ImageTrieNode; };
template <> struct ElementOf<Section::address_buckets> { using type = ImageWord; };
template <> struct ElementOf<Section::addresses> { using type = ImageAddress; };
template <> struct ElementOf<Section::frontend_buckets> { using type = ImageWord; };
template <> struct ElementOf<Section::frontends> { using type = ImageFrontend; };
template <> struct ElementOf<Section::services> { using type = ImageService; };
template <> struct ElementOf<Section::backends> { using type = ImageBackend; };
template <> struct ElementOf<Section::service_sources> { using type = ImageSource; };
template <> struct ElementOf<Section::service_strings> { using type = ImageText; };
inline constexpr std::array<uint32_t, kSectionCount> kElementSizes = {1, 16, 28, 12, 12, 4, 20, 8, 4, 12, 4, 12, 8, 24, 8, 32, 32, 4, 28, 4, 24, 48, 20, 20, 1};

inline constexpr uint32_t kFlagPod = 1;
inline constexpr uint32_t kFlagLocal = 2;
inline constexpr uint32_t kFlagOwnNode = 4;
inline constexpr uint32_t kFlagOtherNode = 8;
inline constexpr uint32_t kFlagService = 16;
inline constexpr uint32_t kFlagForwarded = 32;

}  // namespace weft::layout
