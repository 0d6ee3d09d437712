// An AF_PACKET socket on one interface: capture, mirror, probing. Never forwarding, since the stack behind
// the interface would answer too.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "base/result.h"
#include "io/descriptor.h"
#include "io/netns.h"

namespace weft::io {

class RawSocket {
 public:
  // netns empty: the process's own namespace. With vnet_header each frame is preceded by the 10-byte virtio
  // header, which the kernel takes from the sender as it is (with the checks of its own that TAP readers see
  // the rest of). Non-blocking.
  static Result<RawSocket> open(const NamespaceContext& context, const std::string& netns,
                                const std::string& ifname, bool vnet_header);

  // Bytes sent or received; -errno when it failed (-EAGAIN: nothing waits, the queue is full).
  int64_t send(std::span<const uint8_t> bytes);
  int64_t receive(std::span<uint8_t> buffer);
  [[nodiscard]] int descriptor() const { return socket_.get(); }

 private:
  explicit RawSocket(Descriptor socket) : socket_(std::move(socket)) {}
  Descriptor socket_;
};

}  // namespace weft::io
