// weft-traffic serve --port P             the side that traffic goes to
// weft-traffic MODE --to ADDRESS …        sends, and prints one line of JSON
//
// The load generator of the bench suite: the same program for every contender, as cheap as it can be, so that
// what is measured is the way between the two pods. It speaks IPv4.
#include <sched.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "traffic/arguments.h"
#include "traffic/connect.h"
#include "traffic/failure.h"
#include "traffic/flows.h"
#include "traffic/request.h"
#include "traffic/server.h"
#include "traffic/spin.h"
#include "traffic/stream.h"
#include "traffic/udp.h"

namespace {

using weft::traffic::Arguments;

struct Mode {
  std::string_view name;
  void (*run)(const Arguments&);
};

constexpr Mode kModes[] = {
    {"serve", [](const Arguments& arguments) { weft::traffic::serve(arguments); }},
    {"tcp-bulk", weft::traffic::run_tcp_bulk},
    {"tcp-rr", weft::traffic::run_tcp_rr},
    {"udp-rr", weft::traffic::run_udp_rr},
    {"udp", weft::traffic::run_udp},
    {"connect", weft::traffic::run_connect},
    {"flows", weft::traffic::run_flows},
    {"spin", weft::traffic::run_spin},
};

// --cpu N, for every mode: this process runs there only (and what it starts); -1: wherever the kernel puts
// it.
void pin(int64_t cpu) {
  if (cpu < 0) return;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<size_t>(cpu), &set);
  if (sched_setaffinity(0, sizeof set, &set) != 0)
    weft::traffic::fail("sched_setaffinity to processor %lld: %s", static_cast<long long>(cpu),
                        std::strerror(errno));
}

}  // namespace

int main(int count, char** words) {
  std::string names;
  for (const Mode& mode : kModes) names += " " + std::string(mode.name);
  if (count < 2) weft::traffic::fail_usage("a mode is missing; there are:%s", names.c_str());
  const std::vector<std::string_view> rest(words + 2, words + count);
  for (const Mode& mode : kModes) {
    if (mode.name != words[1]) continue;
    std::string error;
    const Arguments arguments = Arguments::from_command_line(rest, error);
    if (!error.empty()) weft::traffic::fail_usage("%s", error.c_str());
    pin(arguments.number("cpu", -1, -1, CPU_SETSIZE - 1));
    mode.run(arguments);
    return 0;
  }
  weft::traffic::fail_usage("there is no mode '%s'; there are:%s", words[1], names.c_str());
}
