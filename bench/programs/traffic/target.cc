#include "traffic/target.h"

#include <cstdio>

#include "traffic/failure.h"

namespace weft::traffic {

Target Target::from(const Arguments& arguments) {
  Target target;
  const std::string to = arguments.text("to", "");
  if (to.empty()) fail_usage("--to ADDRESS is missing: where the traffic goes");
  const auto port = static_cast<uint16_t>(arguments.number("port", 5000, 1, 65533));
  const auto data_port = static_cast<uint16_t>(arguments.number("data-port", port + 1, 1, 65534));
  target.control = address_of(arguments.text("control", to), port);
  target.data = address_of(to, data_port);
  target.second_port = static_cast<uint16_t>(data_port + 1);
  target.warm = arguments.seconds("warm", 0.2, 60);
  target.seconds = arguments.seconds("seconds", 1, 600);
  if (target.seconds < 0.01) fail_usage("seconds is %g; less than 0.01 measures nothing", target.seconds);
  return target;
}

std::string Target::request() const {
  char text[96];
  std::snprintf(text, sizeof text, "port=%u warm=%.6f seconds=%.6f", unsigned{ntohs(data.sin_port)}, warm,
                seconds);
  return text;
}

void Target::all_read(const Arguments& arguments) {
  for (const std::string& name : arguments.unread()) fail_usage("this mode has no option --%s", name.c_str());
}

}  // namespace weft::traffic
