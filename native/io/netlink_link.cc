// What rtnetlink is asked of links, and of the queue discipline on each.
#include <linux/if.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/pkt_sched.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "io/netlink_message.h"
#include "io/netlink_request.h"

namespace weft::io {

namespace {

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

ifinfomsg link_body(int index) {
  ifinfomsg body{};
  body.ifi_family = AF_UNSPEC;
  body.ifi_index = index;
  return body;
}

}  // namespace

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
