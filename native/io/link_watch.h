// Tells that somebody has touched an interface: the interface itself, its addresses, routes to where its
// routes lead. By rtnetlink's multicasts, which cost the kernel nothing that it does not do for every
// NetworkManager; a hint, so whoever hears it looks what is the matter. What is done by weft itself is told
// too.
//
// Not told by the kernel, and so not by this: neighbours (not asked for: busy hosts have many), and IPv4
// routes that go with an interface that goes down (that is told of the interface).
#pragma once

#include <cstdint>
#include <span>

#include "base/result.h"
#include "io/descriptor.h"
#include "io/tap.h"

namespace weft::io {

class LinkWatch {
 public:
  // Of the calling thread's namespace. Error: netlink-open.
  static Result<LinkWatch> open();

  // Readable when something was told.
  [[nodiscard]] int descriptor() const { return socket_.get(); }
  // Takes what was told so far, without waiting. Whether any of it may be about this interface; true as well
  // when some was lost.
  bool touched(const TapConfig& config);

 private:
  explicit LinkWatch(Descriptor socket) : socket_(std::move(socket)) {}
  // Takes note of a new index.
  bool concerns_link(uint16_t type, std::span<const uint8_t> payload, const TapConfig& config);

  Descriptor socket_;
  int index_ = 0;  // of the interface, as far as it was told
};

}  // namespace weft::io
