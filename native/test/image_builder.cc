#include "image_builder.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <bit>
#include <stdexcept>

namespace weft::test {
namespace {

using layout::Section;

uint32_t mix(uint32_t hash, uint32_t word) {
  return std::rotl(hash ^ (std::rotl(word * 0xcc9e2d51u, 15) * 0x1b873593u), 13) * 5 + 0xe6546b64u;
}
uint32_t finish(uint32_t hash, uint32_t words) {
  uint32_t h = hash ^ (4 * words);
  h = (h ^ (h >> 16)) * 0x85ebca6bu;
  h = (h ^ (h >> 13)) * 0xc2b2ae35u;
  return h ^ (h >> 16);
}
uint64_t checksum(const uint8_t* bytes, size_t length) {
  uint32_t low = 0x77656674, high = 0x696d6731, words = 0;
  const auto add = [&](uint32_t word) {
    low = mix(low, word);
    high = mix(high ^ 0x5bd1e995u, word);
    ++words;
  };
  for (size_t i = 0; i < length; i += 4) {
    uint32_t word = 0;
    std::memcpy(&word, bytes + i, std::min<size_t>(4, length - i));
    add(word);
  }
  add(static_cast<uint32_t>(length));
  return uint64_t{finish(high, words)} << 32 | finish(low, words);
}

template <class T>
std::vector<uint8_t> raw(const std::vector<T>& elements) {
  std::vector<uint8_t> out(elements.size() * sizeof(T));
  if (!out.empty()) std::memcpy(out.data(), elements.data(), out.size());
  return out;
}
// One bucket that holds all.
std::vector<uint8_t> one_bucket(size_t count) {
  if (count > layout::kMaxBucket) throw std::logic_error("a test image holds at most 32 of a kind");
  return raw(std::vector<layout::ImageWord>{{0}, {static_cast<uint32_t>(count)}});
}

}  // namespace

Address address(std::string_view text) {
  uint8_t bytes[16];
  const std::string copy(text);
  if (inet_pton(AF_INET, copy.c_str(), bytes) == 1) return Address::v4_from(bytes);
  if (inet_pton(AF_INET6, copy.c_str(), bytes) != 1) throw std::logic_error("not an address: " + copy);
  return Address::v6_from(bytes);
}

void ImageBuilder::know(std::string_view text, uint32_t peer_class, uint32_t program, uint32_t flags) {
  layout::ImageAddress one{};
  std::memcpy(one.address, address(text).bytes.data(), 16);
  one.peer_class = peer_class;
  one.program = program;
  one.flags = flags;
  addresses_.push_back(one);
}

uint32_t ImageBuilder::pod(const std::vector<std::string>& addresses, bool local) {
  const auto identity = static_cast<uint32_t>(pods_.size());
  pods_.push_back({local, local ? programs_++ : layout::kNone});
  for (const std::string& text : addresses)
    know(text, 1 + identity, pods_.back().program, layout::kFlagPod | (local ? layout::kFlagLocal : 0u));
  return identity;
}

void ImageBuilder::isolate(uint32_t identity, Direction direction, std::vector<Allow> allow) {
  if (!pods_.at(identity).local) throw std::logic_error("only pods of this node have a program");
  rows_.push_back({identity, direction, std::move(allow)});
}

void ImageBuilder::service(std::string_view frontend, uint16_t port, uint8_t protocol,
                           const Backends& backends, uint32_t affinity_seconds, const Terms& terms) {
  layout::ImageFrontend front{};
  std::memcpy(front.address, address(frontend).bytes.data(), 16);
  front.port = port;
  front.protocol = protocol;
  front.service = static_cast<uint32_t>(services_.size());
  frontends_.push_back(front);
  layout::ImageService one{};
  one.key = terms.key != 0 ? terms.key : 1000 + services_.size();
  one.first_backend = static_cast<uint32_t>(backends_.size());
  one.backend_count = static_cast<uint32_t>(backends.size());
  one.kept_count = static_cast<uint32_t>(terms.kept.size());
  one.affinity_seconds = affinity_seconds;
  one.first_source = static_cast<uint32_t>(sources_.size());
  one.source_count = static_cast<uint32_t>(terms.sources.size());
  one.empty = terms.drops ? 1 : 0;
  services_.push_back(one);
  for (const Backends& list : {backends, terms.kept}) {
    const size_t first = backends_.size();
    for (const auto& [text, target] : list) {
      layout::ImageBackend backend{};
      std::memcpy(backend.address, address(text).bytes.data(), 16);
      backend.port = target;
      backends_.push_back(backend);
    }
    std::sort(backends_.begin() + static_cast<ptrdiff_t>(first), backends_.end(),
              [](const layout::ImageBackend& a, const layout::ImageBackend& b) {
                const int order = std::memcmp(a.address, b.address, 16);
                return order != 0 ? order < 0 : a.port < b.port;
              });
  }
  for (const auto& [text, depth] : terms.sources) {
    layout::ImageSource source{};
    std::memcpy(source.base, address(text).bytes.data(), 16);
    source.depth = depth;
    sources_.push_back(source);
  }
  for (layout::ImageAddress& known : addresses_)
    if (std::memcmp(known.address, front.address, 16) == 0) return;
  know(frontend, 0, layout::kNone, layout::kFlagService);
}

std::vector<uint8_t> ImageBuilder::bytes() const {
  // Port sets: 0 is empty; then one for each (row, kind of peer), ranges sorted and disjoint.
  std::vector<layout::ImagePortSet> sets = {{layout::kNone, 0, 0}};
  std::vector<layout::ImagePortRange> ranges;
  std::vector<layout::ImageRule> rules;
  std::vector<layout::ImageRow> rows;
  std::vector<layout::ImageIdentityCell> cells;
  std::vector<layout::ImageWord> row_policies;
  std::vector<layout::ImageProgram> programs(programs_, {layout::kNone, layout::kNone});
  const auto add_set = [&](const Row& row, auto&& applies) -> uint32_t {
    layout::ImagePortSet set = {layout::kNone, static_cast<uint32_t>(ranges.size()), 0};
    std::vector<layout::ImagePortRange> own;
    for (const Allow& allow : row.allow) {
      if (!applies(allow.peer)) continue;
      if (allow.protocol == 0)
        set.any_rule = 0;
      else
        own.push_back({allow.first, allow.last, allow.protocol, 0, 0, 0});
    }
    std::sort(own.begin(), own.end(), [](const auto& a, const auto& b) {
      return std::pair(a.protocol, a.first) < std::pair(b.protocol, b.first);
    });
    set.range_count = static_cast<uint32_t>(own.size());
    if (set.any_rule == layout::kNone && own.empty()) return 0;
    ranges.insert(ranges.end(), own.begin(), own.end());
    sets.push_back(set);
    return static_cast<uint32_t>(sets.size() - 1);
  };
  for (const Row& row : rows_) {
    const auto index = static_cast<uint32_t>(rows.size());
    const auto to_everybody = [](uint32_t peer) { return peer == kEverybody; };
    layout::ImageRow made{};
    made.direction = static_cast<uint32_t>(row.direction);
    made.other_ports = add_set(row, [&](uint32_t peer) { return to_everybody(peer) || peer == kOutside; });
    made.pod_ports = add_set(row, [&](uint32_t peer) { return to_everybody(peer) || peer == kAnyPod; });
    made.first_policy = static_cast<uint32_t>(row_policies.size());
    made.policy_count = 1;
    row_policies.push_back({0});
    rows.push_back(made);
    for (uint32_t identity = 0; identity < pods_.size(); ++identity) {
      const bool named =
          std::any_of(row.allow.begin(), row.allow.end(), [&](const Allow& a) { return a.peer == identity; });
      if (!named) continue;
      const uint32_t set = add_set(
          row, [&](uint32_t peer) { return peer == identity || to_everybody(peer) || peer == kAnyPod; });
      cells.push_back({index, identity, set});
    }
    layout::ImageProgram& program = programs[pods_[row.identity].program];
    (row.direction == Direction::egress ? program.egress_row : program.ingress_row) = index;
  }
  const std::string text = "testpolicyfile";
  std::vector<layout::ImageIdentity> identities;
  std::vector<layout::ImageClass> classes = {{layout::kNone, layout::kNone}};
  for (uint32_t identity = 0; identity < pods_.size(); ++identity) {
    identities.push_back({identity + 1});
    classes.push_back({identity, layout::kNone});
  }
  layout::ImageTrieNode root{};
  root.prefix = root.child0 = root.child1 = layout::kNone;
  layout::ImageTrieNode root4 = root;
  root4.depth = 96;
  root4.key[10] = root4.key[11] = 0xff;

  std::vector<layout::ImageService> services = services_;
  std::string service_text;
  for (size_t i = 0; i < services.size(); ++i) {
    const std::string name = "test/service-" + std::to_string(100 + i);
    services[i].name_offset = static_cast<uint32_t>(service_text.size());
    services[i].name_length = static_cast<uint32_t>(name.size());
    service_text += name;
  }
  const auto as_bytes = [](const std::string& s) { return std::vector<uint8_t>(s.begin(), s.end()); };

  std::array<std::vector<uint8_t>, layout::kSectionCount> parts;
  const auto put = [&](Section section, std::vector<uint8_t> value) {
    parts[static_cast<size_t>(section)] = std::move(value);
  };
  put(Section::strings, as_bytes(text));
  put(Section::policies, raw(std::vector<layout::ImagePolicy>{{0, 4, 4, 6}}));
  put(Section::rules, raw(std::vector<layout::ImageRule>{{0, 0, 0, 1, 1, 10, 4}}));
  put(Section::port_sets, raw(sets));
  put(Section::port_ranges, raw(ranges));
  put(Section::row_policies, raw(row_policies));
  put(Section::rows, raw(rows));
  put(Section::programs, raw(programs));
  put(Section::identity_buckets, one_bucket(cells.size()));
  put(Section::identity_cells, raw(cells));
  put(Section::block_buckets, one_bucket(0));
  put(Section::identities, raw(identities));
  put(Section::classes, raw(classes));
  put(Section::trie4, raw(std::vector{root4}));
  put(Section::trie6, raw(std::vector{root}));
  put(Section::address_buckets, one_bucket(addresses_.size()));
  put(Section::addresses, raw(addresses_));
  put(Section::frontend_buckets, one_bucket(frontends_.size()));
  put(Section::frontends, raw(frontends_));
  put(Section::services, raw(services));
  put(Section::backends, raw(backends_));
  put(Section::service_sources, raw(sources_));
  put(Section::service_strings, as_bytes(service_text));

  const size_t head = sizeof(layout::ImageHeader) + layout::kSectionCount * sizeof(layout::ImageSection);
  std::vector<uint8_t> out(head);
  std::vector<layout::ImageSection> table;
  for (size_t i = 0; i < parts.size(); ++i) {
    out.resize((out.size() + layout::kCacheLine - 1) / layout::kCacheLine * layout::kCacheLine);
    const auto& part = parts[i];
    table.push_back({static_cast<uint32_t>(out.size()), static_cast<uint32_t>(part.size()),
                     layout::kElementSizes[i], static_cast<uint32_t>(part.size() / layout::kElementSizes[i]),
                     checksum(part.data(), part.size())});
    out.insert(out.end(), part.begin(), part.end());
  }
  layout::ImageHeader header{};
  std::memcpy(&header.magic, layout::kMagic.data(), 8);
  header.version = layout::kFormatVersion;
  header.header_size = static_cast<uint32_t>(head);
  header.total_size = static_cast<uint32_t>(out.size());
  header.section_count = layout::kSectionCount;
  header.own_node_egress = judge_own_node;
  header.deny_egress = reject_egress;
  header.deny_ingress = reject_ingress;
  std::memcpy(out.data(), &header, sizeof(header));
  std::memcpy(out.data() + sizeof(header), table.data(), table.size() * sizeof(layout::ImageSection));
  header.checksum = checksum(out.data(), head);
  std::memcpy(out.data(), &header, sizeof(header));
  return out;
}

std::shared_ptr<const Image> ImageBuilder::load() const {
  Result<std::unique_ptr<Image>> loaded = Image::load(bytes());
  if (!loaded) throw std::logic_error(loaded.error().code + ": " + loaded.error().message);
  return std::move(loaded).value();
}

}  // namespace weft::test
