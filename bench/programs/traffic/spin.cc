#include "traffic/spin.h"

#include <cstdio>

#include "traffic/clock.h"
#include "traffic/target.h"

namespace weft::traffic {

void run_spin(const Arguments& arguments) {
  const double seconds = arguments.seconds("seconds", 10, 3600);
  Target::all_read(arguments);
  std::printf("{\"spinning\":1}\n");
  std::fflush(stdout);
  const int64_t end = now_ns() + seconds_to_ns(seconds);
  volatile uint64_t turns = 0;
  while (now_ns() < end)
    for (int turn = 0; turn < 100'000; ++turn) turns = turns + 1;
}

}  // namespace weft::traffic
