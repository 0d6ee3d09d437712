// The raw sockets that SCTP probes share, one for each namespace and family: the kernel gives each of them
// every SCTP packet that arrives there, and the ICMP errors about what it has sent. Whose they are is told by
// the port.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "base/address.h"
#include "io/descriptor.h"
#include "io/lab_icmp_error.h"
#include "io/lab_sctp.h"

namespace weft::lab {

class SctpSocket {
 public:
  // In the namespace that the thread is in, which `netns` names for its owner. Where it is not valid, errno
  // says why.
  SctpSocket(uint32_t netns, uint8_t family);

  [[nodiscard]] bool valid() const { return fd_.valid(); }
  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] uint32_t netns() const { return netns_; }
  [[nodiscard]] uint8_t family() const { return family_; }

  // False: errno says why.
  [[nodiscard]] bool send(const Address& to, std::span<const uint8_t> packet) const;
  // The next arrival; nothing in `packet` where it is no SCTP. False: there is none.
  bool receive(std::optional<SctpPacket>& packet) const;
  // The next ICMP error, and the port that the packet was sent from which it is about; 0: it does not say.
  bool take_error(IcmpError& error, uint16_t& source_port) const;

 private:
  uint32_t netns_;
  uint8_t family_;
  io::Descriptor fd_;
};

}  // namespace weft::lab
