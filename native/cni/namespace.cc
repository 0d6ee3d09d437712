#include "cni/namespace.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/nsfs.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <vector>

#include "cni/descriptor.h"
#include "cni/json.h"
#include "cni/route_socket.h"

namespace weft::cni {

namespace {

struct Found {
  int index = 0;
  uint32_t mtu = 0;
  bool up = false;
  std::string kind;
  std::string mac;
  std::vector<std::string> addresses;                       // with prefix length
  std::vector<std::pair<std::string, std::string>> routes;  // destination, gateway or ""
};

std::string failed(Entering::State state, const char* call, int number) {
  constexpr std::string_view kNames[] = {"ok", "missing", "other", "own", "closed"};
  std::string json = "{\"state\":";
  append_json_string(json, kNames[state]);
  if (call != nullptr) {
    json += ",\"error\":";
    append_json_string(json, std::string(call) + ": " + ::strerror(number));
  }
  json.push_back('}');
  return json;
}

std::string address_text(int family, const void* bytes) {
  char text[INET6_ADDRSTRLEN];
  return ::inet_ntop(family, bytes, text, sizeof text) == nullptr ? "" : text;
}

std::string network_text(int family, const void* bytes, uint8_t length) {
  return address_text(family, bytes) + "/" + std::to_string(length);
}

void take_link(const nlmsghdr& message, Found& found) {
  if (message.nlmsg_type != RTM_NEWLINK) return;
  ifinfomsg body{};
  std::memcpy(&body, NLMSG_DATA(&message), sizeof body);
  found.index = body.ifi_index;
  found.up = (body.ifi_flags & IFF_UP) != 0;
  for_attributes<ifinfomsg>(message, [&](uint16_t type, const char* data, size_t size) {
    if (type == IFLA_MTU && size >= sizeof found.mtu) std::memcpy(&found.mtu, data, sizeof found.mtu);
    if (type == IFLA_ADDRESS && size == 6) {
      char text[18];
      const auto at = [&](size_t i) { return static_cast<unsigned>(static_cast<unsigned char>(data[i])); };
      std::snprintf(text, sizeof text, "%02x:%02x:%02x:%02x:%02x:%02x", at(0), at(1), at(2), at(3), at(4),
                    at(5));
      found.mac = text;
    }
    if (type != IFLA_LINKINFO) return;
    for (size_t place = 0; place + sizeof(rtattr) <= size;) {
      rtattr nested{};
      std::memcpy(&nested, data + place, sizeof nested);
      if (nested.rta_len < sizeof nested || place + nested.rta_len > size) return;
      if (nested.rta_type == IFLA_INFO_KIND)
        found.kind.assign(data + place + RTA_LENGTH(0),
                          ::strnlen(data + place + RTA_LENGTH(0), nested.rta_len - RTA_LENGTH(0)));
      place += RTA_ALIGN(nested.rta_len);
    }
  });
}

void take_address(const nlmsghdr& message, Found& found) {
  ifaddrmsg body{};
  std::memcpy(&body, NLMSG_DATA(&message), sizeof body);
  if (message.nlmsg_type != RTM_NEWADDR || static_cast<int>(body.ifa_index) != found.index) return;
  const size_t width = body.ifa_family == AF_INET ? 4 : 16;
  const char* address = nullptr;
  for_attributes<ifaddrmsg>(message, [&](uint16_t type, const char* data, size_t size) {
    // On a point-to-point interface IFA_ADDRESS is the other end's.
    if (size != width) return;
    if (type == IFA_LOCAL || (type == IFA_ADDRESS && address == nullptr)) address = data;
  });
  if (address != nullptr)
    found.addresses.push_back(network_text(body.ifa_family, address, body.ifa_prefixlen));
}

void take_route(const nlmsghdr& message, Found& found) {
  rtmsg body{};
  std::memcpy(&body, NLMSG_DATA(&message), sizeof body);
  if (message.nlmsg_type != RTM_NEWROUTE || body.rtm_table != RT_TABLE_MAIN || body.rtm_type != RTN_UNICAST)
    return;
  const size_t width = body.rtm_family == AF_INET ? 4 : 16;
  const char zeros[16] = {};
  const char* destination = zeros;
  std::string gateway;
  int32_t out = 0;
  for_attributes<rtmsg>(message, [&](uint16_t type, const char* data, size_t size) {
    if (type == RTA_DST && size == width) destination = data;
    if (type == RTA_GATEWAY && size == width) gateway = address_text(body.rtm_family, data);
    if (type == RTA_OIF && size == sizeof out) std::memcpy(&out, data, sizeof out);
  });
  if (out != found.index) return;
  found.routes.emplace_back(network_text(body.rtm_family, destination, body.rtm_dst_len), std::move(gateway));
}

std::string found_json(const std::string& name, const Found& found, bool whole) {
  std::string json = "{\"state\":\"ok\",\"interface\":{\"name\":";
  append_json_string(json, name);
  json += ",\"kind\":";
  append_json_string(json, found.kind);
  json += ",\"mac\":";
  append_json_string(json, found.mac);
  json += ",\"mtu\":" + std::to_string(found.mtu) + ",\"up\":" + (found.up ? "true" : "false");
  if (whole) {
    json += ",\"addresses\":[";
    for (const std::string& address : found.addresses) {
      if (&address != &found.addresses.front()) json.push_back(',');
      append_json_string(json, address);
    }
    json += "],\"routes\":[";
    for (const auto& route : found.routes) {
      if (&route != &found.routes.front()) json.push_back(',');
      json += "{\"dst\":";
      append_json_string(json, route.first);
      if (!route.second.empty()) {
        json += ",\"gw\":";
        append_json_string(json, route.second);
      }
      json.push_back('}');
    }
    json.push_back(']');
  }
  return json + "}}";
}

// Whether an open namespace is the one that this process is in.
bool is_own_namespace(int descriptor) {
  struct stat theirs{};
  struct stat ours{};
  return ::fstat(descriptor, &theirs) == 0 && ::stat("/proc/self/ns/net", &ours) == 0 &&
         theirs.st_dev == ours.st_dev && theirs.st_ino == ours.st_ino;
}

}  // namespace

Entering enter_namespace(const std::string& path, bool allow_own) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) {
    const bool missing = errno == ENOENT || errno == ENOTDIR || errno == ESRCH;
    return {missing ? Entering::missing : Entering::closed, "open", errno};
  }
  const int type = ::ioctl(file.get(), NS_GET_NSTYPE);
  if (type < 0) return {Entering::missing, "ioctl(NS_GET_NSTYPE)", errno};
  if (type != CLONE_NEWNET) return {Entering::other};
  if (!allow_own && is_own_namespace(file.get())) return {Entering::own};
  if (::setns(file.get(), CLONE_NEWNET) != 0) return {Entering::closed, "setns", errno};
  return {};
}

