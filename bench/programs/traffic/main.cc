// weft-traffic serve --port P             the side that traffic goes to
// weft-traffic MODE --to ADDRESS …        sends, and prints one line of JSON
//
// The load generator of the bench suite: the same program for every contender, as cheap as it can be, so that
// what is measured is the way between the two pods. It speaks IPv4.
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "traffic/arguments.h"
#include "traffic/failure.h"
#include "traffic/server.h"
#include "traffic/udp.h"

namespace {

using weft::traffic::Arguments;

struct Mode {
  std::string_view name;
  void (*run)(const Arguments&);
};

constexpr Mode kModes[] = {
    {"serve", [](const Arguments& arguments) { weft::traffic::serve(arguments); }},
    {"udp", weft::traffic::run_udp},
};

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
    mode.run(arguments);
    return 0;
  }
  weft::traffic::fail_usage("there is no mode '%s'; there are:%s", words[1], names.c_str());
}
