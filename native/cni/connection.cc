#include "cni/connection.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>

namespace weft::cni {

namespace {

constexpr int64_t kConnectPause = 20;

std::string failed(const char* call, int number) {
  return std::string(call) + ": " + ::strerror(number);
}

// False at the deadline.
bool wait_for(int descriptor, short events, int64_t deadline) {
  while (true) {
    const int64_t left = deadline - now_milliseconds();
    if (left <= 0) return false;
    pollfd entry{descriptor, events, 0};
    const int ready = ::poll(&entry, 1, static_cast<int>(std::min<int64_t>(left, 60'000)));
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) return true;  // the call itself will say what is wrong
  }
}

}  // namespace

int64_t now_milliseconds() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<int64_t>(now.tv_sec) * 1000 + now.tv_nsec / 1'000'000;
}

Input read_all(int descriptor, size_t most, int64_t deadline) {
  Input input;
  char buffer[16384];
  while (true) {
    if (!wait_for(descriptor, POLLIN, deadline)) return {{}, "it was not given to its end in time"};
    const ssize_t count = ::read(descriptor, buffer, sizeof buffer);
    if (count == 0) return input;
    if (count < 0) {
      if (errno == EINTR || errno == EAGAIN) continue;
      return {{}, failed("read", errno)};
    }
    input.text.append(buffer, static_cast<size_t>(count));
    if (input.text.size() > most) return {{}, "it is longer than " + std::to_string(most) + " bytes"};
  }
}

bool write_all(int descriptor, std::string_view text) {
  while (!text.empty()) {
    const ssize_t count = ::write(descriptor, text.data(), text.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EAGAIN) {
      pollfd entry{descriptor, POLLOUT, 0};
      ::poll(&entry, 1, 1000);
      continue;
    }
    if (count <= 0) return false;
    text.remove_prefix(static_cast<size_t>(count));
  }
  return true;
}

Connection Connection::open(const std::string& path, int64_t deadline, std::string& error) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    error = "the path is longer than a socket's can be";
    return Connection(Descriptor());
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  while (true) {
    Descriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!socket.valid()) {
      error = failed("socket", errno);
      return Connection(Descriptor());
    }
    if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0)
      return Connection(std::move(socket));
    // EAGAIN is a listener whose queue is full: of many plugins that start at once.
    const bool may_come = errno == ENOENT || errno == ECONNREFUSED || errno == EAGAIN || errno == EINTR;
    error = failed("connect", errno);
    const int64_t left = deadline - now_milliseconds();
    if (!may_come || left <= 0) return Connection(Descriptor());
    const int64_t pause = std::min(left, kConnectPause);
    const timespec time{0, pause * 1'000'000};
    ::nanosleep(&time, nullptr);
  }
}

std::string Connection::send(std::string_view text, int64_t deadline) {
  while (!text.empty()) {
    const ssize_t count = ::send(socket_.get(), text.data(), text.size(), MSG_NOSIGNAL);
    if (count >= 0) {
      text.remove_prefix(static_cast<size_t>(count));
      continue;
    }
    if (errno == EINTR) continue;
    if (errno != EAGAIN) return failed("send", errno);
    if (!wait_for(socket_.get(), POLLOUT, deadline)) return "it did not take the request in time";
  }
  return {};
}

Input Connection::receive_line(size_t most, int64_t deadline) {
  std::string text;
  char buffer[16384];
  while (true) {
    if (!wait_for(socket_.get(), POLLIN, deadline)) return {{}, "it has not answered in time"};
    const ssize_t count = ::recv(socket_.get(), buffer, sizeof buffer, 0);
    if (count == 0) return {{}, "it closed the connection without an answer"};
    if (count < 0) {
      if (errno == EINTR || errno == EAGAIN) continue;
      return {{}, failed("recv", errno)};
    }
    const std::string_view piece(buffer, static_cast<size_t>(count));
    const size_t end = piece.find('\n');
    text.append(piece.substr(0, end));
    if (text.size() > most) return {{}, "its answer is too long"};
    if (end != std::string_view::npos) return {std::move(text), {}};
  }
}

}  // namespace weft::cni
