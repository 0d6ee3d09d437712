// One-way UDP from one socket, measured by the receiver.
//
// With a window, `--window` datagrams are on their way at most; the receiver acknowledges by the batch and
// the sender goes on. That measures what the path carries without loss, where a blast measures mostly who
// gets the processor. The acknowledgements are a flow of their own (another pair of ports, opened by the
// client, so that a policy for connections to the server allows it): the measured flow never sees an answer,
// as with logs, metrics and media, which decides how often a kernel's connection tracking makes it walk the
// rules.
//
// A lost datagram is passed over when a later one is acknowledged. When a whole window is lost, the sender
// goes on after 20 ms and counts a stall.
#pragma once

#include "traffic/arguments.h"

namespace weft::traffic {

// --to ADDRESS --control ADDRESS --port P --data-port P --size BYTES --window DATAGRAMS (0: blast) --burst
// DATAGRAMS
// --gso 0|1 --warm SECONDS --seconds SECONDS
void run_udp(const Arguments& arguments);

}  // namespace weft::traffic
