// rtnetlink, as much of it as a port needs. A socket belongs to the namespace in which it was opened,
// whichever namespace the thread is in later; so one Netlink is one namespace. Requests are acknowledged one
// by one: a failed one is named exactly. Blocking (the kernel answers within the call); one thread.
//
// Adding what is there already succeeds: the same calls set a new port up and bring a re-attached one to what
// it should be.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/address.h"
#include "base/mac.h"
#include "base/result.h"
#include "io/descriptor.h"

namespace weft::io {

// An address together with its family, for places where no packet gives the family.
struct NetworkAddress {
  Address address;
  uint8_t family = 4;  // 4 or 6
};

std::string to_string(const NetworkAddress& address);

struct Network {
  NetworkAddress address;
  uint8_t prefix_length = 0;
};

struct Link {
  int index = 0;
  std::string name;
  MacAddress mac{};
  uint32_t mtu = 0;
  uint32_t queue_length = 0;
  bool up = false;
  bool carrier = false;
  std::string kind;  // "tun" for TUN and TAP devices, "veth", empty for physical ones
  // Of a TUN or TAP device; zeros for others.
  struct Tun {
    bool tap = false;
    bool packet_information = false;
    bool vnet_header = false;
    bool multi_queue = false;
    bool persistent = false;
  } tun;
};

struct Route {
  Network destination;                    // prefix length 0 is the default route
  std::optional<NetworkAddress> gateway;  // none: link scope
  std::optional<NetworkAddress> source;   // preferred source address
};

enum class Preferred : bool { no, yes };

class Netlink {
 public:
  // In the calling thread's namespace. Error: netlink-open.
  static Result<Netlink> open();

  // No link of that name is an empty optional, not an error.
  Result<std::optional<Link>> find_link(const std::string& name);
  // As find_link, with the index made sure of: an error (link-gone) when there is none.
  Result<Link> get_link(const std::string& name);
  Result<uint32_t> count_links();

  // One message: the kernel renames while it moves, so that the name `eth0` of the target cannot clash on the
  // way.
  Status move_link(int index, int namespace_fd, const std::string& new_name);
  Status set_mac(int index, const std::string& name, const MacAddress& mac);
  Status set_mtu(int index, const std::string& name, uint32_t mtu);
  Status set_queue_length(int index, const std::string& name, uint32_t frames);
  Status set_up(int index, const std::string& name, bool up);
  Status delete_link(int index, const std::string& name);

  // As /32 or /128 without duplicate address detection. Not preferred: local, and sent from where a route or
  // a socket names it, but not what the kernel masquerades with (IPv6: deprecated; IPv4: of the link's
  // scope).
  Status add_address(int index, const std::string& name, const NetworkAddress& address,
                     Preferred preferred = Preferred::yes);
  Status remove_address(int index, const std::string& name, const NetworkAddress& address);
  // Without IPv6's link-local ones, which are the kernel's.
  Result<std::vector<NetworkAddress>> list_addresses(int index);
  // Routes of the main table on this interface that protocol `static` owns: those that add_route makes.
  Result<std::vector<Route>> list_routes(int index);
  Status remove_route(int index, const std::string& name, const Network& destination);
  // `onlink`: the gateway need not be reachable by another route first.
  Status add_route(int index, const std::string& name, const Route& route, bool onlink);
  Status add_permanent_neighbour(int index, const std::string& name, const NetworkAddress& neighbour,
                                 const MacAddress& mac);
  // Replaces the interface's root qdisc by one of this kind with its own defaults. `noqueue`: the TAP's ring
  // is the queue.
  Status set_queue_discipline(int index, const std::string& name, const std::string& kind);
  // Its kind; empty where the kernel names none.
  Result<std::string> queue_discipline(int index);

 private:
  explicit Netlink(Descriptor socket) : socket_(std::move(socket)) {}
  class Request;
  // Sends and waits for the acknowledgement; 0 or the kernel's errno.
  int transact(Request& request);
  Status done(int errno_value, const char* call, const std::string& object, const std::string& hint = {});

  Descriptor socket_;
  uint32_t sequence_ = 0;
};

}  // namespace weft::io
