#include "switch/capture.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace weft {

CaptureRing::CaptureRing(uint32_t bytes) : block_(std::bit_ceil(std::max(bytes, 4096u))) {}

void CaptureRing::write(uint64_t position, const void* from, size_t length) noexcept {
  const size_t at = position & (block_.size() - 1);
  const size_t first = std::min(length, block_.size() - at);
  std::memcpy(block_.data() + at, from, first);
  if (first < length) std::memcpy(block_.data(), static_cast<const uint8_t*>(from) + first, length - first);
}

void CaptureRing::read(uint64_t position, void* to, size_t length) const noexcept {
  const size_t at = position & (block_.size() - 1);
  const size_t first = std::min(length, block_.size() - at);
  std::memcpy(to, block_.data() + at, first);
  if (first < length) std::memcpy(static_cast<uint8_t*>(to) + first, block_.data(), length - first);
}

bool CaptureRing::push(const CaptureRecord& record, std::span<const uint8_t> bytes) noexcept {
  const uint64_t head = head_.load(std::memory_order_relaxed);
  const uint64_t used = head - tail_.load(std::memory_order_acquire);
  if (sizeof(record) + bytes.size() > block_.size() - used) {
    lost_.store(lost_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    return false;
  }
  CaptureRecord header = record;
  header.copied = static_cast<uint32_t>(bytes.size());
  write(head, &header, sizeof(header));
  write(head + sizeof(header), bytes.data(), bytes.size());
  head_.store(head + sizeof(header) + bytes.size(), std::memory_order_release);
  return true;
}

bool CaptureRing::pop(CaptureRecord& record, std::vector<uint8_t>& bytes) {
  const uint64_t tail = tail_.load(std::memory_order_relaxed);
  if (tail == head_.load(std::memory_order_acquire)) return false;
  read(tail, &record, sizeof(record));
  bytes.resize(record.copied);
  read(tail + sizeof(record), bytes.data(), record.copied);
  tail_.store(tail + sizeof(record) + record.copied, std::memory_order_release);
  return true;
}

}  // namespace weft
