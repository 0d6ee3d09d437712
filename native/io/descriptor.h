// Ownership of one file descriptor, and the one way in which a failed system call becomes an Error.
#pragma once

#include <string>
#include <utility>

#include "base/result.h"

namespace weft::io {

class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    if (this != &other) {
      reset();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() { reset(); }

  [[nodiscard]] int get() const { return fd_; }
  [[nodiscard]] bool valid() const { return fd_ >= 0; }
  [[nodiscard]] int release() { return std::exchange(fd_, -1); }
  void reset();

 private:
  int fd_ = -1;
};

// errno → Error. The message reads "CALL OBJECT: strerror (errno N)" and then the hint, if there is one: what
// to do. Called right after the failing call, before anything can change errno.
Error call_failed(std::string code, const std::string& call, const std::string& object,
                  const std::string& hint = {});
Error call_failed_with(int errno_value, std::string code, const std::string& call, const std::string& object,
                       const std::string& hint = {});

}  // namespace weft::io
