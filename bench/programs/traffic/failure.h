// How the program ends when it cannot go on: one sentence on standard error, status 1. A load generator has
// no one to hand an error to but whoever started it, and half a sample is worth nothing, so that there is no
// other way.
#pragma once

namespace weft::traffic {

// printf's format; from any thread. errno is not printed; pass strerror(errno) where it says something.
[[noreturn, gnu::format(printf, 1, 2)]] void fail(const char* format, ...);

// Wrong usage: status 2.
[[noreturn, gnu::format(printf, 1, 2)]] void fail_usage(const char* format, ...);

}  // namespace weft::traffic
