#include "io/file_lock.h"

#include <fcntl.h>
#include <sys/file.h>

#include <cerrno>

namespace weft::io {

Result<std::optional<Descriptor>> lock_file(const std::string& path) {
  Descriptor file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file.valid()) return call_failed("lock-open", "open", path);
  if (::flock(file.get(), LOCK_EX | LOCK_NB) == 0) return std::optional(std::move(file));
  if (errno == EWOULDBLOCK) return std::optional<Descriptor>{};
  return call_failed("lock-open", "flock", path);
}

}  // namespace weft::io
