#include "traffic/failure.h"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>

namespace weft::traffic {

namespace {

void say(const char* format, std::va_list values) {
  char text[512];
  std::vsnprintf(text, sizeof text, format, values);
  std::fprintf(stderr, "weft-traffic: %s\n", text);
}

}  // namespace

void fail(const char* format, ...) {
  std::va_list values;
  va_start(values, format);
  say(format, values);
  va_end(values);
  // Other threads may be inside the standard library: no destructors, no buffers.
  std::_Exit(1);
}

void fail_usage(const char* format, ...) {
  std::va_list values;
  va_start(values, format);
  say(format, values);
  va_end(values);
  std::_Exit(2);
}

}  // namespace weft::traffic
