// rtnetlink, as much as it takes to look into a namespace. Blocking; the kernel answers within the call.
#pragma once

#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#include <cstdint>
#include <cstring>
#include <functional>
#include <string>

#include "cni/descriptor.h"

namespace weft::cni {

class RouteSocket {
 public:
  // In the namespace that the thread is in now.
  RouteSocket();
  [[nodiscard]] bool valid() const { return socket_.valid(); }

  using Handle = std::function<void(const nlmsghdr&)>;
  // RTM_GETLINK of one interface; 0, or the kernel's errno (ENODEV: there is none).
  int link(const std::string& name, const Handle& handle);
  // Every object of a kind (RTM_GETADDR, RTM_GETROUTE) of a family; 0 or the kernel's errno.
  int dump(uint16_t type, uint8_t family, const Handle& handle);

 private:
  int exchange(const void* request, size_t length, bool dump, const Handle& handle);

  Descriptor socket_;
  uint32_t sequence_ = 0;
};

// Walks the attributes behind a message's fixed header; the length is the whole message's.
template <class Header, class Visit>
void for_attributes(const nlmsghdr& message, Visit visit) {
  const auto* base = reinterpret_cast<const char*>(&message);
  size_t place = NLMSG_LENGTH(sizeof(Header));
  while (place + sizeof(rtattr) <= message.nlmsg_len) {
    rtattr attribute{};
    std::memcpy(&attribute, base + place, sizeof attribute);
    if (attribute.rta_len < sizeof attribute || place + attribute.rta_len > message.nlmsg_len) return;
    visit(static_cast<uint16_t>(attribute.rta_type & NLA_TYPE_MASK), base + place + RTA_LENGTH(0),
          attribute.rta_len - RTA_LENGTH(0));
    place += RTA_ALIGN(attribute.rta_len);
  }
}

}  // namespace weft::cni
