#include "packet/fragmenter.h"

#include <algorithm>
#include <cstring>

#include "base/bytes.h"
#include "packet/checksum.h"

namespace weft {

uint32_t Fragmenter::next(std::span<uint8_t> out) {
  const uint32_t total = packet_.length - packet_.l4_offset;
  if (done_ >= total) return 0;
  const uint32_t length = std::min(chunk_, total - done_);
  const uint32_t frame_length = packet_.l4_offset + length;
  if (out.size() < frame_length) return 0;
  std::memcpy(out.data(), packet_.frame, packet_.l4_offset);
  std::memcpy(out.data() + packet_.l4_offset, packet_.frame + packet_.l4_offset + done_, length);
  uint8_t* header = out.data() + packet_.l3_offset;
  const uint32_t offset = packet_.fragment_offset + done_;
  const bool more = packet_.more_fragments || done_ + length < total;
  store_be16(header + 2, static_cast<uint16_t>(20 + length));
  store_be16(header + 6, static_cast<uint16_t>(offset / 8 | (more ? 0x2000u : 0u)));
  store_be16(header + 10, 0);
  store_native<uint16_t>(header + 10, finish_checksum(sum_bytes(header, 20)));
  done_ += length;
  return frame_length;
}

}  // namespace weft
