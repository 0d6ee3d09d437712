// Requests by a schedule, whatever becomes of their answers (see request.h).
#pragma once

#include <cstdint>

#include "traffic/target.h"

namespace weft::traffic {

// Longer than this a datagram's answer is not waited for.
inline constexpr int64_t kDatagramPatienceNs = 200'000'000;

struct ScheduleOptions {
  Target target;
  size_t size = 64;  // bytes of a request and of its answer
  bool stream = true;
  double rate = 1000;  // requests a second
  double idle = 0.5;   // seconds for which the idle machine is measured beforehand
};

// Runs it over a connected socket and prints the result.
void run_schedule(Descriptor socket, const ScheduleOptions& options);

}  // namespace weft::traffic
