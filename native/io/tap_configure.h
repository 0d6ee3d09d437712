// What a port's interface has to be inside its namespace: MTU, queue, kernel settings, addresses, routes,
// neighbours. Blocks; in the namespace of the interface, as the calling thread is.
#pragma once

#include "io/netlink.h"
#include "io/tap.h"

namespace weft::io {

// As configure_tap. Errors: link-gone, netlink-*, sysctl-write; what was done before stays.
Result<Changes> configure_here(Netlink& netlink, const TapConfig& config);

}  // namespace weft::io
