// The image loader and its lookups, against answers that the TypeScript decoder gave for the same bytes, and
// against images that were spoiled on purpose, one property at a time.
#include <doctest/doctest.h>

#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "generated/layout.h"
#include "generated/policy_fixture.h"
#include "policy/hash.h"
#include "policy/image.h"

namespace weft {
namespace {

using layout::Section;
using Bytes = std::vector<uint8_t>;

Bytes fixture_bytes() {
  return {std::begin(fixture::kImage), std::end(fixture::kImage)};
}

std::unique_ptr<Image> load_fixture() {
  auto image = Image::load(fixture_bytes());
  REQUIRE_MESSAGE(image.ok(), (image.ok() ? "" : image.error().message));
  return std::move(image).value();
}

template <class T>
T read(const Bytes& bytes, size_t at) {
  T value;
  REQUIRE(at + sizeof(T) <= bytes.size());
  std::memcpy(&value, bytes.data() + at, sizeof(T));
  return value;
}

template <class T>
void write(Bytes& bytes, size_t at, const T& value) {
  REQUIRE(at + sizeof(T) <= bytes.size());
  std::memcpy(bytes.data() + at, &value, sizeof(T));
}

constexpr size_t entry_at(Section section) {
  return sizeof(layout::ImageHeader) + static_cast<size_t>(section) * sizeof(layout::ImageSection);
}

// Checksums as they should be, so that what is behind them is tested.
void put_right(Bytes& bytes) {
  constexpr size_t kHead = sizeof(layout::ImageHeader) + layout::kSectionCount * sizeof(layout::ImageSection);
  for (uint32_t i = 0; i < layout::kSectionCount; ++i) {
    auto entry = read<layout::ImageSection>(bytes, entry_at(static_cast<Section>(i)));
    if (entry.offset <= bytes.size() && entry.size <= bytes.size() - entry.offset)
      entry.checksum = image_checksum(bytes.data() + entry.offset, entry.size);
    write(bytes, entry_at(static_cast<Section>(i)), entry);
  }
  auto header = read<layout::ImageHeader>(bytes, 0);
  header.checksum = 0;
  write(bytes, 0, header);
  header.checksum = image_checksum(bytes.data(), kHead);
  write(bytes, 0, header);
}

// Changes element `index` of a section.
template <Section S>
void change(Bytes& bytes, size_t index,
            const std::function<void(typename layout::ElementOf<S>::type&)>& how) {
  using Element = typename layout::ElementOf<S>::type;
  const auto entry = read<layout::ImageSection>(bytes, entry_at(S));
  REQUIRE(index < entry.count);
  const size_t at = entry.offset + index * sizeof(Element);
  auto element = read<Element>(bytes, at);
  how(element);
  write(bytes, at, element);
}

template <Section S>
uint32_t count_of(const Bytes& bytes) {
  return read<layout::ImageSection>(bytes, entry_at(S)).count;
}

}  // namespace

TEST_CASE("an image knows the bytes that it was loaded from") {
  const auto image = load_fixture();
  Bytes bytes = fixture_bytes();
  CHECK(image->holds(bytes));
  bytes.back() ^= 1;
  CHECK_FALSE(image->holds(bytes));
  bytes.back() ^= 1;
  bytes.push_back(0);
  CHECK_FALSE(image->holds(bytes));
  CHECK_FALSE(image->holds({}));
}

TEST_CASE("addresses are classified as the decoder does") {
  const auto image = load_fixture();
  for (const fixture::KnownAddress& expected : fixture::kAddresses) {
    const Address address = Address::v6_from(expected.address);
    CAPTURE(to_string(address));
    const Image::Classification actual = image->classify(address, expected.family);
    CHECK(actual.peer_class == expected.peer_class);
    CHECK(actual.program == expected.program);
    CHECK(actual.flags == expected.flags);
  }
}

TEST_CASE("flows are judged as the decoder does, down to the rule") {
  const auto image = load_fixture();
  size_t allowed = 0;
  size_t different = 0;
  for (const fixture::Verdict& expected : fixture::kVerdicts) {
    const Image::Verdict actual = image->judge(expected.program, static_cast<Direction>(expected.direction),
                                               expected.peer_class, expected.protocol, expected.port);
    allowed += actual.allowed ? 1 : 0;
    different += actual.allowed != expected.allowed || actual.rule != expected.rule ? 1 : 0;
  }
  CHECK(different == 0);
  CHECK(allowed > 0);
  CHECK(allowed < std::size(fixture::kVerdicts));
}

TEST_CASE("an image says who decided and who isolates") {
  const auto image = load_fixture();
  const Image::Classification web = image->classify(Address::v4(0x0a000001), 4);
  const Image::Classification db = image->classify(Address::v4(0x0a000002), 4);
  const Image::Verdict verdict = image->judge(db.program, Direction::ingress, web.peer_class, 6, 5432);
  REQUIRE(verdict.allowed);
  const Image::Rule rule = image->rule(verdict.rule);
  CHECK(image->policy(rule.policy).policy_namespace == "shop");
  CHECK(image->policy(rule.policy).name == "db");
  CHECK(rule.direction == Direction::ingress);
  CHECK(rule.index == 0);
  CHECK(rule.file == "shop.yaml");
  CHECK(rule.line == 12);
  CHECK(rule.column == 5);
  CHECK(image->isolating(db.program, Direction::ingress).size() == 1);
  CHECK(image->isolating(web.program, Direction::ingress).empty());
  CHECK(image->isolated(web.program, Direction::egress));
  CHECK_FALSE(image->isolated(web.program, Direction::ingress));
  // Not isolated: allowed without a rule.
  const Image::Verdict open = image->judge(web.program, Direction::ingress, 0, 1, 0);
  CHECK(open.allowed);
  CHECK(open.rule == kNoRule);
  CHECK(image->class_identity(0) == kNoIdentity);
  CHECK(image->class_identity(db.peer_class) != kNoIdentity);
}

TEST_CASE("settings are those of the world") {
  const auto image = load_fixture();
  CHECK(image->own_node_egress_judged());
  CHECK(image->deny_action(Direction::egress) == DenyAction::drop);
  CHECK(image->deny_action(Direction::ingress) == DenyAction::reject);
}

TEST_CASE("services are found by protocol, address and port") {
  const auto image = load_fixture();
  Service service;
  REQUIRE(image->services().find(6, Address::v4(0x0a60000a), 80, service));
  CHECK(service.name == "shop/web:http/TCP/4");
  CHECK(service.affinity_seconds == 600);
  REQUIRE(service.backends.size() == 2);
  CHECK(service.backends[0].address == Address::v4(0x0a000001));
  CHECK(service.backends[0].port == 8080);
  CHECK(service.backends[1].address == Address::v4(0x0a000101));
  CHECK(service.backends[1].port == 8081);
  Service by_node_port;
  REQUIRE(image->services().find(6, Address::v4(0xc0a80002), 30080, by_node_port));
  CHECK(by_node_port.key == service.key);
  CHECK_FALSE(image->services().find(17, Address::v4(0x0a60000a), 80, service));
  CHECK_FALSE(image->services().find(6, Address::v4(0x0a60000a), 81, service));
  Service empty;
  REQUIRE(image->services().find(17, Address::v4(0x0a60000b), 53, empty));
  CHECK(empty.backends.empty());
}

TEST_CASE("an image with any one bit changed is refused") {
  const Bytes original = fixture_bytes();
  size_t accepted = 0;
  for (size_t at = 0; at < original.size(); ++at) {
    Bytes bytes = original;
    bytes[at] = static_cast<uint8_t>(bytes[at] ^ (1u << (at % 8)));
    if (Image::load(bytes).ok()) ++accepted;
  }
  CHECK(accepted == 0);
}

TEST_CASE("an image cut short anywhere is refused") {
  const Bytes original = fixture_bytes();
  for (size_t size = 0; size < original.size(); size += 7)
    CHECK_FALSE(Image::load({original.data(), size}).ok());
}

TEST_CASE("an image that does not hold together is refused for what is wrong with it") {
  struct Case {
    const char* name;
    const char* code;
    std::function<void(Bytes&)> spoil;
  };
  const Case cases[] = {
      {"another magic", "image-magic", [](Bytes& b) { b[0] = 'x'; }},
      {"another version", "image-version", [](Bytes& b) { b[offsetof(layout::ImageHeader, version)] = 9; }},
      {"bytes behind the end", "image-size", [](Bytes& b) { b.push_back(0); }},
      {"an unknown setting", "image-bounds",
       [](Bytes& b) { b[offsetof(layout::ImageHeader, deny_egress)] = 2; }},
      {"a section beyond the end", "image-section",
       [](Bytes& b) {
         auto entry = read<layout::ImageSection>(b, entry_at(Section::services));
         entry.offset = 0x7fffffc0;
         write(b, entry_at(Section::services), entry);
       }},
      {"a section over another", "image-section",
       [](Bytes& b) {
         auto entry = read<layout::ImageSection>(b, entry_at(Section::rows));
         entry.offset = read<layout::ImageSection>(b, entry_at(Section::policies)).offset;
         write(b, entry_at(Section::rows), entry);
       }},
      {"a count that overflows", "image-section",
       [](Bytes& b) {
         auto entry = read<layout::ImageSection>(b, entry_at(Section::rules));
         entry.count = 0xffffffff;
         write(b, entry_at(Section::rules), entry);
       }},
      {"a policy name outside of the text", "image-text",
       [](Bytes& b) { change<Section::policies>(b, 0, [](auto& p) { p.name_length = 0xffffffff; }); }},
      {"a rule of no policy", "image-bounds",
       [](Bytes& b) { change<Section::rules>(b, 0, [](auto& r) { r.policy = 77; }); }},
      {"a first port set that allows", "image-order",
       [](Bytes& b) { change<Section::port_sets>(b, 0, [](auto& s) { s.any_rule = 0; }); }},
      {"a port set of ranges that are not there", "image-bounds",
       [](Bytes& b) { change<Section::port_sets>(b, 1, [](auto& s) { s.range_count = 0xffffffff; }); }},
      {"a range that ends before it begins", "image-order",
       [](Bytes& b) {
         change<Section::port_ranges>(b, 0, [](auto& r) {
           r.first = 9;
           r.last = 8;
         });
       }},
      {"a row with ports that are not there", "image-bounds",
       [](Bytes& b) { change<Section::rows>(b, 0, [](auto& r) { r.pod_ports = 0xffffffff; }); }},
      {"a row that nothing isolates", "image-bounds",
       [](Bytes& b) { change<Section::rows>(b, 0, [](auto& r) { r.policy_count = 0; }); }},
      {"a program with the other direction's row", "image-bounds",
       [](Bytes& b) {
         change<Section::programs>(b, 0, [](auto& p) { std::swap(p.egress_row, p.ingress_row); });
       }},
      {"a cell of an identity that is not there", "image-bounds",
       [](Bytes& b) { change<Section::identity_cells>(b, 0, [](auto& c) { c.identity = 1000; }); }},
      {"a cell in the wrong bucket or twice", "image-hash",
       [](Bytes& b) {
         const auto entry = read<layout::ImageSection>(b, entry_at(Section::identity_cells));
         const auto first = read<layout::ImageIdentityCell>(b, entry.offset);
         change<Section::identity_cells>(b, 1, [&](auto& c) { c = first; });
       }},
      {"buckets that do not begin at 0", "image-hash",
       [](Bytes& b) { change<Section::address_buckets>(b, 0, [](auto& w) { w.value = 1; }); }},
      {"buckets that run past the end", "image-hash",
       [](Bytes& b) { change<Section::address_buckets>(b, 1, [](auto& w) { w.value = 0x7fffffff; }); }},
      {"buckets that do not cover the elements", "image-hash",
       [](Bytes& b) {
         change<Section::address_buckets>(b, count_of<Section::address_buckets>(b) - 1,
                                          [](auto& w) { w.value -= 1; });
       }},
      {"a trie whose child is its parent", "image-trie",
       [](Bytes& b) { change<Section::trie4>(b, 0, [](auto& n) { n.child1 = 0; }); }},
      {"a trie with a child that is not there", "image-trie",
       [](Bytes& b) { change<Section::trie4>(b, 0, [](auto& n) { n.child1 = 0x7fffffff; }); }},
      {"a trie node that nothing leads to", "image-trie",
       [](Bytes& b) {
         change<Section::trie4>(b, 0, [](auto& n) {
           n.child0 = layout::kNone;
           n.child1 = layout::kNone;
         });
       }},
      {"a trie node deeper than an address", "image-trie",
       [](Bytes& b) { change<Section::trie6>(b, 1, [](auto& n) { n.depth = 129; }); }},
      {"a trie root of the other family", "image-trie",
       [](Bytes& b) { change<Section::trie4>(b, 0, [](auto& n) { n.depth = 0; }); }},
      {"a prefix that is its own parent", "image-trie",
       [](Bytes& b) { change<Section::prefixes>(b, 1, [](auto& p) { p.parent = 1; }); }},
      {"a first class that is a pod's", "image-order",
       [](Bytes& b) { change<Section::classes>(b, 0, [](auto& c) { c.identity = 0; }); }},
      {"an address of no class", "image-bounds",
       [](Bytes& b) { change<Section::addresses>(b, 0, [](auto& e) { e.peer_class = 0xfffffffe; }); }},
      {"a local pod without a program", "image-bounds",
       [](Bytes& b) {
         for (uint32_t i = 0; i < count_of<Section::addresses>(b); ++i)
           change<Section::addresses>(b, i, [](auto& e) {
             if ((e.flags & layout::kFlagLocal) != 0) e.program = layout::kNone;
           });
       }},
      {"a program for an address that is not local", "image-bounds",
       [](Bytes& b) {
         for (uint32_t i = 0; i < count_of<Section::addresses>(b); ++i)
           change<Section::addresses>(b, i, [](auto& e) {
             if ((e.flags & layout::kFlagLocal) == 0) e.program = 0;
           });
       }},
      {"a service with backends that are not there", "image-bounds",
       [](Bytes& b) { change<Section::services>(b, 0, [](auto& s) { s.backend_count = 0x10000; }); }},
      {"a service that keeps endpoints that are not there", "image-bounds",
       [](Bytes& b) { change<Section::services>(b, 0, [](auto& s) { s.kept_count = 0xffffffff; }); }},
      {"a service with source ranges that are not there", "image-bounds",
       [](Bytes& b) { change<Section::services>(b, 0, [](auto& s) { s.source_count = 9; }); }},
      {"a service that does neither when it is empty", "image-bounds",
       [](Bytes& b) { change<Section::services>(b, 0, [](auto& s) { s.empty = 2; }); }},
      {"backends that do not ascend", "image-order",
       [](Bytes& b) {
         change<Section::services>(b, 0, [](auto& s) {
           s.first_backend = 0;
           s.backend_count = 2;
           s.kept_count = 0;
         });
         change<Section::backends>(b, 0, [](auto& one) { std::memset(one.address, 0xff, 16); });
       }},
      {"a frontend of no service", "image-bounds",
       [](Bytes& b) { change<Section::frontends>(b, 0, [](auto& f) { f.service = 99; }); }},
  };
  for (const Case& one : cases) {
    CAPTURE(one.name);
    Bytes bytes = fixture_bytes();
    one.spoil(bytes);
    put_right(bytes);
    const auto image = Image::load(bytes);
    REQUIRE_FALSE(image.ok());
    CHECK(image.error().code == one.code);
    CHECK(image.error().message.find("refused") != std::string::npos);
  }
}

TEST_CASE("an image is validated in a copy, so that its writer cannot change it afterwards") {
  Bytes bytes = fixture_bytes();
  const auto loaded = Image::load(bytes);
  REQUIRE(loaded.ok());
  std::fill(bytes.begin(), bytes.end(), uint8_t{0xff});
  const Image::Classification web = loaded.value()->classify(Address::v4(0x0a000001), 4);
  CHECK((web.flags & kAddressLocal) != 0);
}

}  // namespace weft
