#include "io/writer.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <csignal>

#include "io/descriptor.h"

namespace weft::io {

std::optional<bool> has_writer(const std::string& path) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat status{};
  if (!file.valid() || ::fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode)) return std::nullopt;
  // Who opens the file for writing while we hold the lease makes the kernel send a signal, by default SIGIO,
  // which would end the process. SIGURG does nothing to who does not ask for it.
  if (::fcntl(file.get(), F_SETSIG, SIGURG) != 0) return std::nullopt;
  if (::fcntl(file.get(), F_SETLEASE, F_RDLCK) == 0) return false;  // closing gives it back
  if (errno == EAGAIN) return true;
  return std::nullopt;
}

}  // namespace weft::io
