// The switch's limits and times. TypeScript validates configuration and hands over finished values; `check`
// guards the C++ side against a caller that does not.
#pragma once

#include <cstdint>

#include "base/address.h"
#include "base/mac.h"
#include "base/result.h"

namespace weft {

// What may change while the switch runs.
struct LiveSettings {
  // Connections that one pod port may have begun; the host port may use the whole table. 0: the connection
  // table's own default. For ports that are added from now on.
  uint32_t connections_per_port = 0;
  // Answers that the switch itself sends to one port (ARP, ND, ICMP, resets): so many a second (0: no limit),
  // so many at once.
  uint32_t answers_per_second = 1000;
  uint32_t answer_burst = 200;
  // Flow events. One in `flow_sample` new connections is told (1: all, 0: none); drops are always told.
  // Both within a rate for each port and kind.
  uint32_t flow_sample = 1;
  uint32_t flows_per_second = 200;  // drops of one port; 0: no limit
  uint32_t flow_burst = 100;
};

// What is fixed for the life of the process.
struct Settings {
  // Threads that move packets. One is best on two cores; ports are spread over them.
  uint32_t workers = 1;
  // Ports at the same time. At most kMaxPorts.
  uint32_t max_ports = 1024;

  // The gateway of every pod, and the MAC address that the switch answers for it with.
  MacAddress gateway_mac = {0x02, 0x77, 0x65, 0x66, 0x74, 0x01};
  Address gateway_v4 = Address::v4(0xa9fe0101);  // 169.254.1.1
  Address gateway_v6{{0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}};

  // One port's turn ends after so many frames or so much time, whichever comes first: a write runs the
  // receiver's stack in our thread, so that frames alone do not bound it.
  uint32_t drain_frames = 64;
  uint64_t drain_ns = 500'000;
  // Whether small datagrams of one flow that arrive in one turn leave as one frame, where the receiver takes
  // USO (Linux 6.2).
  bool coalesce_udp = true;
  // How long a worker goes on polling after its last frame before it sleeps. 0 sleeps at once.
  uint64_t poll_ns = 0;

  // Fragmented packets in flight and fragments that wait for their first, for each worker and for one port of
  // it.
  uint32_t fragmented_packets = 1024;
  uint32_t fragmented_packets_per_port = 256;
  uint32_t held_fragments = 512;
  uint32_t held_fragments_per_port = 128;
  // Clients whose session affinity is remembered.
  uint32_t affinity_clients = 16384;

  uint32_t flow_ring = 8192;  // flow events held for each worker until they are drained
  // Capture: bytes held for each worker until they are drained.
  uint32_t capture_ring = 4u << 20;

  LiveSettings live;

  // Secrets of the hashes and the seed of service choice; random for each process.
  uint64_t seed_low = 0;
  uint64_t seed_high = 0;
};

inline constexpr uint32_t kMaxPorts = 16384;
inline constexpr uint32_t kMaxWorkers = 32;

// Refuses values that the switch cannot run with: the setting, what was found, what is allowed.
Status check(const Settings& settings);

}  // namespace weft
