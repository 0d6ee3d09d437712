#include "io/tap_device.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

namespace weft::io {

// Not by read() and write() of glibc: as points at which a thread can be cancelled they take two atomic
// exchanges each beside other threads, some 20 ns of a call's 140. Nobody cancels a worker.

Received TapDevice::receive(std::span<uint8_t> buffer) noexcept {
  const auto length = ::syscall(SYS_read, descriptor_.get(), buffer.data(), buffer.size());
  if (length >= 0) return {ReceiveStatus::frame, static_cast<uint32_t>(length)};
  if (errno == EAGAIN) return {ReceiveStatus::empty, 0};
  if (errno == EBADFD || errno == EBADF) return {ReceiveStatus::gone, 0};
  return {ReceiveStatus::failed, 0};
}

SendStatus TapDevice::send(std::span<const uint8_t> frame) noexcept {
  if (::syscall(SYS_write, descriptor_.get(), frame.data(), frame.size()) >= 0) return SendStatus::sent;
  switch (errno) {
    case EAGAIN:
    case ENOBUFS:
    case ENOMEM:
      return SendStatus::full;
    case EIO:
      return SendStatus::down;
    case EBADFD:
    case EBADF:
      return SendStatus::gone;
    default:
      return SendStatus::refused;
  }
}

}  // namespace weft::io
