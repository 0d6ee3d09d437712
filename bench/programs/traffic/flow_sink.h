// Server: the receiving side of many flows.
#pragma once

#include <cstdint>
#include <vector>

#include "traffic/meter.h"
#include "traffic/socket.h"

namespace weft::traffic {

// Answers datagrams that open a flow (sequence kOpening), counts the others and acknowledges whenever their
// highest sequence passes a multiple of `every`. One thread; never returns.
[[noreturn]] void run_flow_sink(std::vector<Descriptor> sockets, Descriptor acknowledge, uint64_t every,
                                Meter& meter);

}  // namespace weft::traffic
