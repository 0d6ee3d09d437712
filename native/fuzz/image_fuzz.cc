// The image loader and everything that trusts it. An input is an image as an attacker who holds the file
// would write it: the checksums are put right first (they stop damage, not malice), so that the checks behind
// them are what is tested. Whatever loads is then asked every question there is; a loader that let something
// through shows as a crash of the lookup.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "generated/layout.h"
#include "policy/hash.h"
#include "policy/image.h"

namespace {

using namespace weft;

constexpr size_t kHead = sizeof(layout::ImageHeader) + layout::kSectionCount * sizeof(layout::ImageSection);

void put_right(std::vector<uint8_t>& bytes) {
  if (bytes.size() < kHead) return;
  layout::ImageHeader header;
  std::memcpy(&header, bytes.data(), sizeof(header));
  std::memcpy(&header.magic, layout::kMagic.data(), sizeof(header.magic));
  header.version = layout::kFormatVersion;
  header.header_size = kHead;
  header.section_count = layout::kSectionCount;
  header.total_size = static_cast<uint32_t>(bytes.size());
  header.checksum = 0;
  for (size_t i = 0; i < layout::kSectionCount; ++i) {
    uint8_t* at = bytes.data() + sizeof(header) + i * sizeof(layout::ImageSection);
    layout::ImageSection entry;
    std::memcpy(&entry, at, sizeof(entry));
    if (entry.offset <= bytes.size() && entry.size <= bytes.size() - entry.offset)
      entry.checksum = image_checksum(bytes.data() + entry.offset, entry.size);
    std::memcpy(at, &entry, sizeof(entry));
  }
  std::memcpy(bytes.data(), &header, sizeof(header));
  header.checksum = image_checksum(bytes.data(), kHead);
  std::memcpy(bytes.data(), &header, sizeof(header));
}

size_t read_all(std::string_view text) {
  size_t sum = 0;
  for (const char c : text) sum += static_cast<uint8_t>(c);
  return sum;
}

// Every answer must be in bounds: what an answer points at is asked for in turn.
void ask_everything(const Image& image, const std::vector<uint8_t>& bytes) {
  size_t sink = 0;
  const auto check = [](bool holds) {
    if (!holds) std::abort();
  };
  const auto ask_address = [&](const Address& address) {
    for (const uint8_t family : {uint8_t{4}, uint8_t{6}}) {
      const Image::Classification one = image.classify(address, family);
      check(one.peer_class < image.class_count());
      check(one.program == kNoProgram || one.program < image.program_count());
    }
    Service service;
    for (const uint16_t port : {uint16_t{0}, uint16_t{80}, uint16_t{30080}})
      if (image.services().find(6, address, port, service)) check(service.id < image.services().count());
  };
  // Addresses that stand in the image are the ones that lead anywhere; every 16 bytes of it are taken for
  // one.
  const size_t step = std::max<size_t>(4, bytes.size() / 512 / 4 * 4);
  for (size_t at = 0; at + 16 <= bytes.size(); at += step) ask_address(Address::v6_from(bytes.data() + at));
  ask_address(Address::v4(0x0a000001));
  ask_address(Address{});

  const uint32_t programs = std::min(image.program_count(), 64u);
  const uint32_t classes = std::min(image.class_count(), 64u);
  for (uint32_t program = 0; program < programs; ++program) {
    for (const Direction direction : {Direction::egress, Direction::ingress}) {
      for (const uint32_t policy : image.isolating(program, direction)) {
        check(policy < image.policy_count());
        sink += read_all(image.policy(policy).name) + read_all(image.policy(policy).policy_namespace);
      }
      check(image.isolated(program, direction) == !image.isolating(program, direction).empty());
      for (uint32_t peer = 0; peer < classes; ++peer) {
        const uint32_t identity = image.class_identity(peer);
        if (identity != kNoIdentity) sink += image.identity_hash(identity);
        for (const uint8_t protocol : {uint8_t{1}, uint8_t{6}, uint8_t{17}, uint8_t{132}}) {
          for (const uint16_t port : {uint16_t{0}, uint16_t{53}, uint16_t{80}, uint16_t{65535}}) {
            const Image::Verdict verdict = image.judge(program, direction, peer, protocol, port);
            check(verdict.rule == kNoRule || (verdict.allowed && verdict.rule < image.rule_count()));
          }
        }
      }
    }
  }
  for (uint32_t i = 0; i < std::min(image.rule_count(), 256u); ++i) {
    const Image::Rule rule = image.rule(i);
    check(rule.policy < image.policy_count());
    sink += read_all(rule.file);
  }
  for (uint32_t i = 0; i < std::min(image.services().count(), 256u); ++i) {
    const Service service = image.services().at(i);
    sink += read_all(service.name);
    for (const Backend& backend : service.backends) sink += backend.port + backend.address.bytes[15];
  }
  [[maybe_unused]] static volatile size_t keep;
  keep = sink;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::vector<uint8_t> bytes(data, data + size);
  for (const bool repaired : {false, true}) {
    if (repaired) put_right(bytes);
    const auto image = weft::Image::load(bytes);
    if (image.ok()) ask_everything(*image.value(), bytes);
  }
  return 0;
}
