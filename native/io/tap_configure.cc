#include "io/tap_configure.h"

#include <fcntl.h>
#include <unistd.h>

#include <optional>

namespace weft::io {

namespace {

// Leaves a value alone that is right already: in some containers /proc/sys cannot be written.
Status write_sysctl(const std::string& path, char value) {
  Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) return call_failed("sysctl-write", "open", path);
  char found = 0;
  if (::read(file.get(), &found, 1) == 1 && found == value) return Ok{};
  file = Descriptor(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!file.valid())
    return call_failed("sysctl-write", "open", path,
                       "the switch has to be able to write there (paths.sysctl)");
  if (::write(file.get(), &value, 1) < 0)
    return call_failed("sysctl-write", std::string("write ") + value + " to", path);
  return Ok{};
}

bool has_family(const TapConfig& config, uint8_t family) {
  for (const NetworkAddress& address : config.addresses)
    if (address.family == family) return true;
  return false;
}

// /proc/sys/net shows the calling thread's network namespace, so this runs inside the pod's. Before the link
// is up, since that is when the kernel starts duplicate address detection and router solicitation.
Status set_ipv6_sysctls(const TapConfig& config) {
  const std::string folder = config.sysctl + "/net/ipv6/conf/" + config.ifname;
  const bool wanted = has_family(config, 6);
  if (::access(folder.c_str(), F_OK) != 0) {
    if (!wanted) return Ok{};
    return call_failed("sysctl-write", "access", folder,
                       "the kernel has no IPv6, so the pod cannot have an IPv6 address");
  }
  if (!wanted) return write_sysctl(folder + "/disable_ipv6", '1');
  for (const char* name : {"/accept_ra", "/accept_dad", "/disable_ipv6"})
    if (Status status = write_sysctl(folder + name, '0'); !status.ok()) return status;
  return Ok{};
}

bool contains(const std::vector<NetworkAddress>& addresses, const NetworkAddress& wanted) {
  for (const NetworkAddress& address : addresses)
    if (address.address == wanted.address) return true;
  return false;
}

Status set_link(Netlink& netlink, const Link& link, const TapConfig& config, Changes& changes) {
  if (link.mac != config.mac) {
    changes.emplace_back("MAC address");
    if (Status status = netlink.set_mac(link.index, config.ifname, config.mac); !status.ok()) return status;
  }
  if (link.mtu != config.mtu) {
    changes.push_back("MTU " + std::to_string(link.mtu));
    if (Status status = netlink.set_mtu(link.index, config.ifname, config.mtu); !status.ok()) return status;
  }
  if (link.queue_length != config.queue_length)
    if (Status status = netlink.set_queue_length(link.index, config.ifname, config.queue_length);
        !status.ok())
      return status;
  return Ok{};
}

Status set_queue_discipline(Netlink& netlink, const Link& link, const TapConfig& config) {
  // One that was never up has none yet.
  if (link.up) {
    auto found = netlink.queue_discipline(link.index);
    if (!found.ok()) return found.error();
    if (found.value() == config.queue_discipline) return Ok{};
  }
  return netlink.set_queue_discipline(link.index, config.ifname, config.queue_discipline);
}

Status set_addresses(Netlink& netlink, int index, const TapConfig& config, Changes& changes) {
  auto listed = netlink.list_addresses(index);
  if (!listed.ok()) return listed.error();
  const std::vector<NetworkAddress>& present = listed.value();
  for (const NetworkAddress& address : present) {
    if (contains(config.addresses, address) || contains(config.sources, address)) continue;
    changes.push_back("address " + to_string(address));
    if (Status status = netlink.remove_address(index, config.ifname, address); !status.ok()) return status;
  }
  const auto add = [&](const NetworkAddress& address, Preferred preferred) -> Status {
    if (contains(present, address)) return Ok{};
    changes.push_back("address " + to_string(address));
    return netlink.add_address(index, config.ifname, address, preferred);
  };
  for (const NetworkAddress& address : config.addresses)
    if (Status status = add(address, Preferred::yes); !status.ok()) return status;
  for (const NetworkAddress& address : config.sources)
    if (Status status = add(address, Preferred::no); !status.ok()) return status;
  return Ok{};
}

bool same(const NetworkAddress& one, const NetworkAddress& other) {
  return one.family == other.family && one.address == other.address;
}
bool same(const std::optional<NetworkAddress>& one, const std::optional<NetworkAddress>& other) {
  return one.has_value() == other.has_value() && (!one || same(*one, *other));
}
bool same(const Network& one, const Network& other) {
  return one.prefix_length == other.prefix_length && same(one.address, other.address);
}

// The routes of one interface, each added only where it is not there as it should be.
class Routes {
 public:
  Routes(Netlink& netlink, int index, const TapConfig& config, Changes& changes)
      : netlink_(netlink), index_(index), config_(config), changes_(changes) {}

