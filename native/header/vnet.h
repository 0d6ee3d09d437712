// The 10-byte virtio_net_hdr that a TAP puts in front of each frame (legacy layout, native byte order, no
// num_buffers: that field belongs to the 12-byte form, which weft does not ask for). Written out here because
// only io/ may include kernel headers.
#pragma once

#include <cstdint>
#include <cstring>

namespace weft {

struct VnetHeader {
  uint8_t flags = 0;
  uint8_t gso_type = 0;
  uint16_t hdr_len = 0;      // bytes of headers in front of the first payload byte; a hint
  uint16_t gso_size = 0;     // payload bytes of each segment
  uint16_t csum_start = 0;   // from the start of the frame
  uint16_t csum_offset = 0;  // from csum_start

  static constexpr uint8_t kNeedsChecksum = 1;
  static constexpr uint8_t kDataValid = 2;

  static constexpr uint8_t kGsoNone = 0;
  static constexpr uint8_t kGsoTcp4 = 1;
  static constexpr uint8_t kGsoUfo = 3;  // UDP fragmentation offload: refused
  static constexpr uint8_t kGsoTcp6 = 4;
  static constexpr uint8_t kGsoUdp = 5;     // UDP segmentation (USO), both families
  static constexpr uint8_t kGsoEcn = 0x80;  // a flag on the TCP types: CWR is set

  [[nodiscard]] uint8_t gso_kind() const { return static_cast<uint8_t>(gso_type & ~kGsoEcn); }

  friend bool operator==(const VnetHeader&, const VnetHeader&) = default;
};
static_assert(sizeof(VnetHeader) == 10);

[[nodiscard]] inline VnetHeader load_vnet(const uint8_t* p) {
  VnetHeader header;
  std::memcpy(&header, p, sizeof header);
  return header;
}
inline void store_vnet(uint8_t* p, const VnetHeader& header) {
  std::memcpy(p, &header, sizeof header);
}

}  // namespace weft
