#include "io/descriptor.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace weft::io {

void Descriptor::reset() {
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
}

Error call_failed_with(int errno_value, std::string code, const std::string& call, const std::string& object,
                       const std::string& hint) {
  std::string message = call;
  if (!object.empty()) message += " " + object;
  message += ": ";
  message +=
      std::strerror(errno_value);  // NOLINT(concurrency-mt-unsafe): glibc's is per thread for known numbers
  message += " (errno " + std::to_string(errno_value) + ")";
  if (!hint.empty()) message += "; " + hint;
  return {std::move(code), std::move(message), errno_value};
}

Error call_failed(std::string code, const std::string& call, const std::string& object,
                  const std::string& hint) {
  return call_failed_with(errno, std::move(code), call, object, hint);
}

}  // namespace weft::io
