#include "io/link_watch.h"

#include <net/if.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <string_view>

#include "io/netlink_message.h"

namespace weft::io {

namespace {

constexpr size_t kMessageBytes = 32 * 1024;

std::string_view name_of(std::span<const uint8_t> payload) {
  std::string_view name;
  for_each_attribute(payload.subspan(NLMSG_ALIGN(sizeof(ifinfomsg))),
                     [&](uint16_t type, std::span<const uint8_t> value) {
                       const auto* text = reinterpret_cast<const char*>(value.data());
                       if (type == IFLA_IFNAME) name = {text, strnlen(text, value.size())};
                     });
  return name;
}

// Of this interface, or to where one of the config's routes leads: a route that is replaced by another is
// told of the other only.
bool concerns(std::span<const uint8_t> payload, int index, const TapConfig& config) {
  const auto body = load<rtmsg>(payload.data());
  bool here = false;
  std::span<const uint8_t> destination;
  for_each_attribute(payload.subspan(NLMSG_ALIGN(sizeof body)),
                     [&](uint16_t type, std::span<const uint8_t> value) {
                       if (type == RTA_OIF && value.size() == 4) here = load<int32_t>(value.data()) == index;
                       if (type == RTA_DST) destination = value;
                     });
  if (here) return true;
  for (const Route& route : config.routes) {
    const auto& [address, length] = route.destination;
    const std::span<const uint8_t> octets =
        std::span<const uint8_t>(address.address.bytes).subspan(address.family == 4 ? 12 : 0);
    if (body.rtm_dst_len == length && destination.size() == octets.size() &&
        std::equal(octets.begin(), octets.end(), destination.begin()))
      return true;
  }
  return false;
}

}  // namespace

Result<LinkWatch> LinkWatch::open() {
  Descriptor socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE));
  if (!socket.valid()) return call_failed("netlink-open", "socket(NETLINK_ROUTE)", "");
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  address.nl_groups =
      RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE;
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return call_failed("netlink-open", "bind(NETLINK_ROUTE)", "");
  return LinkWatch(std::move(socket));
}

bool LinkWatch::touched(const TapConfig& config) {
  if (index_ == 0) index_ = static_cast<int>(::if_nametoindex(config.ifname.c_str()));
  bool touched = false;
  std::array<uint8_t, kMessageBytes> buffer;
  while (true) {
    const ssize_t received = ::recv(socket_.get(), buffer.data(), buffer.size(), 0);
    if (received < 0) {
      if (errno == EINTR) continue;
      // The kernel had more to say than there was room for, and goes on from here.
      if (errno != ENOBUFS) return touched;
      touched = true;
      continue;
    }
    for_each_message({buffer.data(), static_cast<size_t>(received)},
                     [&](const nlmsghdr& header, std::span<const uint8_t> payload) {
                       touched |= concerns_link(header.nlmsg_type, payload, config);
                       return true;
                     });
  }
}

bool LinkWatch::concerns_link(uint16_t type, std::span<const uint8_t> payload, const TapConfig& config) {
  switch (type) {
    case RTM_NEWLINK:
    case RTM_DELLINK: {
      if (payload.size() < sizeof(ifinfomsg)) return false;
      const int index = load<ifinfomsg>(payload.data()).ifi_index;
      const bool named = name_of(payload) == config.ifname;
      const bool ours = named || index == index_;
      if (named) index_ = index;
      return ours;
    }
    case RTM_NEWADDR:
    case RTM_DELADDR:
      return payload.size() >= sizeof(ifaddrmsg) &&
             std::cmp_equal(load<ifaddrmsg>(payload.data()).ifa_index, index_);
    case RTM_NEWROUTE:
    case RTM_DELROUTE:
      return payload.size() >= sizeof(rtmsg) && concerns(payload, index_, config);
    default:
      return false;
  }
}

}  // namespace weft::io
