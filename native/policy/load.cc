// Reading an image that nobody vouches for: the copy, its frame, and its sections as spans. What is in the
// sections is checked in check.cc.
#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <vector>

#include "policy/hash.h"
#include "policy/image.h"
#include "policy/tables.h"

namespace weft {

namespace {

using layout::ElementOf;
using layout::Section;

struct SectionTable {
  std::array<layout::ImageSection, layout::kSectionCount> entries;
};

template <Section S>
std::span<const typename ElementOf<S>::type> view(const ImageBuffer& buffer, const SectionTable& table) {
  using Element = typename ElementOf<S>::type;
  const layout::ImageSection& entry = table.entries[static_cast<size_t>(S)];
  return {reinterpret_cast<const Element*>(buffer.data() + entry.offset), entry.count};
}

// Header and section table: sizes, order, alignment, checksums. Sections do not overlap and the bytes between
// them are zero, so that every byte of an image is either checked or known.
Status check_frame(const ImageBuffer& buffer, layout::ImageHeader& header, SectionTable& table) {
  constexpr size_t kHead = sizeof(layout::ImageHeader) + sizeof(SectionTable);
  const uint8_t* bytes = buffer.data();
  if (buffer.size() < kHead)
    return image_refused("image-size",
                         "it has " + std::to_string(buffer.size()) + " bytes, less than a header");
  std::memcpy(&header, bytes, sizeof(header));
  if (std::memcmp(bytes, layout::kMagic.data(), layout::kMagic.size()) != 0)
    return image_refused("image-magic", "it does not begin with the magic bytes of an image");
  if (header.version != layout::kFormatVersion)
    return image_refused("image-version", "its format is version " + std::to_string(header.version) +
                                              ", this switch reads version " +
                                              std::to_string(layout::kFormatVersion));
  if (header.header_size != kHead || header.section_count != layout::kSectionCount)
    return image_refused("image-section", "its section table has not the size of this format");
  if (header.total_size != buffer.size())
    return image_refused("image-size", "its header says " + std::to_string(header.total_size) +
                                           " bytes and " + std::to_string(buffer.size()) + " came");
  std::vector<uint8_t> head(bytes, bytes + kHead);
  std::memset(head.data() + offsetof(layout::ImageHeader, checksum), 0, sizeof(header.checksum));
  if (image_checksum(head.data(), head.size()) != header.checksum)
    return image_refused("image-checksum", "the checksum of its header does not hold");
  if (header.own_node_egress > 1 || header.deny_egress > 1 || header.deny_ingress > 1 ||
      header.reserved0 != 0 || header.reserved1 != 0)
    return image_refused("image-bounds",
                         "a setting in its header has a value that this format does not know");

  std::memcpy(table.entries.data(), bytes + sizeof(header), sizeof(table));
  size_t end = kHead;
  for (size_t i = 0; i < table.entries.size(); ++i) {
    const layout::ImageSection& entry = table.entries[i];
    const std::string name = layout::kSectionNames[i];
    if (entry.offset % layout::kCacheLine != 0 || entry.offset < end || entry.offset > buffer.size() ||
        entry.size > buffer.size() - entry.offset)
      return image_refused("image-section", "section " + name + " lies outside of the image or over another");
    if (entry.element_size != layout::kElementSizes[i] ||
        uint64_t{entry.count} * entry.element_size != entry.size)
      return image_refused("image-section",
                           "section " + name + " does not hold whole elements of this format");
    if (!zeros(bytes + end, bytes + entry.offset))
      return image_refused("image-section", "there are bytes between its sections");
    if (image_checksum(bytes + entry.offset, entry.size) != entry.checksum)
      return image_refused("image-checksum", "the checksum of section " + name + " does not hold");
    end = entry.offset + entry.size;
  }
  if (!zeros(bytes + end, bytes + buffer.size()))
    return image_refused("image-section", "there are bytes behind its last section");
  return Ok{};
}

}  // namespace

Error image_refused(const char* code, std::string what) {
  return {code, "The policy image is refused: " + std::move(what) + ". The agent has to compile it again.",
          0};
}

Status Image::Tables::adopt() {
  layout::ImageHeader header;
  SectionTable table;
  if (Status frame = check_frame(buffer, header, table); !frame) return frame;
  map(header, table.entries);
  for (const auto check : {&Tables::check_rules, &Tables::check_rows, &Tables::check_peers,
                           &Tables::check_cells, &Tables::check_services})
    if (Status held = (this->*check)(); !held) return held;
  return Ok{};
}

// Nothing is believed yet beyond that the sections lie in the copy.
void Image::Tables::map(const layout::ImageHeader& header,
                        const std::array<layout::ImageSection, layout::kSectionCount>& entries) {
  const SectionTable table{entries};
  own_node_egress_judged = header.own_node_egress != 0;
  deny[static_cast<size_t>(Direction::egress)] = static_cast<DenyAction>(header.deny_egress);
  deny[static_cast<size_t>(Direction::ingress)] = static_cast<DenyAction>(header.deny_ingress);
  strings = view<Section::strings>(buffer, table);
  policies = view<Section::policies>(buffer, table);
  rules = view<Section::rules>(buffer, table);
  port_sets = view<Section::port_sets>(buffer, table);
  port_ranges = view<Section::port_ranges>(buffer, table);
  row_policies = view<Section::row_policies>(buffer, table);
  rows = view<Section::rows>(buffer, table);
  programs = view<Section::programs>(buffer, table);
  identity_cells = {view<Section::identity_buckets>(buffer, table),
                    view<Section::identity_cells>(buffer, table), header.identity_cell_seed};
  block_cells = {view<Section::block_buckets>(buffer, table), view<Section::block_cells>(buffer, table),
                 header.block_cell_seed};
  identities = view<Section::identities>(buffer, table);
  prefixes = view<Section::prefixes>(buffer, table);
  classes = view<Section::classes>(buffer, table);
  tries[0] = view<Section::trie4>(buffer, table);
  tries[1] = view<Section::trie6>(buffer, table);
  addresses = {view<Section::address_buckets>(buffer, table), view<Section::addresses>(buffer, table),
               header.address_seed};
  frontends = {view<Section::frontend_buckets>(buffer, table), view<Section::frontends>(buffer, table),
               header.frontend_seed};
  services = view<Section::services>(buffer, table);
  backends = view<Section::backends>(buffer, table);
  service_sources = view<Section::service_sources>(buffer, table);
  service_strings = view<Section::service_strings>(buffer, table);
}

Result<std::unique_ptr<Image>> Image::load(std::span<const uint8_t> bytes) {
  if (bytes.size() > layout::kMaxImageSize)
    return image_refused("image-size", "it is larger than an image can be");
  auto tables = std::make_unique<Tables>(bytes.size());
  if (tables->buffer.data() == nullptr) return image_refused("image-size", "there is no memory for it");
  if (!bytes.empty()) std::memcpy(tables->buffer.data(), bytes.data(), bytes.size());
  Status held = tables->adopt();
  if (!held) return held.error();
  return std::unique_ptr<Image>(new Image(std::move(tables)));
}

}  // namespace weft
