// New connections per second: connect, one request, one answer, close; a number of them on their way at a
// time, one thread with epoll. See answer.h for who closes first and why.
#pragma once

#include "traffic/arguments.h"

namespace weft::traffic {

// --to … --parallel N
void run_connect(const Arguments& arguments);

}  // namespace weft::traffic
