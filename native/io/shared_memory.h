// A file on tmpfs, mapped: memory that outlives the process. The connection table lives in one, so that a
// switch that was killed finds the connections of its predecessor.
//
// The file is locked (flock) for as long as it is mapped: two switches never share a table. All its blocks
// are reserved when it is opened, since on a full tmpfs the first touch of a missing page would be a SIGBUS.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "base/result.h"
#include "io/descriptor.h"

namespace weft::io {

class SharedMemory {
 public:
  // Bytes of another size than `size` are dropped: the file is made anew, zeroed, and fresh() is true.
  // Errors: memory-locked (another switch runs on this directory), memory-open, memory-space, memory-map.
  static Result<SharedMemory> open(const std::string& path, size_t size);
  SharedMemory(SharedMemory&& other) noexcept;
  SharedMemory& operator=(SharedMemory&& other) noexcept;
  ~SharedMemory();

  [[nodiscard]] std::span<uint8_t> bytes() const { return {data_, size_}; }
  [[nodiscard]] bool fresh() const { return fresh_; }
  // Lets go of the pages that this process has looked at; the file keeps what is in them, and they come back
  // when they are touched. For a reader that went through all of it once.
  void forget_pages() noexcept;
  // Octets of the file of another size that was there and was dropped; 0: there was none.
  [[nodiscard]] size_t dropped_octets() const { return dropped_octets_; }
  // False on a disk: works, but survives a reboot and costs writes.
  [[nodiscard]] bool on_tmpfs() const { return on_tmpfs_; }

 private:
  SharedMemory() = default;
  Descriptor file_;
  uint8_t* data_ = nullptr;
  size_t size_ = 0;
  bool fresh_ = false;
  size_t dropped_octets_ = 0;
  bool on_tmpfs_ = false;
};

}  // namespace weft::io
