// Server: sends back what comes. One thread that blocks, since that is the cheapest answer there is: what is
// measured is the way there and back, and an event loop would add a system call to it.
#pragma once

#include "traffic/socket.h"

namespace weft::traffic {

// One connection after the other, each to its end.
[[noreturn]] void run_tcp_echo(Descriptor listener);
[[noreturn]] void run_udp_echo(Descriptor socket);

}  // namespace weft::traffic
