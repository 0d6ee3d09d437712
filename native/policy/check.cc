// What the sections of an image hold, checked once: one pass over each, in an order in which everything a
// check refers to has been checked before. What is established here is written beside the spans in tables.h;
// lookups rely on all of it and check none of it.
#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <string>
#include <vector>

#include "policy/hash.h"
#include "policy/image.h"
#include "policy/tables.h"

namespace weft {

namespace {

using layout::kNone;

Error out_of_bounds(const char* section, size_t index, const char* field) {
  return image_refused("image-bounds",
                       std::string(section) + "[" + std::to_string(index) + "]." + field + " points nowhere");
}

bool span_fits(uint32_t first, uint32_t count, size_t size) {
  return first <= size && count <= size - first;
}

bool index_or_none(uint32_t index, size_t size) {
  return index == kNone || index < size;
}

// Buckets ascend from 0 to the number of elements, none is too long, every element hashes to its bucket, no
// key is there twice.
template <class Element, class Hash, class Same>
Status check_hash(const char* name, const HashTable<Element>& table, Hash&& hash, Same&& same) {
  const auto bad = [&](const char* what) {
    return image_refused("image-hash", std::string(name) + " " + what);
  };
  if (table.buckets.size() < 2 || !std::has_single_bit(table.buckets.size() - 1))
    return bad("has a number of buckets that is no power of two");
  const size_t mask = table.buckets.size() - 2;
  if (table.buckets.front().value != 0 || table.buckets.back().value != table.elements.size())
    return bad("has buckets that do not cover it");
  for (size_t b = 0; b <= mask; ++b) {
    const uint32_t begin = table.buckets[b].value;
    const uint32_t end = table.buckets[b + 1].value;
    // back() == size and each pair ascends, so begin and end are in bounds for all; checked here before use.
    if (begin > end || end > table.elements.size()) return bad("has buckets out of order");
    if (end - begin > layout::kMaxBucket) return bad("has a bucket that is too long");
    for (uint32_t i = begin; i < end; ++i) {
      if ((hash(table.elements[i]) & mask) != b) return bad("has an element in the wrong bucket");
      for (uint32_t j = begin; j < i; ++j)
        if (same(table.elements[i], table.elements[j])) return bad("has one key twice");
    }
  }
  return Ok{};
}

bool same_bits(const uint8_t* a, const uint8_t* b, uint32_t depth) {
  const size_t whole = depth / 8;
  if (std::memcmp(a, b, whole) != 0) return false;
  return depth % 8 == 0 || ((a[whole] ^ b[whole]) >> (8 - depth % 8)) == 0;
}

bool zero_from(const uint8_t* key, uint32_t depth) {
  if (depth >= 128) return true;
  if (depth % 8 != 0 && static_cast<uint8_t>(key[depth / 8] << (depth % 8)) != 0) return false;
  return zeros(key + (depth + 7) / 8, key + 16);
}

// One walk in index order suffices, because children follow their parent. `around` is the narrowest prefix at
// or above each node.
Status check_trie(std::span<const layout::ImageTrieNode> trie, std::span<const layout::ImagePrefix> prefixes,
                  uint32_t root_depth, const uint8_t* root_key, std::vector<bool>& seen, size_t& found) {
  const auto bad = [](size_t index, const char* what) {
    return image_refused("image-trie", "trie node " + std::to_string(index) + " " + what);
  };
  if (trie.empty()) return bad(0, "is missing");
  if (trie[0].depth != root_depth || std::memcmp(trie[0].key, root_key, 16) != 0)
    return bad(0, "is not the root of its family");
  std::vector<uint32_t> around(trie.size(), kNone);
  std::vector<bool> reached(trie.size(), false);
  reached[0] = true;
  for (size_t i = 0; i < trie.size(); ++i) {
    const layout::ImageTrieNode& node = trie[i];
    if (!reached[i]) return bad(i, "hangs on no other");
    if (node.prefix != kNone) {
      if (node.prefix >= prefixes.size()) return bad(i, "names a prefix that is not there");
      if (seen[node.prefix]) return bad(i, "names a prefix that another names too");
      const layout::ImagePrefix& prefix = prefixes[node.prefix];
      if (prefix.depth != node.depth || std::memcmp(prefix.base, node.key, 16) != 0)
        return bad(i, "names a prefix with other bits");
      if (prefix.parent != around[i])
        return bad(i, "names a prefix with another parent than the trie gives it");
      if (prefix.parent != kNone && prefix.parent >= node.prefix)
        return bad(i, "names a prefix that precedes its parent");
      seen[node.prefix] = true;
      ++found;
      around[i] = node.prefix;
    }
    for (const bool side : {false, true}) {
      const uint32_t child = side ? node.child1 : node.child0;
      if (child == kNone) continue;
      if (child <= i || child >= trie.size() || reached[child])
        return bad(i, "has a child that is no later node");
      const layout::ImageTrieNode& below = trie[child];
      if (below.depth <= node.depth || below.depth > 128) return bad(i, "has a child that is not deeper");
      const bool bit = (below.key[node.depth / 8] >> (7 - node.depth % 8) & 1) != 0;
      if (bit != side || !same_bits(node.key, below.key, node.depth) || !zero_from(below.key, below.depth))
        return bad(i, "has a child with other bits");
      reached[child] = true;
      around[child] = around[i];
    }
  }
  return Ok{};
}

// For each backend the first place after it where the order by address and port breaks: a list ascends if it
// ends no later than that of its first. Lists may overlap, and looking at each by itself would cost the
// square of a hostile image.
std::vector<uint32_t> runs_of(std::span<const layout::ImageBackend> backends) {
  std::vector<uint32_t> ends(backends.size());
  for (size_t i = backends.size(); i-- > 0;) {
    const auto ascends = [&] {
      const int order = std::memcmp(backends[i].address, backends[i + 1].address, 16);
      return order < 0 || (order == 0 && backends[i].port < backends[i + 1].port);
    };
    ends[i] = i + 1 < backends.size() && ascends() ? ends[i + 1] : static_cast<uint32_t>(i + 1);
  }
  return ends;
}

}  // namespace

Status Image::Tables::check_rules() const {
  for (size_t i = 0; i < policies.size(); ++i) {
    const layout::ImagePolicy& policy = policies[i];
    if (!span_fits(policy.namespace_offset, policy.namespace_length, strings.size()) ||
        !span_fits(policy.name_offset, policy.name_length, strings.size()))
      return image_refused("image-text",
                           "policies[" + std::to_string(i) + "] has a name outside of the text section");
  }
  for (size_t i = 0; i < rules.size(); ++i) {
    const layout::ImageRule& rule = rules[i];
    if (rule.policy >= policies.size()) return out_of_bounds("rules", i, "policy");
    if (rule.direction > 1) return out_of_bounds("rules", i, "direction");
    if (!span_fits(rule.file_offset, rule.file_length, strings.size()))
      return image_refused("image-text",
                           "rules[" + std::to_string(i) + "] has a file name outside of the text section");
  }
  if (port_sets.empty() || port_sets[0].any_rule != kNone || port_sets[0].range_count != 0)
    return image_refused("image-order", "its first port set is not the empty one");
  for (size_t i = 0; i < port_ranges.size(); ++i) {
    const layout::ImagePortRange& range = port_ranges[i];
    if (range.rule >= rules.size()) return out_of_bounds("port_ranges", i, "rule");
    if (range.first > range.last || range.reserved0 != 0 || range.reserved1 != 0)
      return image_refused("image-order", "port_ranges[" + std::to_string(i) + "] ends before it begins");
  }
  for (size_t i = 0; i < port_sets.size(); ++i) {
    const layout::ImagePortSet& set = port_sets[i];
    if (!index_or_none(set.any_rule, rules.size())) return out_of_bounds("port_sets", i, "any_rule");
    if (!span_fits(set.first_range, set.range_count, port_ranges.size()))
      return out_of_bounds("port_sets", i, "first_range");
    const auto own = port_ranges.subspan(set.first_range, set.range_count);
    for (size_t j = 1; j < own.size(); ++j) {
      const bool ascends = own[j - 1].protocol < own[j].protocol ||
                           (own[j - 1].protocol == own[j].protocol && own[j - 1].last < own[j].first);
      if (!ascends)
        return image_refused(
            "image-order", "the ranges of port_sets[" + std::to_string(i) + "] overlap or are out of order");
    }
  }
  return Ok{};
}

Status Image::Tables::check_rows() const {
  for (size_t i = 0; i < row_policies.size(); ++i)
    if (row_policies[i].value >= policies.size()) return out_of_bounds("row_policies", i, "value");
  for (size_t i = 0; i < rows.size(); ++i) {
    const layout::ImageRow& row = rows[i];
    if (row.direction > 1) return out_of_bounds("rows", i, "direction");
    if (row.other_ports >= port_sets.size()) return out_of_bounds("rows", i, "other_ports");
    if (row.pod_ports >= port_sets.size()) return out_of_bounds("rows", i, "pod_ports");
    if (row.policy_count == 0 || !span_fits(row.first_policy, row.policy_count, row_policies.size()))
      return out_of_bounds("rows", i, "first_policy");
  }
  for (size_t i = 0; i < programs.size(); ++i) {
    const layout::ImageProgram& program = programs[i];
    if (!index_or_none(program.egress_row, rows.size()) ||
        (program.egress_row != kNone && rows[program.egress_row].direction != 0))
      return out_of_bounds("programs", i, "egress_row");
    if (!index_or_none(program.ingress_row, rows.size()) ||
        (program.ingress_row != kNone && rows[program.ingress_row].direction != 1))
      return out_of_bounds("programs", i, "ingress_row");
  }
  return Ok{};
}

// After prefixes: cells name them.
Status Image::Tables::check_cells() const {
  for (size_t i = 0; i < identity_cells.elements.size(); ++i) {
    const layout::ImageIdentityCell& cell = identity_cells.elements[i];
    if (cell.row >= rows.size()) return out_of_bounds("identity_cells", i, "row");
    if (cell.identity >= identities.size()) return out_of_bounds("identity_cells", i, "identity");
    if (cell.port_set >= port_sets.size()) return out_of_bounds("identity_cells", i, "port_set");
  }
  Status held = check_hash(
      "identity_cells", identity_cells,
      [&](const auto& cell) { return image_hash(identity_cells.seed, cell.row, cell.identity); },
      [](const auto& a, const auto& b) { return a.row == b.row && a.identity == b.identity; });
  if (!held) return held;
  for (size_t i = 0; i < block_cells.elements.size(); ++i) {
    const layout::ImageBlockCell& cell = block_cells.elements[i];
    if (cell.row >= rows.size()) return out_of_bounds("block_cells", i, "row");
    if (cell.prefix >= prefixes.size()) return out_of_bounds("block_cells", i, "prefix");
    if (cell.port_set >= port_sets.size()) return out_of_bounds("block_cells", i, "port_set");
  }
  return check_hash(
      "block_cells", block_cells,
      [&](const auto& cell) { return image_hash(block_cells.seed, cell.row, cell.prefix); },
      [](const auto& a, const auto& b) { return a.row == b.row && a.prefix == b.prefix; });
}

// Tries, prefixes, classes and the addresses known exactly.
Status Image::Tables::check_peers() const {
  const std::array<uint8_t, 16> zero{};
  std::vector<bool> seen(prefixes.size(), false);
  size_t found = 0;
  if (Status held = check_trie(tries[0], prefixes, 96, Address::v4(0).bytes.data(), seen, found); !held)
    return held;
  if (Status held = check_trie(tries[1], prefixes, 0, zero.data(), seen, found); !held) return held;
  if (found != prefixes.size()) return image_refused("image-trie", "a prefix is in neither trie");
  // The chain of parents was compared with the trie, where each step is to a shallower node: it ends after
  // kMaxNesting at the latest.

  if (classes.size() < 1 + prefixes.size())
    return image_refused("image-order", "it has fewer classes than prefixes");
  for (size_t i = 0; i < classes.size(); ++i) {
    const layout::ImageClass& one = classes[i];
    if (!index_or_none(one.identity, identities.size())) return out_of_bounds("classes", i, "identity");
    if (!index_or_none(one.prefix, prefixes.size())) return out_of_bounds("classes", i, "prefix");
    if (i <= prefixes.size() && (one.identity != kNone || one.prefix != (i == 0 ? kNone : i - 1)))
      return image_refused("image-order",
                           "class " + std::to_string(i) + " is not the one that the format puts there");
  }

  for (size_t i = 0; i < addresses.elements.size(); ++i) {
    const layout::ImageAddress& one = addresses.elements[i];
    if (one.peer_class >= classes.size()) return out_of_bounds("addresses", i, "peer_class");
    const bool local = (one.flags & layout::kFlagLocal) != 0;
    if (local ? one.program >= programs.size() : one.program != kNone)
      return out_of_bounds("addresses", i, "program");
    constexpr uint32_t kKnown = layout::kFlagPod | layout::kFlagLocal | layout::kFlagOwnNode |
                                layout::kFlagOtherNode | layout::kFlagService | layout::kFlagForwarded;
    if ((one.flags & ~kKnown) != 0) return out_of_bounds("addresses", i, "flags");
  }
  return check_hash(
      "addresses", addresses,
      [&](const auto& one) { return image_hash_address(addresses.seed, one.address); },
      [](const auto& a, const auto& b) { return std::memcmp(a.address, b.address, 16) == 0; });
}

Status Image::Tables::check_services() const {
  const std::vector<uint32_t> runs = runs_of(backends);
  const auto ascends = [&](uint64_t first, uint32_t count) {
    return count == 0 || first + count <= runs[first];
  };
  for (size_t i = 0; i < service_sources.size(); ++i)
    if (service_sources[i].depth > 128) return out_of_bounds("service_sources", i, "depth");
  for (size_t i = 0; i < services.size(); ++i) {
    const layout::ImageService& one = services[i];
    if (!span_fits(one.name_offset, one.name_length, service_strings.size()))
      return image_refused("image-text",
                           "services[" + std::to_string(i) + "] has a name outside of the text section");
    if (one.kept_count > UINT32_MAX - one.backend_count ||
        !span_fits(one.first_backend, one.backend_count + one.kept_count, backends.size()))
      return out_of_bounds("services", i, "first_backend");
    if (!ascends(one.first_backend, one.backend_count) ||
        !ascends(uint64_t{one.first_backend} + one.backend_count, one.kept_count))
      return image_refused("image-order",
                           "the backends of services[" + std::to_string(i) + "] do not ascend");
    if (!span_fits(one.first_source, one.source_count, service_sources.size()))
      return out_of_bounds("services", i, "first_source");
    if (one.empty > 1 || one.reserved != 0) return out_of_bounds("services", i, "empty");
  }
  for (size_t i = 0; i < frontends.elements.size(); ++i)
    if (frontends.elements[i].service >= services.size()) return out_of_bounds("frontends", i, "service");
  return check_hash(
      "frontends", frontends,
      [&](const auto& one) {
        return image_hash_frontend(frontends.seed, one.protocol, one.port, one.address);
      },
      [](const auto& a, const auto& b) {
        return a.protocol == b.protocol && a.port == b.port && std::memcmp(a.address, b.address, 16) == 0;
      });
}

}  // namespace weft
