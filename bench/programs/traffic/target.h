// What every client mode is told: where the traffic goes, where its server listens, and for how long.
#pragma once

#include <cstdint>
#include <string>

#include "traffic/arguments.h"
#include "traffic/socket.h"

namespace weft::traffic {

// The ports that follow the server's own, unless the command line says otherwise.
struct Target {
  sockaddr_in control{};     // --control ADDRESS (default: --to), --port P (default 5000)
  sockaddr_in data{};        // --to ADDRESS, --data-port P (default: the server's port + 1)
  uint16_t second_port = 0;  // the data port + 1
  double warm = 0;           // --warm SECONDS, before the measurement, default 0.2
  double seconds = 0;        // --seconds SECONDS, default 1

  static Target from(const Arguments& arguments);
  // `port=… warm=… seconds=…`, for the server.
  [[nodiscard]] std::string request() const;
  // Ends the program where something was said that no one has read.
  static void all_read(const Arguments& arguments);
};

}  // namespace weft::traffic
