#include "traffic/control.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "traffic/clock.h"
#include "traffic/failure.h"

namespace weft::traffic {

namespace {

constexpr size_t kLongestLine = 4096;

}  // namespace

Control Control::connect(const sockaddr_in& to) {
  return Control(tcp_connect(to), text_of(to));
}

void Control::say(const std::string& line) {
  const std::string text = line + "\n";
  // Shorter than any send buffer: goes in one piece or not at all.
  if (send(socket_.get(), text.data(), text.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(text.size()))
    fail("send to %s: %s", peer_.c_str(), std::strerror(errno));
}

std::optional<std::string> Control::hear(double seconds) {
  const int64_t deadline = now_ns() + seconds_to_ns(seconds);
  for (;;) {
    if (const size_t end = read_.find('\n'); end != std::string::npos) {
      std::string line = read_.substr(0, end);
      read_.erase(0, end + 1);
      return line;
    }
    if (read_.size() > kLongestLine) fail("%s sends no line end", peer_.c_str());
    const int64_t left = std::max<int64_t>(0, deadline - now_ns());
    pollfd wait{socket_.get(), POLLIN, 0};
    const int ready = poll(&wait, 1, static_cast<int>(left / 1'000'000) + 1);
    if (ready < 0 && errno == EINTR) continue;
    if (ready == 0) fail("no answer from %s within %g s", peer_.c_str(), seconds);
    char bytes[1024];
    const ssize_t got = recv(socket_.get(), bytes, sizeof bytes, 0);
    if (got == 0) return std::nullopt;
    if (got < 0) fail("receive from %s: %s", peer_.c_str(), std::strerror(errno));
    read_.append(bytes, static_cast<size_t>(got));
  }
}

Arguments Control::expect(const std::string& word, double seconds) {
  const std::optional<std::string> line = hear(seconds);
  if (!line) fail("the server at %s went away", peer_.c_str());
  if (line->rfind("error ", 0) == 0) fail("the server at %s: %s", peer_.c_str(), line->c_str() + 6);
  const std::string first = line->substr(0, line->find(' '));
  if (first != word) fail("%s said '%s' where '%s' was due", peer_.c_str(), line->c_str(), word.c_str());
  std::string error;
  const size_t rest = std::min(line->size(), word.size() + 1);
  Arguments arguments = Arguments::from_line(std::string_view(*line).substr(rest), error);
  if (!error.empty()) fail("%s said '%s': %s", peer_.c_str(), line->c_str(), error.c_str());
  return arguments;
}

}  // namespace weft::traffic
