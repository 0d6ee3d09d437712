// TAP ports: made, re-attached after a restart, adopted from the supervisor, removed.
//
// The namespace in which /dev/net/tun is opened decides where TUNSETIFF creates and looks, and the descriptor
// pins that namespace until it is closed. So a new TAP is opened in the nursery and then moved: it does not
// keep the pod's namespace alive. A re-attached one has to be opened inside (pinned = true), so its owner
// watches the namespace's path and closes it when the path is gone.
//
// All functions here block and run on the namespace thread. Each error names call, object and errno, and
// whatever was made before is undone. Devices are persistent: closing the descriptor keeps device, addresses
// and routes (carrier off); remove_tap deletes them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "io/descriptor.h"
#include "io/netlink.h"
#include "io/netns.h"

namespace weft::io {

// Bytes of struct virtio_net_hdr in front of each frame, little-endian on every machine (TUNSETVNETLE).
inline constexpr uint32_t kVnetHeaderBytes = 10;

struct TapConfig {
  std::string netns;  // path; empty: the process's own namespace (host port)
  std::string ifname;
  Mac mac{};
  std::vector<NetworkAddress> addresses;
  uint32_t mtu = 1500;
  Mac gateway_mac{};
  // Pods get a default route by way of the gateways. A host port gets `routes` instead.
  bool default_route = true;
  std::vector<Route> routes;
};

// 169.254.1.1 and fe80::1: link-local, so the same in every pod of every cluster.
NetworkAddress gateway(uint8_t family);

enum class TapOrigin : uint8_t { created, reattached, adopted };

struct Tap {
  Descriptor descriptor;  // non-blocking
  std::string netns;
  std::string ifname;
  NamespaceIdentity identity;  // zeros for a host port
  TapOrigin origin = TapOrigin::created;
  bool pinned = false;
  bool udp_segmentation = false;  // USO; false on kernels before 6.2
};

// Makes the TAP, or re-attaches one that is there with the same MAC and flags.
// Errors: tap-open, tap-create, tap-busy (another process holds it), tap-flags (there, but made with other
// flags), tap-taken (an interface of that name is there and is not this port's), namespace-*, netlink-*,
// sysctl.
Result<Tap> attach_tap(const NamespaceContext& context, const TapConfig& config);

// Takes over a descriptor that the supervisor kept. The device is what this descriptor is attached to,
// wherever it is; MAC, name and flags must be the config's. Errors: tap-gone, tap-flags, tap-taken.
Result<Tap> adopt_tap(const TapConfig& config, Descriptor descriptor);

// Brings addresses, MTU, routes and neighbours inside the namespace to the config: adds what is missing,
// removes other global addresses.
Status configure_tap(const NamespaceContext& context, const TapConfig& config);

// Deletes the device and closes the descriptor. Success when interface or namespace are gone.
Status remove_tap(const NamespaceContext& context, Tap tap);

// What is wrong with a TAP's descriptor, if something is: the device was deleted (EBADFD). Any thread.
Status tap_alive(int descriptor, const std::string& ifname);

}  // namespace weft::io
