// Server: one answer for each connection. It closes first, as a web server without keep-alive does, so that
// TIME_WAIT is on its side and the client's port is free again at once: a client's ports come round every
// half second at 50,000 connections a second, a minute of TIME_WAIT on the client's side would let 470 a
// second through. A connection that meets its predecessor in TIME_WAIT takes its place (RFC 6191). Closing
// with a reset instead would spare everybody the three packets of an orderly end, connection tracking first
// of all.
#pragma once

#include "traffic/socket.h"

namespace weft::traffic {

inline constexpr size_t kConnectBytes = 64;  // of a request and of its answer

[[noreturn]] void run_answer(Descriptor listener);

}  // namespace weft::traffic
