// The receiving side of one-way UDP: counts, and acknowledges where the sender works with a window.
#pragma once

#include <cstdint>

#include "traffic/meter.h"
#include "traffic/socket.h"

namespace weft::traffic {

struct SinkOptions {
  // Acknowledge whenever the highest sequence passes a multiple of this; 0: never.
  uint64_t every = 0;
  // Take what the kernel has coalesced as one (UDP_GRO).
  bool gro = false;
};

// Never returns. With `every`, first waits for the sender's greeting on `acknowledge`, which says where to.
[[noreturn]] void run_sink(Descriptor data, Descriptor acknowledge, SinkOptions options, Meter& meter);

}  // namespace weft::traffic
