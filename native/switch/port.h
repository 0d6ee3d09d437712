// A port: one device and what the switch knows about the far side. Made by the control thread, read by every
// worker through the View that lists it, destroyed after no worker can hold it any more.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/mac.h"
#include "packet/flow.h"
#include "switch/capture.h"
#include "switch/counters.h"
#include "switch/device.h"
#include "switch/rate_limit.h"
#include "switch/token_bucket.h"

namespace weft {

enum class PortKind : uint8_t {
  pod,   // sends only from its own MAC and addresses; judged in both directions
  host,  // the node: its own sockets and what it forwards; everything without a port of its own goes there
};

struct PortSpec {
  std::string id;  // unique; for messages
  PortKind kind = PortKind::pod;
  MacAddress mac{};                // of the far side's interface
  std::vector<Address> addresses;  // the far side's own at first; each belongs to one port (View::routes)
  uint32_t mtu = 1500;             // of the far side's interface: largest IP packet, bytes
  Bandwidth bandwidth{};           // at first (Switch::set_bandwidth)
};

enum class PortStatus : uint8_t {
  live,
  gone,  // the device vanished (a pod deleted its interface); costs only this port
};

struct Port {
  Port(PortSpec port_spec, std::unique_ptr<Device> port_device, PortIndex port_index,
       PortInstance port_instance, uint32_t owner, uint32_t workers);

  const PortSpec spec;
  std::unique_ptr<Device> device;
  const DeviceOffloads offloads;
  const PortIndex index;
  const PortInstance instance;
  const uint32_t worker;  // the one that receives from it

  std::atomic<PortStatus> status{PortStatus::live};
  std::atomic<CaptureMode> capture{CaptureMode::off};
  std::atomic<uint32_t> snap_length{0};

  // To the pod: what is beyond it is dropped. From the pod: its queue is left unread, which its own kernel
  // feels as a slow link.
  RateLimit ingress;
  RateLimit egress;

  // One block for each worker.
  std::unique_ptr<PortCounters[]> counters;

  // Touched by `worker` only: an answer always goes back to the port that the packet came from.
  TokenBucket answers;
  TokenBucket events;
  uint32_t suppressed_events = 0;
  TokenBucket openings;  // of events of new connections
  uint32_t suppressed_openings = 0;
  TokenBucket trials;        // of events of a trial
  TokenBucket trial_kinds;   // of those that tell of ends or a port for the first time
  bool lone = false;         // its last turn was one small frame
  uint64_t turn_end_ns = 0;  // of its last turn
};

}  // namespace weft