  Status set() {
    // A pod's are its own to change; a new interface has none.
    if (config_.host) {
      auto listed = netlink_.list_routes(index_);
      if (!listed.ok()) return listed.error();
      present_ = std::move(listed).value();
    }
    for (const uint8_t family : {uint8_t{4}, uint8_t{6}})
      if (Status status = set_gateway(family); !status.ok()) return status;
    if (config_.host)
      if (Status status = remove_stale(); !status.ok()) return status;
    for (Route route : config_.routes) {
      route.gateway = gateway_address(route.destination.address.family);
      if (Status status = add(route, true); !status.ok()) return status;
    }
    return Ok{};
  }

 private:
  // The gateway is reachable on the link and is never resolved; everything else of a pod goes by way of it.
  Status set_gateway(uint8_t family) {
    const NetworkAddress gateway = gateway_address(family);
    bool needed = !config_.host && has_family(config_, family);
    for (const Route& route : config_.routes)
      needed = needed || (config_.host && route.destination.address.family == family);
    if (!needed) return Ok{};
    // IPv6 takes a link-local gateway without this route, but a pod may lack the fe80::/64 that its address
    // would bring.
    const uint8_t full = family == 4 ? 32 : 128;
    if (Status status = add({{gateway, full}, {}, {}}, false); !status.ok()) return status;
    if (!config_.host) {
      const Route everywhere{{{Address{}, family}, 0}, gateway, {}};
      if (Status status = add(everywhere, false); !status.ok()) return status;
    }
    return netlink_.add_permanent_neighbour(index_, config_.ifname, gateway, config_.gateway_mac);
  }

  // A host port's routes of before that are not wanted any more.
  Status remove_stale() {
    for (const Route& route : present_) {
      if (!route.gateway) continue;
      bool wanted = false;
      for (const Route& one : config_.routes) wanted = wanted || same(one.destination, route.destination);
      if (wanted) continue;
      changes_.push_back("route " + text_of(route));
      if (Status status = netlink_.remove_route(index_, config_.ifname, route.destination); !status.ok())
        return status;
    }
    return Ok{};
  }

  Status add(const Route& route, bool onlink) {
    for (const Route& one : present_)
      if (same(one.destination, route.destination) && same(one.gateway, route.gateway) &&
          same(one.source, route.source))
        return Ok{};
    if (config_.host) changes_.push_back("route " + text_of(route));
    return netlink_.add_route(index_, config_.ifname, route, onlink);
  }

  static std::string text_of(const Route& route) {
    return to_string(route.destination.address) + "/" + std::to_string(route.destination.prefix_length);
  }

  Netlink& netlink_;
  int index_;
  const TapConfig& config_;
  Changes& changes_;
  std::vector<Route> present_;
};

}  // namespace

NetworkAddress gateway_address(uint8_t family) {
  if (family == 4) return {Address::v4(0xa9fe0101), 4};
  return {Address{{0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}}, 6};
}

Result<Changes> configure_here(Netlink& netlink, const TapConfig& config) {
  auto found = netlink.get_link(config.ifname);
  if (!found.ok()) return found.error();
  const Link& link = found.value();
  Changes changes;
  if (Status status = set_link(netlink, link, config, changes); !status.ok()) return status.error();
  if (Status status = set_ipv6_sysctls(config); !status.ok()) return status.error();
  if (Status status = set_queue_discipline(netlink, link, config); !status.ok()) return status.error();
  if (!config.host) {
    auto loopback = netlink.get_link("lo");
    if (!loopback.ok()) return loopback.error();
    if (!loopback.value().up)
      if (Status status = netlink.set_up(loopback.value().index, "lo", true); !status.ok())
        return status.error();
  }
  if (Status status = set_addresses(netlink, link.index, config, changes); !status.ok())
    return status.error();
  if (!link.up) {
    changes.emplace_back("link down");
    if (Status status = netlink.set_up(link.index, config.ifname, true); !status.ok()) return status.error();
  }
  if (Status status = Routes(netlink, link.index, config, changes).set(); !status.ok()) return status.error();
  return changes;
}

}  // namespace weft::io
