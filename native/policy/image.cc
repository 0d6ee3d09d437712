#include "policy/image.h"

#include <algorithm>
#include <cstring>

#include "policy/hash.h"
#include "policy/tables.h"

namespace weft {

using layout::kNone;

// What the header promises in its own names is what the layout says.
static_assert(kNoProgram == kNone && kNoService == kNone && kNoIdentity == kNone && kNoRule == kNone);
static_assert(kAddressPod == layout::kFlagPod && kAddressLocal == layout::kFlagLocal);
static_assert(kAddressOwnNode == layout::kFlagOwnNode && kAddressOtherNode == layout::kFlagOtherNode);
static_assert(kAddressService == layout::kFlagService && kAddressForwarded == layout::kFlagForwarded);
// Backends are handed out as a span over the section itself.
static_assert(sizeof(Backend) == sizeof(layout::ImageBackend) &&
              alignof(Backend) <= alignof(layout::ImageBackend));
static_assert(offsetof(Backend, address) == offsetof(layout::ImageBackend, address));
static_assert(offsetof(Backend, port) == offsetof(layout::ImageBackend, port));
static_assert(sizeof(SourceBlock) == sizeof(layout::ImageSource) &&
              alignof(SourceBlock) <= alignof(layout::ImageSource));
static_assert(offsetof(SourceBlock, base) == offsetof(layout::ImageSource, base));
static_assert(offsetof(SourceBlock, depth) == offsetof(layout::ImageSource, depth));

namespace {

std::string_view text(std::span<const layout::ImageText> strings, uint32_t offset, uint32_t length) {
  return {reinterpret_cast<const char*>(strings.data()) + offset, length};
}

uint64_t load_be64(const uint8_t* bytes) {
  uint64_t value;
  std::memcpy(&value, bytes, 8);
  return __builtin_bswap64(value);
}

// An address as two words in host order, most significant first.
struct Bits {
  uint64_t high, low;
  explicit Bits(const uint8_t* bytes) : high(load_be64(bytes)), low(load_be64(bytes + 8)) {}

