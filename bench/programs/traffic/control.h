// The conversation of client and server beside the traffic: lines of text over one TCP connection to the
// server's port.
//   client: MODE NAME=VALUE…     server: ready | error SENTENCE
//   … traffic …                  server: result NAME=VALUE…    (modes that the receiver measures)
//   client: total                server: total NAME=VALUE…
// It is silent while traffic is measured. It goes to the pod's own address also where the traffic goes to a
// virtual one.
#pragma once

#include <optional>
#include <string>

#include "traffic/arguments.h"
#include "traffic/socket.h"

namespace weft::traffic {

class Control {
 public:
  explicit Control(Descriptor socket, std::string peer)
      : socket_(std::move(socket)), peer_(std::move(peer)) {}
  static Control connect(const sockaddr_in& to);

  void say(const std::string& line);
  // The next line without its end; nullopt: the other side has closed. Nothing within `seconds` ends the
  // program.
  std::optional<std::string> hear(double seconds);
  // A line that has to begin with `word`; what follows it. `error SENTENCE` ends the program with the
  // sentence.
  Arguments expect(const std::string& word, double seconds);

 private:
  Descriptor socket_;
  std::string peer_;
  std::string read_;  // what has come after the last line that was handed out
};

}  // namespace weft::traffic
