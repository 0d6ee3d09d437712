// TAP ports: made, re-attached after a restart, adopted from the supervisor, removed.
//
// The namespace in which /dev/net/tun is opened decides where TUNSETIFF creates and looks, and the descriptor
// pins that namespace until it is closed. A pod's is opened inside the pod all the same, and the owner of a
// port watches the namespace's path and closes it when the path is gone: a TAP made elsewhere and moved in
// pins nothing, but the move waits for an RCU barrier with the kernel's network lock held, 10 to 20 ms of a
// machine that starts a pod, and all that start at once wait one behind the other.
//
// All functions here block and run on the namespace thread. Each error names call, object and errno, and
// whatever was made before is undone. Devices are persistent: closing the descriptor keeps device, addresses
// and routes (carrier off); remove_tap deletes them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/mac.h"
#include "base/result.h"
#include "io/descriptor.h"
#include "io/netlink.h"
#include "io/netns.h"

namespace weft::io {

struct TapConfig {
  std::string netns;  // path; empty: the process's own namespace (host port)
  std::string ifname;
  MacAddress mac{};
  std::vector<NetworkAddress> addresses;
  uint32_t mtu = 1500;
  uint32_t queue_length = 1000;  // frames that wait for the switch; what does not fit the kernel drops
  // Of the kernel's names. With `noqueue` a sender's frames go straight into the queue above.
  std::string queue_discipline = "noqueue";
  MacAddress gateway_mac{};
  // A pod's namespace is made ready whole: loopback up, default routes by way of the gateways. The host's is
  // not ours: it gets `routes`.
  bool host = false;
  std::vector<Route> routes;
  // Where /proc/sys is seen and can be written: in a container it is read-only at its own place.
  std::string sysctl = "/proc/sys";
  // The host's: further addresses, which the kernel chooses for nothing by itself (`Preferred::no`).
  std::vector<NetworkAddress> sources;
};

// 169.254.1.1 and fe80::1: link-local, so the same in every pod of every cluster.
NetworkAddress gateway_address(uint8_t family);

enum class TapOrigin : uint8_t { created, reattached, adopted };

struct Tap {
  Descriptor descriptor;  // non-blocking, vnet headers of 10 bytes in host byte order, no packet information
  NamespaceIdentity identity;  // zeros for a host port
  TapOrigin origin = TapOrigin::created;
  bool udp_segmentation = false;  // USO; kernels before 6.2 have none
};

// Makes the TAP, or re-attaches one that is there with the same MAC and flags.
// Errors: tap-open (/dev/net/tun), tap-create, tap-busy (another process holds it), tap-flags (there, but
// made with other flags), tap-taken (an interface of that name is there and is not this port's), namespace-*,
// netlink-*, sysctl-write.
Result<Tap> attach_tap(const NamespaceContext& context, const TapConfig& config);

// Takes over a descriptor that the supervisor kept, if what it is attached to is what the config means: same
// namespace, MAC and flags. Errors: tap-gone, tap-flags, tap-taken; the descriptor is closed then.
Result<Tap> adopt_tap(const TapConfig& config, Descriptor descriptor);

// What was not as a config says and was brought to it, a few words each, such as `address 10.42.0.1`. Of an
// interface that was as it should be: nothing.
using Changes = std::vector<std::string>;

// Brings addresses, MTU, routes and neighbours inside the namespace to the config: adds what is missing,
// removes other global addresses of this interface. What is right already is left alone, so that whoever
// watches the interface and calls this hears nothing of it. Error link-gone: there is no such interface.
Result<Changes> configure_tap(const NamespaceContext& context, const TapConfig& config);

// Deletes the device, wherever it was moved or renamed to, and closes the descriptor. Without a descriptor (a
// port that failed) it deletes the interface that the config names, if it is this port's. Success when
// interface or namespace are gone.
Status remove_tap(const NamespaceContext& context, const TapConfig& config, Descriptor descriptor);

// tap-gone when the device was deleted (EBADFD). Any thread.
Status tap_alive(int descriptor, const std::string& ifname);

}  // namespace weft::io