  // Whether the first `depth` (0–128) bits are those of `key`, which has zeros behind them.
  [[nodiscard]] bool starts_with(const Bits& key, uint32_t depth) const {
    if (depth == 0) return true;
    if (depth <= 64) return ((high ^ key.high) >> (64 - depth)) == 0;
    if (high != key.high) return false;
    return ((low ^ key.low) >> (128 - depth)) == 0;
  }
  // Bit `index` (0–127), counted from the most significant.
  [[nodiscard]] bool bit(uint32_t index) const {
    return ((index < 64 ? high >> (63 - index) : low >> (127 - index)) & 1) != 0;
  }
};

// The longest prefix that contains the address, or none. Each step goes to a deeper node, so there are at
// most 129.
uint32_t longest_prefix(std::span<const layout::ImageTrieNode> trie, const uint8_t* address) {
  const Bits bits(address);
  uint32_t best = kNone;
  for (uint32_t at = 0; at != kNone;) {
    const layout::ImageTrieNode& node = trie[at];
    if (!bits.starts_with(Bits(node.key), node.depth)) break;
    if (node.prefix != kNone) best = node.prefix;
    if (node.depth >= 128) break;
    at = bits.bit(node.depth) ? node.child1 : node.child0;
  }
  return best;
}

template <class Cell>
const Cell* find_cell(const HashTable<Cell>& table, uint32_t row, uint32_t column, uint32_t Cell::* field) {
  for (const Cell& cell : table.bucket(image_hash(table.seed, row, column)))
    if (cell.row == row && cell.*field == column) return &cell;
  return nullptr;
}

// The first rule of the set that allows (protocol, port), or none. Binary search: a set with n ranges costs
// log n.
RuleIndex find_rule(std::span<const layout::ImagePortSet> sets,
                    std::span<const layout::ImagePortRange> ranges, uint32_t port_set, uint8_t protocol,
                    uint16_t port) {
  const layout::ImagePortSet& set = sets[port_set];
  const auto own = ranges.subspan(set.first_range, set.range_count);
  const auto after = std::upper_bound(
      own.begin(), own.end(), std::pair(protocol, port),
      [](const auto& key, const auto& range) { return key < std::pair(range.protocol, range.first); });
  if (after == own.begin()) return set.any_rule;
  const layout::ImagePortRange& range = *(after - 1);
  if (range.protocol != protocol || range.last < port) return set.any_rule;
  return std::min(set.any_rule, range.rule);
}

}  // namespace

Image::Image(std::unique_ptr<Tables> tables) : tables_(std::move(tables)) {}
Image::~Image() = default;

Image::Classification Image::classify(const Address& address, uint8_t family) const noexcept {
  const Tables& t = *tables_;
  const uint8_t* bytes = address.bytes.data();
  for (const layout::ImageAddress& known : t.addresses.bucket(image_hash_address(t.addresses.seed, bytes)))
    if (std::memcmp(known.address, bytes, 16) == 0) return {known.peer_class, known.program, known.flags};
  const uint32_t prefix = longest_prefix(t.tries[family == 4 ? 0 : 1], bytes);
  return {prefix == kNone ? 0 : 1 + prefix, kNoProgram, 0};
}

Image::Verdict Image::judge(uint32_t program, Direction direction, uint32_t peer_class, uint8_t protocol,
                            uint16_t port) const noexcept {
  const Tables& t = *tables_;
  const layout::ImageProgram& of = t.programs[program];
  const uint32_t row = direction == Direction::egress ? of.egress_row : of.ingress_row;
  if (row == kNone) return {true, kNoRule};
  const layout::ImageClass& peer = t.classes[peer_class];

  // By who the peer is: pods by identity, all others alike.
  uint32_t set = t.rows[row].other_ports;
  if (peer.identity != kNone) {
    const auto* cell = find_cell(t.identity_cells, row, peer.identity, &layout::ImageIdentityCell::identity);
    set = cell != nullptr ? cell->port_set : t.rows[row].pod_ports;
  }
  RuleIndex rule = find_rule(t.port_sets, t.port_ranges, set, protocol, port);

  // By where it is: the narrowest prefix around it for which this row has something to say.
  for (uint32_t prefix = peer.prefix; prefix != kNone; prefix = t.prefixes[prefix].parent) {
    const auto* cell = find_cell(t.block_cells, row, prefix, &layout::ImageBlockCell::prefix);
    if (cell == nullptr) continue;
    // kNone is the largest index, so that the first of the two rules is the smaller, and "none" loses to any
    // rule.
    rule = std::min(rule, find_rule(t.port_sets, t.port_ranges, cell->port_set, protocol, port));
    break;
  }
  return {rule != kNoRule, rule};
}

bool Image::isolated(uint32_t program, Direction direction) const noexcept {
  const layout::ImageProgram& of = tables_->programs[program];
  return (direction == Direction::egress ? of.egress_row : of.ingress_row) != kNone;
}

uint32_t Image::program_count() const noexcept {
  return static_cast<uint32_t>(tables_->programs.size());
}
uint32_t Image::class_count() const noexcept {
  return static_cast<uint32_t>(tables_->classes.size());
}
uint32_t Image::rule_count() const noexcept {
  return static_cast<uint32_t>(tables_->rules.size());
}
uint32_t Image::policy_count() const noexcept {
  return static_cast<uint32_t>(tables_->policies.size());
}
bool Image::own_node_egress_judged() const noexcept {
  return tables_->own_node_egress_judged;
}
DenyAction Image::deny_action(Direction direction) const noexcept {
  return tables_->deny[static_cast<size_t>(direction)];
}

Image::Policy Image::policy(uint32_t index) const noexcept {
  const layout::ImagePolicy& of = tables_->policies[index];
  return {text(tables_->strings, of.namespace_offset, of.namespace_length),
          text(tables_->strings, of.name_offset, of.name_length)};
}

Image::Rule Image::rule(RuleIndex index) const noexcept {
  const layout::ImageRule& of = tables_->rules[index];
  return {of.policy, static_cast<Direction>(of.direction),
          of.index,  text(tables_->strings, of.file_offset, of.file_length),
          of.line,   of.column};
}

std::span<const uint32_t> Image::isolating(uint32_t program, Direction direction) const noexcept {
  const layout::ImageProgram& of = tables_->programs[program];
  const uint32_t row = direction == Direction::egress ? of.egress_row : of.ingress_row;
  if (row == kNone) return {};
  static_assert(sizeof(layout::ImageWord) == sizeof(uint32_t));
  const auto words =
      tables_->row_policies.subspan(tables_->rows[row].first_policy, tables_->rows[row].policy_count);
  return {reinterpret_cast<const uint32_t*>(words.data()), words.size()};
}

uint32_t Image::class_identity(uint32_t peer_class) const noexcept {
  return tables_->classes[peer_class].identity;
}
uint64_t Image::identity_hash(uint32_t identity) const noexcept {
  return tables_->identities[identity].hash;
}
bool Image::holds(std::span<const uint8_t> bytes) const noexcept {
  const ImageBuffer& own = tables_->buffer;
  return own.size() == bytes.size() && std::memcmp(own.data(), bytes.data(), bytes.size()) == 0;
}

size_t Image::size() const noexcept {
  return tables_->buffer.size();
}

bool ServiceView::find(uint8_t protocol, const Address& address, uint16_t port, Service& out) const noexcept {
  const auto& frontends = image_->tables_->frontends;
  const uint8_t* bytes = address.bytes.data();
  for (const layout::ImageFrontend& known :
       frontends.bucket(image_hash_frontend(frontends.seed, protocol, port, bytes))) {
    if (known.protocol != protocol || known.port != port || std::memcmp(known.address, bytes, 16) != 0)
      continue;
    out = at(known.service);
    return true;
  }
  return false;
}

uint32_t ServiceView::count() const noexcept {
  return static_cast<uint32_t>(image_->tables_->services.size());
}

Service ServiceView::at(uint32_t id) const noexcept {
  const Image::Tables& t = *image_->tables_;
  const layout::ImageService& of = t.services[id];
  const auto all = t.backends.subspan(of.first_backend, of.backend_count + of.kept_count);
  const std::span<const Backend> backends{reinterpret_cast<const Backend*>(all.data()), all.size()};
  const auto sources = t.service_sources.subspan(of.first_source, of.source_count);
  return {id,
          of.key,
          of.affinity_seconds,
          of.empty != 0,
          backends.first(of.backend_count),
          backends.subspan(of.backend_count),
          {reinterpret_cast<const SourceBlock*>(sources.data()), sources.size()},
          text(t.service_strings, of.name_offset, of.name_length)};
}

bool Service::keeps(const Address& address, uint16_t port) const noexcept {
  return find_backend(backends, address, port) != backends.size() ||
         find_backend(kept, address, port) != kept.size();
}

bool Service::takes(const Address& client) const noexcept {
  if (sources.empty()) return true;
  const Bits bits(client.bytes.data());
  for (const SourceBlock& block : sources) {
    // An IPv4 block starts below the mapped prefix; an IPv6 one that is wider holds no IPv4 address.
    const bool v4 = block.depth >= 96 && block.base.is_v4();
    if (v4 == client.is_v4() && bits.starts_with(Bits(block.base.bytes.data()), block.depth)) return true;
  }
  return false;
}

}  // namespace weft
