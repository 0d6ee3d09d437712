// The messages of a netlink datagram and the attributes of a message, read from octets that are believed in
// nothing but their number. Private to the files of io that speak netlink.
#pragma once

#include <linux/rtnetlink.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <functional>
#include <span>

namespace weft::io {

template <class T>
T load(const void* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

// Calls `visit` with header and payload of each message until it returns false.
inline void for_each_message(std::span<const uint8_t> datagram,
                             const std::function<bool(const nlmsghdr&, std::span<const uint8_t>)>& visit) {
  while (datagram.size() >= sizeof(nlmsghdr)) {
    const auto header = load<nlmsghdr>(datagram.data());
    if (header.nlmsg_len < sizeof header || header.nlmsg_len > datagram.size()) return;
    if (!visit(header, datagram.subspan(NLMSG_HDRLEN, header.nlmsg_len - NLMSG_HDRLEN))) return;
    datagram = datagram.subspan(std::min<size_t>(NLMSG_ALIGN(header.nlmsg_len), datagram.size()));
  }
}

// Calls `visit` with type and payload of each attribute.
inline void for_each_attribute(std::span<const uint8_t> bytes,
                               const std::function<void(uint16_t, std::span<const uint8_t>)>& visit) {
  while (bytes.size() >= sizeof(rtattr)) {
    const auto attribute = load<rtattr>(bytes.data());
    if (attribute.rta_len < sizeof(rtattr) || attribute.rta_len > bytes.size()) return;
    visit(attribute.rta_type & NLA_TYPE_MASK,
          bytes.subspan(sizeof(rtattr), attribute.rta_len - sizeof(rtattr)));
    bytes = bytes.subspan(std::min<size_t>(RTA_ALIGN(attribute.rta_len), bytes.size()));
  }
}

}  // namespace weft::io
