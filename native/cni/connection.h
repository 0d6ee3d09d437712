// The agent's socket from the plugin's side, and the plugin's standard input: reads and writes that end at a
// deadline. Times are milliseconds of the monotonic clock.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "cni/descriptor.h"

namespace weft::cni {

int64_t now_milliseconds();

// Everything up to the end of the file. An empty `error` is success.
struct Input {
  std::string text;
  std::string error;
};
Input read_all(int descriptor, size_t most, int64_t deadline);

// Writes to a file, pipe or terminal; blocks. False: not all of it.
bool write_all(int descriptor, std::string_view text);

class Connection {
 public:
  // Tries again until the deadline while nobody listens: an agent that is being replaced is back in a moment.
  // On failure `error` says why.
  static Connection open(const std::string& path, int64_t deadline, std::string& error);

  [[nodiscard]] bool valid() const { return socket_.valid(); }
  // Empty: sent.
  std::string send(std::string_view text, int64_t deadline);
  // One line without its newline. Empty `text` goes with an `error`.
  Input receive_line(size_t most, int64_t deadline);

 private:
  explicit Connection(Descriptor socket) : socket_(std::move(socket)) {}
  Descriptor socket_;
};

}  // namespace weft::cni
