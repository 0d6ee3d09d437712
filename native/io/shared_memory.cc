#include "io/shared_memory.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace weft::io {

Result<SharedMemory> SharedMemory::open(const std::string& path, size_t size) {
  SharedMemory memory;
  memory.file_ = Descriptor(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!memory.file_.valid()) return call_failed("memory-open", "open", path);
  const int fd = memory.file_.get();
  if (::flock(fd, LOCK_EX | LOCK_NB) != 0)
    return call_failed("memory-locked", "flock", path,
                       "another switch runs on this run directory; stop it, or use another --run-dir");
  struct stat status{};
  if (::fstat(fd, &status) != 0) return call_failed("memory-open", "fstat", path);
  if (!S_ISREG(status.st_mode)) return Error{"memory-open", path + " is not a regular file; remove it"};
  if (std::cmp_not_equal(status.st_size, size)) {
    memory.fresh_ = true;
    memory.dropped_octets_ = static_cast<size_t>(status.st_size);
    if (::ftruncate(fd, 0) != 0 || ::ftruncate(fd, static_cast<off_t>(size)) != 0)
      return call_failed("memory-space", "ftruncate", path);
  }
  if (const int error = ::posix_fallocate(fd, 0, static_cast<off_t>(size)); error != 0)
    return call_failed_with(
        error, "memory-space", "posix_fallocate", path,
        std::to_string(size >> 20) + " MB are needed; lower the limit on connections or make room");
  struct statfs filesystem{};
  memory.on_tmpfs_ = ::fstatfs(fd, &filesystem) == 0 && filesystem.f_type == TMPFS_MAGIC;
  void* data = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (data == MAP_FAILED) return call_failed("memory-map", "mmap", path);
  memory.data_ = static_cast<uint8_t*>(data);
  memory.size_ = size;
  return memory;
}

SharedMemory::SharedMemory(SharedMemory&& other) noexcept
    : file_(std::move(other.file_)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      fresh_(other.fresh_),
      dropped_octets_(other.dropped_octets_),
      on_tmpfs_(other.on_tmpfs_) {}

SharedMemory& SharedMemory::operator=(SharedMemory&& other) noexcept {
  std::swap(file_, other.file_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(fresh_, other.fresh_);
  std::swap(dropped_octets_, other.dropped_octets_);
  std::swap(on_tmpfs_, other.on_tmpfs_);
  return *this;
}

void SharedMemory::forget_pages() noexcept {
  // Of a shared mapping it drops page table entries, nothing else (madvise(2)).
  [[maybe_unused]] const int done = ::madvise(data_, size_, MADV_DONTNEED);
}

SharedMemory::~SharedMemory() {
  if (data_ != nullptr) ::munmap(data_, size_);
}

}  // namespace weft::io
