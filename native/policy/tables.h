// The sections of a loaded image as typed spans over its private copy. Internal to policy/: load.cc maps
// them, check.cc validates them, image.cc looks up in them; the comment beside each span says what the
// validation promises.
#pragma once

#include <algorithm>
#include <array>
#include <memory>
#include <new>
#include <span>
#include <string>

#include "generated/layout.h"
#include "policy/image.h"

namespace weft {

// Owns the copy, aligned so that every element may be read in place.
class ImageBuffer {
 public:
  // data() is null where there is no memory for it.
  explicit ImageBuffer(size_t size)
      : bytes_(
            static_cast<uint8_t*>(::operator new(size, std::align_val_t{layout::kCacheLine}, std::nothrow))),
        size_(size) {}
  ~ImageBuffer() { ::operator delete(bytes_, std::align_val_t{layout::kCacheLine}); }
  ImageBuffer(const ImageBuffer&) = delete;
  ImageBuffer& operator=(const ImageBuffer&) = delete;
  [[nodiscard]] uint8_t* data() { return bytes_; }
  [[nodiscard]] const uint8_t* data() const { return bytes_; }
  [[nodiscard]] size_t size() const { return size_; }

 private:
  uint8_t* bytes_;
  size_t size_;
};

// buckets.size() is a power of two plus one; it ascends from 0 to elements.size(); every element lies in the
// bucket that its hash names; no bucket is longer than kMaxBucket; no key is there twice.
template <class Element>
struct HashTable {
  std::span<const layout::ImageWord> buckets;
  std::span<const Element> elements;
  uint32_t seed = 0;

  [[nodiscard]] std::span<const Element> bucket(uint32_t hash) const noexcept {
    const size_t index = hash & (buckets.size() - 2);
    const uint32_t begin = buckets[index].value;
    return elements.subspan(begin, buckets[index + 1].value - begin);
  }
};

// `what`: a clause without its full stop.
Error image_refused(const char* code, std::string what);

inline bool zeros(const uint8_t* begin, const uint8_t* end) {
  return std::all_of(begin, end, [](uint8_t byte) { return byte == 0; });
}

struct Image::Tables {
  explicit Tables(size_t size) : buffer(size) {}

  ImageBuffer buffer;
  bool own_node_egress_judged = false;
  DenyAction deny[2] = {DenyAction::drop, DenyAction::drop};  // by Direction

  std::span<const layout::ImageText> strings;
  std::span<const layout::ImagePolicy> policies;  // texts in bounds
  std::span<const layout::ImageRule> rules;       // policy < policies, direction 0 or 1, text in bounds
  std::span<const layout::ImagePortSet>
      port_sets;  // at least one, the first empty; ranges in bounds; any_rule < rules or none
  std::span<const layout::ImagePortRange>
      port_ranges;  // first <= last, rule < rules; sorted and disjoint within a set
  std::span<const layout::ImageWord> row_policies;      // < policies
  std::span<const layout::ImageRow> rows;               // direction 0 or 1; port sets and policies in bounds
  std::span<const layout::ImageProgram> programs;       // rows < rows and of that direction, or none
  HashTable<layout::ImageIdentityCell> identity_cells;  // row, identity and port set in bounds
  HashTable<layout::ImageBlockCell> block_cells;        // row, prefix and port set in bounds
  std::span<const layout::ImageIdentity> identities;
  std::span<const layout::ImagePrefix> prefixes;  // parent < own index, or none; so every chain ends
  std::span<const layout::ImageClass>
      classes;  // identity, prefix in bounds; the first 1 + prefixes are as the layout says
  std::span<const layout::ImageTrieNode>
      tries[2];  // IPv4, IPv6: a root; children follow and are deeper; prefix in bounds
  HashTable<layout::ImageAddress> addresses;       // class in bounds; program in bounds exactly when local
  HashTable<layout::ImageFrontend> frontends;      // service in bounds
  std::span<const layout::ImageService> services;  // text, backends and sources in bounds; backends ascend
  std::span<const layout::ImageBackend> backends;
  std::span<const layout::ImageSource> service_sources;  // depth at most 128
  std::span<const layout::ImageText> service_strings;

  // Sets and validates everything above; else the code and sentence of the first thing that does not hold.
  Status adopt();

 private:
  void map(const layout::ImageHeader& header,
           const std::array<layout::ImageSection, layout::kSectionCount>& entries);
  // Each relies on those that adopt() runs before it.
  [[nodiscard]] Status check_rules() const;
  [[nodiscard]] Status check_rows() const;
  [[nodiscard]] Status check_peers() const;
  [[nodiscard]] Status check_cells() const;
  [[nodiscard]] Status check_services() const;
};

}  // namespace weft
