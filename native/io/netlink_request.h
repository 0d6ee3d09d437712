// A message to rtnetlink under construction, for the files that say what is asked (netlink_link.cc,
// netlink_address.cc).
#pragma once

#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <functional>
#include <span>
#include <string>

#include "io/netlink.h"

namespace weft::io {

// In one fixed buffer; every request here is far smaller.
class Netlink::Request {
 public:
  Request(uint16_t type, uint16_t flags) {
    header_.nlmsg_type = type;
    header_.nlmsg_flags = static_cast<uint16_t>(NLM_F_REQUEST | flags);
    size_ = NLMSG_HDRLEN;
  }
  template <class T>
  Request& body(const T& value) {
    append(&value, sizeof value);
    return *this;
  }
  Request& attribute(uint16_t type, const void* data, size_t length) {
    rtattr attribute{};
    attribute.rta_len = static_cast<uint16_t>(RTA_LENGTH(length));
    attribute.rta_type = type;
    append(&attribute, sizeof attribute);
    append(data, length);
    return *this;
  }
  Request& attribute(uint16_t type, std::span<const uint8_t> bytes) {
    return attribute(type, bytes.data(), bytes.size());
  }
  Request& attribute(uint16_t type, uint32_t value) { return attribute(type, &value, sizeof value); }
  Request& attribute(uint16_t type, const std::string& text) {
    return attribute(type, text.c_str(), text.size() + 1);
  }
  std::span<const uint8_t> finish(uint32_t sequence) {
    header_.nlmsg_len = static_cast<uint32_t>(size_);
    header_.nlmsg_seq = sequence;
    std::memcpy(buffer_.data(), &header_, sizeof header_);
    return {buffer_.data(), size_};
  }
  // Called with the payload of each answer that is neither acknowledgement nor end.
  std::function<void(uint16_t type, std::span<const uint8_t>)> on_answer;
  [[nodiscard]] bool dump() const { return (header_.nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP; }

 private:
  void append(const void* data, size_t length) {
    const size_t room = buffer_.size() - size_;
    if (length > room) length = room;  // cannot be: the longest request is under 300 bytes
    if (length != 0) std::memcpy(buffer_.data() + size_, data, length);
    size_ = std::min(static_cast<size_t>(NLMSG_ALIGN(size_ + length)), buffer_.size());
  }
  nlmsghdr header_{};
  std::array<uint8_t, 1024> buffer_{};
  size_t size_ = 0;
};

}  // namespace weft::io
