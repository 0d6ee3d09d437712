// The side that traffic goes to.
#pragma once

#include "traffic/arguments.h"

namespace weft::traffic {

// Listens on `--port` until `--seconds` have passed (default one hour) or a signal ends it. Every client's
// session is a process of its own, so that what one leaves behind (sockets, 100,000 flows) is gone with it.
[[noreturn]] void serve(const Arguments& arguments);

}  // namespace weft::traffic
