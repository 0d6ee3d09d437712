// Bulk TCP: a number of streams, each as fast as it goes, a thread for each at both ends, 128 KB a call;
// counted and timed by the receiver.
//
// Why not iperf3, which the machine has: its 3.12 (Debian 12) serves all streams of a test with one thread,
// so that eight streams measure that thread; it counts whole seconds only; and its handshake and JSON take
// longer than a sample of the quick run should.
#pragma once

#include <deque>

#include "traffic/arguments.h"
#include "traffic/meter.h"
#include "traffic/socket.h"

namespace weft::traffic {

// --to … --streams N
void run_tcp_bulk(const Arguments& arguments);

// Server: takes a connection for each meter and reads it to its end. Returns at once; threads go on.
void start_stream_sink(Descriptor listener, std::deque<Meter>& meters);

}  // namespace weft::traffic
