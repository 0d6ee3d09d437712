// Request and response over one connection (TCP) or one pair of ports (UDP), measured by the client.
//
// Closed loop (`--rate 0`): the next request goes when the answer has come. That measures the way there and
// back and nothing else, and cannot show queueing.
//
// At a fixed rate the requests go by a schedule that does not wait for answers, and a request's time begins
// when it was due, not when it could be sent: what holds up the sender counts for every request that was due
// meanwhile (no coordinated omission). The client sleeps in between, so that the processors' use says what
// the path costs; the lateness of its own waking is part of every figure, and is printed beside them (`late`,
// median, us).
//
// A UDP request that is not answered within 200 ms is lost, and counts as one of 200 ms. A TCP one is waited
// for for 2 s.
#pragma once

#include "traffic/arguments.h"

namespace weft::traffic {

// --to … --size BYTES --rate REQUESTS_PER_SECOND (0: closed loop) --idle SECONDS (fixed rate: how long the
// idle machine is measured beforehand)
void run_tcp_rr(const Arguments& arguments);
void run_udp_rr(const Arguments& arguments);

}  // namespace weft::traffic
