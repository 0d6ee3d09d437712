// Many live UDP flows. `--flows` pairs of a client's and a server's port: every client's port is a socket of
// its own, bound by number, and sends to every one of `--ports` ports of the server.
//
// First all are opened: one datagram each, which the receiver answers, so that both ends' kernels and every
// connection tracking between them know them as established; none is left out. Then each in turn gets a burst
// of `--burst` datagrams, in an order that strides through the client's ports (a fixed permutation: nothing
// may guess the next one from the last), with a window as in udp.h. One send call serves one client's port,
// with a burst to each port of the server.
//
// Why ten ports of the server: so many sockets are cheap for the receiver, who would otherwise be most of
// what is measured. Why not a raw socket for the sender: what it sends has no partial checksum, and takes
// other ways through a kernel than what pods send.
#pragma once

#include "traffic/arguments.h"

namespace weft::traffic {

// --to … --flows N --ports N --first-port P (the client's) --burst N --size BYTES
void run_flows(const Arguments& arguments);

}  // namespace weft::traffic