std::string look_into_namespace(const std::string& path, const std::string& interface, bool whole,
                                bool allow_own) {
  const Entering entering = enter_namespace(path, allow_own);
  if (entering.state != Entering::entered) return failed(entering.state, entering.call, entering.number);
  RouteSocket socket;
  if (!socket.valid()) return failed(Entering::closed, "socket(AF_NETLINK)", errno);
  Found found;
  if (const int error = socket.link(interface, [&](const nlmsghdr& message) { take_link(message, found); });
      error != 0) {
    if (error == ENODEV) return "{\"state\":\"ok\",\"interface\":null}";
    return failed(Entering::closed, "RTM_GETLINK", error);
  }
  if (whole) {
    for (const uint8_t family : {uint8_t{AF_INET}, uint8_t{AF_INET6}}) {
      int error =
          socket.dump(RTM_GETADDR, family, [&](const nlmsghdr& message) { take_address(message, found); });
      if (error == 0)
        error =
            socket.dump(RTM_GETROUTE, family, [&](const nlmsghdr& message) { take_route(message, found); });
      // A kernel without IPv6 has none of either.
      if (error != 0 && error != EAFNOSUPPORT && error != EOPNOTSUPP)
        return failed(Entering::closed, "RTM_GETROUTE", error);
    }
  }
  return found_json(interface, found, whole);
}

}  // namespace weft::cni
