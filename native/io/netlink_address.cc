// What rtnetlink is asked of an interface's addresses, routes and neighbours.
#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <sys/socket.h>

#include <cerrno>
#include <utility>

#include "io/netlink_message.h"
#include "io/netlink_request.h"

namespace weft::io {

namespace {

int family_of(const NetworkAddress& address) {
  return address.family == 4 ? AF_INET : AF_INET6;
}
std::span<const uint8_t> wire_bytes(const NetworkAddress& address) {
  const std::span<const uint8_t> all(address.address.bytes);
  return address.family == 4 ? all.subspan(12) : all;
}
uint8_t full_prefix(const NetworkAddress& address) {
  return address.family == 4 ? 32 : 128;
}
// Nothing where the octets are not of that family.
std::optional<NetworkAddress> address_from(std::span<const uint8_t> value, uint8_t family) {
  if (family == 4 && value.size() == 4) return NetworkAddress{Address::v4_from(value.data()), 4};
  if (family == 6 && value.size() == 16) return NetworkAddress{Address::v6_from(value.data()), 6};
  return {};
}

ifaddrmsg address_body(int index, const NetworkAddress& address) {
  ifaddrmsg body{};
  body.ifa_family = static_cast<uint8_t>(family_of(address));
  body.ifa_prefixlen = full_prefix(address);
  body.ifa_flags = address.family == 6 ? IFA_F_NODAD : 0;
  body.ifa_scope = RT_SCOPE_UNIVERSE;
  body.ifa_index = static_cast<uint32_t>(index);
  return body;
}

}  // namespace

std::string to_string(const NetworkAddress& address) {
  return weft::to_string(address.address);
}

Status Netlink::add_address(int index, const std::string& name, const NetworkAddress& address,
                            Preferred preferred) {
  Request request(RTM_NEWADDR, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL);
  ifaddrmsg body = address_body(index, address);
  if (preferred == Preferred::no && address.family == 4) body.ifa_scope = RT_SCOPE_LINK;
  request.body(body).attribute(IFA_LOCAL, wire_bytes(address)).attribute(IFA_ADDRESS, wire_bytes(address));
  const ifa_cacheinfo deprecated{.ifa_prefered = 0, .ifa_valid = UINT32_MAX, .cstamp = 0, .tstamp = 0};
  if (preferred == Preferred::no && address.family == 6)
    request.attribute(IFA_CACHEINFO, &deprecated, sizeof deprecated);
  const int error = transact(request);
  return done(error == EEXIST ? 0 : error, "address-add", to_string(address) + " on " + name);
}

Status Netlink::remove_address(int index, const std::string& name, const NetworkAddress& address) {
  Request request(RTM_DELADDR, NLM_F_ACK);
  request.body(address_body(index, address)).attribute(IFA_LOCAL, wire_bytes(address));
  const int error = transact(request);
  return done(error == EADDRNOTAVAIL ? 0 : error, "address-remove", to_string(address) + " on " + name);
}

Result<std::vector<NetworkAddress>> Netlink::list_addresses(int index) {
  Request request(RTM_GETADDR, NLM_F_DUMP);
  request.body(ifaddrmsg{});
  std::vector<NetworkAddress> addresses;
  request.on_answer = [&](uint16_t type, std::span<const uint8_t> payload) {
    if (type != RTM_NEWADDR || payload.size() < sizeof(ifaddrmsg)) return;
    const auto body = load<ifaddrmsg>(payload.data());
    if (std::cmp_not_equal(body.ifa_index, index)) return;
    if (body.ifa_family != AF_INET && body.ifa_family != AF_INET6) return;
    if (body.ifa_family == AF_INET6 && body.ifa_scope != RT_SCOPE_UNIVERSE) return;
    const uint8_t family = body.ifa_family == AF_INET ? 4 : 6;
    // IPv4 has both, and IFA_ADDRESS is the peer's on point-to-point links; IPv6 has IFA_ADDRESS only.
    const uint16_t own = family == 4 ? IFA_LOCAL : IFA_ADDRESS;
    std::optional<NetworkAddress> found;
    for_each_attribute(payload.subspan(NLMSG_ALIGN(sizeof body)),
                       [&](uint16_t kind, std::span<const uint8_t> value) {
                         if (kind == own) found = address_from(value, family);
                       });
    if (found) addresses.push_back(*found);
  };
  if (const int error = transact(request); error != 0)
    return call_failed_with(error, "netlink-address-list", "address-list", std::to_string(index));
  return addresses;
}

Status Netlink::add_route(int index, const std::string& name, const Route& route, bool onlink) {
  rtmsg body{};
  body.rtm_family = static_cast<uint8_t>(family_of(route.destination.address));
  body.rtm_dst_len = route.destination.prefix_length;
  body.rtm_table = RT_TABLE_MAIN;
  body.rtm_protocol = RTPROT_STATIC;
  body.rtm_scope = route.gateway ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK;
  body.rtm_type = RTN_UNICAST;
  body.rtm_flags = onlink && route.gateway ? RTNH_F_ONLINK : 0;
  Request request(RTM_NEWROUTE, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE);
  request.body(body).attribute(RTA_OIF, static_cast<uint32_t>(index));
  if (route.destination.prefix_length != 0) request.attribute(RTA_DST, wire_bytes(route.destination.address));
  if (route.gateway) request.attribute(RTA_GATEWAY, wire_bytes(*route.gateway));
  if (route.source) request.attribute(RTA_PREFSRC, wire_bytes(*route.source));
  const std::string object = to_string(route.destination.address) + "/" +
                             std::to_string(route.destination.prefix_length) +
                             (route.gateway ? " via " + to_string(*route.gateway) : "") + " dev " + name;
  const int error = transact(request);
  return done(error == EEXIST ? 0 : error, "route-add", object);
}

Result<std::vector<Route>> Netlink::list_routes(int index) {
  Request request(RTM_GETROUTE, NLM_F_DUMP);
  request.body(rtmsg{});
  std::vector<Route> routes;
  request.on_answer = [&](uint16_t type, std::span<const uint8_t> payload) {
    if (type != RTM_NEWROUTE || payload.size() < sizeof(rtmsg)) return;
    const auto body = load<rtmsg>(payload.data());
    if (body.rtm_table != RT_TABLE_MAIN || body.rtm_protocol != RTPROT_STATIC || body.rtm_type != RTN_UNICAST)
      return;
    if (body.rtm_family != AF_INET && body.rtm_family != AF_INET6) return;
    const uint8_t family = body.rtm_family == AF_INET ? 4 : 6;
    Route route{{{family == 4 ? Address::v4(0) : Address{}, family}, body.rtm_dst_len}, {}, {}};
    bool here = false;
    for_each_attribute(payload.subspan(NLMSG_ALIGN(sizeof body)),
                       [&](uint16_t kind, std::span<const uint8_t> value) {
                         if (kind == RTA_OIF && value.size() == 4)
                           here = load<int32_t>(value.data()) == index;
                         const auto address = address_from(value, family);
                         if (!address) return;
                         if (kind == RTA_DST) route.destination.address = *address;
                         if (kind == RTA_GATEWAY) route.gateway = *address;
                         if (kind == RTA_PREFSRC) route.source = *address;
                       });
    if (here) routes.push_back(route);
  };
  if (const int error = transact(request); error != 0)
    return call_failed_with(error, "netlink-route-list", "route-list", std::to_string(index));
  return routes;
}

Status Netlink::remove_route(int index, const std::string& name, const Network& destination) {
  rtmsg body{};
  body.rtm_family = static_cast<uint8_t>(family_of(destination.address));
  body.rtm_dst_len = destination.prefix_length;
  body.rtm_table = RT_TABLE_MAIN;
  body.rtm_scope = RT_SCOPE_NOWHERE;
  Request request(RTM_DELROUTE, NLM_F_ACK);
  request.body(body).attribute(RTA_OIF, static_cast<uint32_t>(index));
  if (destination.prefix_length != 0) request.attribute(RTA_DST, wire_bytes(destination.address));
  const int error = transact(request);
  return done(
      error == ESRCH ? 0 : error, "route-remove",
      to_string(destination.address) + "/" + std::to_string(destination.prefix_length) + " dev " + name);
}

Status Netlink::add_permanent_neighbour(int index, const std::string& name, const NetworkAddress& neighbour,
                                        const MacAddress& mac) {
  ndmsg body{};
  body.ndm_family = static_cast<uint8_t>(family_of(neighbour));
  body.ndm_ifindex = index;
  body.ndm_state = NUD_PERMANENT;
  Request request(RTM_NEWNEIGH, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE);
  request.body(body)
      .attribute(NDA_DST, wire_bytes(neighbour))
      .attribute(NDA_LLADDR, std::span<const uint8_t>(mac));
  return done(transact(request), "neighbour-add", to_string(neighbour) + " on " + name);
}

}  // namespace weft::io
