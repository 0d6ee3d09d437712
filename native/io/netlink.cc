#include "io/netlink.h"

#include <arpa/inet.h>
#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/neighbour.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <functional>

#include "io/netlink_attributes.h"

namespace weft::io {

namespace {

// The kernel's answer to one request fits: a link dump comes in several datagrams of at most this size.
constexpr size_t kAnswerBytes = 32 * 1024;

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

std::string text_of(std::span<const uint8_t> payload) {
  const auto* text = reinterpret_cast<const char*>(payload.data());
  return {text, strnlen(text, payload.size())};
}

Link::Tun parse_tun(std::span<const uint8_t> data) {
  Link::Tun tun;
  for_each_attribute(data, [&](uint16_t type, std::span<const uint8_t> payload) {
    if (payload.empty()) return;
    const uint8_t value = payload[0];
    switch (type) {
      case IFLA_TUN_TYPE:
        tun.tap = value == IFF_TAP;
        break;
      case IFLA_TUN_PI:
        tun.packet_information = value != 0;
        break;
      case IFLA_TUN_VNET_HDR:
        tun.vnet_header = value != 0;
        break;
      case IFLA_TUN_MULTI_QUEUE:
        tun.multi_queue = value != 0;
        break;
      case IFLA_TUN_PERSIST:
        tun.persistent = value != 0;
        break;
      default:
        break;
    }
  });
  return tun;
}

Link parse_link(std::span<const uint8_t> payload) {
  Link link;
  const auto info = load<ifinfomsg>(payload.data());
  link.index = info.ifi_index;
  link.up = (info.ifi_flags & IFF_UP) != 0;
  link.carrier = (info.ifi_flags & IFF_LOWER_UP) != 0;
  for_each_attribute(payload.subspan(NLMSG_ALIGN(sizeof info)),
                     [&](uint16_t type, std::span<const uint8_t> value) {
                       switch (type) {
                         case IFLA_IFNAME:
                           link.name = text_of(value);
                           break;
                         case IFLA_MTU:
                           if (value.size() >= 4) link.mtu = load<uint32_t>(value.data());
                           break;
                         case IFLA_TXQLEN:
                           if (value.size() >= 4) link.queue_length = load<uint32_t>(value.data());
                           break;
                         case IFLA_ADDRESS:
                           if (value.size() == link.mac.size())
                             std::memcpy(link.mac.data(), value.data(), link.mac.size());
                           break;
                         case IFLA_LINKINFO:
                           for_each_attribute(value, [&](uint16_t inner, std::span<const uint8_t> data) {
                             if (inner == IFLA_INFO_KIND) link.kind = text_of(data);
                             if (inner == IFLA_INFO_DATA && link.kind == "tun") link.tun = parse_tun(data);
                           });
                           break;
                         default:
                           break;
                       }
                     });
  return link;
}

}  // namespace

std::string to_string(const NetworkAddress& address) {
  return weft::to_string(address.address);
}

// A message under construction in one fixed buffer; every request here is far smaller.
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

Result<Netlink> Netlink::open() {
  Descriptor socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  if (!socket.valid()) return call_failed("netlink-open", "socket(NETLINK_ROUTE)", "");
  // Errors without a copy of the request keep answers small.
  const int on = 1;
  ::setsockopt(socket.get(), SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on);
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return call_failed("netlink-open", "bind(NETLINK_ROUTE)", "");
  return Netlink(std::move(socket));
}

int Netlink::transact(Request& request) {
  const std::span<const uint8_t> message = request.finish(++sequence_);
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  if (::sendto(socket_.get(), message.data(), message.size(), 0, reinterpret_cast<const sockaddr*>(&kernel),
               sizeof kernel) < 0)
    return errno;
  std::vector<uint8_t> buffer(kAnswerBytes);
  while (true) {
    const ssize_t received = ::recv(socket_.get(), buffer.data(), buffer.size(), 0);
    if (received < 0) {
      if (errno == EINTR) continue;
      return errno;
    }
    std::span<const uint8_t> rest(buffer.data(), static_cast<size_t>(received));
    while (rest.size() >= sizeof(nlmsghdr)) {
      const auto header = load<nlmsghdr>(rest.data());
      if (header.nlmsg_len < sizeof header || header.nlmsg_len > rest.size()) break;
      const std::span<const uint8_t> payload = rest.subspan(NLMSG_HDRLEN, header.nlmsg_len - NLMSG_HDRLEN);
      rest = rest.subspan(std::min<size_t>(NLMSG_ALIGN(header.nlmsg_len), rest.size()));
      if (header.nlmsg_seq != sequence_) continue;  // of a request that failed half-way
      if (header.nlmsg_type == NLMSG_DONE) return 0;
      if (header.nlmsg_type == NLMSG_ERROR)
        return payload.size() >= 4 ? -load<int32_t>(payload.data()) : EBADMSG;
      if (request.on_answer) request.on_answer(header.nlmsg_type, payload);
    }
  }
}

Status Netlink::done(int errno_value, const char* call, const std::string& object, const std::string& hint) {
  if (errno_value == 0) return Ok{};
  return call_failed_with(errno_value, std::string("netlink-") + call, call, object, hint);
}

Result<std::optional<Link>> Netlink::find_link(const std::string& name) {
  Request request(RTM_GETLINK, NLM_F_ACK);
  request.body(ifinfomsg{}).attribute(IFLA_IFNAME, name);
  std::optional<Link> link;
  request.on_answer = [&](uint16_t type, std::span<const uint8_t> payload) {
    if (type == RTM_NEWLINK && payload.size() >= sizeof(ifinfomsg)) link = parse_link(payload);
  };
  const int error = transact(request);
  if (error == ENODEV) return std::optional<Link>{};
  if (error != 0) return call_failed_with(error, "netlink-link-get", "link-get", name);
  return link;
}

Result<Link> Netlink::get_link(const std::string& name) {
  auto found = find_link(name);
  if (!found.ok()) return found.error();
  if (!found.value()) return Error{"link-gone", "there is no interface " + name, ENODEV};
  return *found.value();
}

Result<uint32_t> Netlink::count_links() {
  Request request(RTM_GETLINK, NLM_F_DUMP);
  request.body(ifinfomsg{});
  uint32_t count = 0;
  request.on_answer = [&](uint16_t type, std::span<const uint8_t>) { count += type == RTM_NEWLINK ? 1 : 0; };
  if (const int error = transact(request); error != 0)
    return call_failed_with(error, "netlink-link-list", "link-list", "");
  return count;
}

namespace {
ifinfomsg link_body(int index) {
  ifinfomsg body{};
  body.ifi_family = AF_UNSPEC;
  body.ifi_index = index;
  return body;
}
}  // namespace

Status Netlink::move_link(int index, int namespace_fd, const std::string& new_name) {
  Request request(RTM_NEWLINK, NLM_F_ACK);
  request.body(link_body(index))
      .attribute(IFLA_NET_NS_FD, static_cast<uint32_t>(namespace_fd))
      .attribute(IFLA_IFNAME, new_name);
  return done(transact(request), "link-move", new_name);
}

Status Netlink::set_mac(int index, const std::string& name, const MacAddress& mac) {
  Request request(RTM_NEWLINK, NLM_F_ACK);
  request.body(link_body(index)).attribute(IFLA_ADDRESS, std::span<const uint8_t>(mac));
  return done(transact(request), "link-mac", name);
}

Status Netlink::set_mtu(int index, const std::string& name, uint32_t mtu) {
  Request request(RTM_NEWLINK, NLM_F_ACK);
  request.body(link_body(index)).attribute(IFLA_MTU, mtu);
  return done(transact(request), "link-mtu", name + " to " + std::to_string(mtu));
}

Status Netlink::set_queue_length(int index, const std::string& name, uint32_t frames) {
  Request request(RTM_NEWLINK, NLM_F_ACK);
  request.body(link_body(index)).attribute(IFLA_TXQLEN, frames);
  return done(transact(request), "link-queue", name + " to " + std::to_string(frames));
}

Status Netlink::set_up(int index, const std::string& name, bool up) {
  ifinfomsg body = link_body(index);
  body.ifi_change = IFF_UP;
  body.ifi_flags = up ? IFF_UP : 0;
  Request request(RTM_NEWLINK, NLM_F_ACK);
  request.body(body);
  return done(transact(request), up ? "link-up" : "link-down", name);
}

Status Netlink::delete_link(int index, const std::string& name) {
  Request request(RTM_DELLINK, NLM_F_ACK);
  request.body(link_body(index));
  return done(transact(request), "link-delete", name);
}

namespace {
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
    if (body.ifa_family == AF_INET6 && body.ifa_scope != RT_SCOPE_UNIVERSE) return;
    std::optional<NetworkAddress> found;
    for_each_attribute(payload.subspan(NLMSG_ALIGN(sizeof body)),
                       [&](uint16_t kind, std::span<const uint8_t> value) {
                         // IPv4 has both, and IFA_ADDRESS is the peer's on point-to-point links; IPv6 has
                         // IFA_ADDRESS only.
                         if (kind == IFA_LOCAL && body.ifa_family == AF_INET && value.size() == 4)
                           found = NetworkAddress{Address::v4_from(value.data()), 4};
                         if (kind == IFA_ADDRESS && body.ifa_family == AF_INET6 && value.size() == 16)
                           found = NetworkAddress{Address::v6_from(value.data()), 6};
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

Status Netlink::set_queue_discipline(int index, const std::string& name, const std::string& kind) {
  tcmsg body{};
  body.tcm_family = AF_UNSPEC;
  body.tcm_ifindex = index;
  body.tcm_parent = TC_H_ROOT;
  Request request(RTM_NEWQDISC, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE);
  request.body(body).attribute(TCA_KIND, kind);
  const int error = transact(request);
  return done(error, "queue-discipline", kind + " on " + name,
              error == ENOENT ? "the kernel has no such queue discipline; choose another" : "");
}

Result<std::string> Netlink::queue_discipline(int index) {
  tcmsg wanted{};
  wanted.tcm_family = AF_UNSPEC;
  Request request(RTM_GETQDISC, NLM_F_DUMP);
  request.body(wanted);
  // Without this the kernel leaves out those that nobody set.
  request.attribute(TCA_DUMP_INVISIBLE, std::span<const uint8_t>{});
  std::string kind;
  request.on_answer = [&](uint16_t type, std::span<const uint8_t> payload) {
    if (type != RTM_NEWQDISC || payload.size() < sizeof(tcmsg)) return;
    const auto body = load<tcmsg>(payload.data());
    if (body.tcm_ifindex != index || body.tcm_parent != TC_H_ROOT) return;
    for_each_attribute(payload.subspan(NLMSG_ALIGN(sizeof body)),
                       [&](uint16_t attribute, std::span<const uint8_t> value) {
                         if (attribute == TCA_KIND) kind = text_of(value);
                       });
  };
  if (const int error = transact(request); error != 0)
    return call_failed_with(error, "netlink-queue-discipline", "queue-discipline", std::to_string(index));
  return kind;
}

}  // namespace weft::io
