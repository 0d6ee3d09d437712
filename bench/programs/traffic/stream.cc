#include "traffic/stream.h"

#include <sys/socket.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <thread>
#include <vector>

#include "traffic/control.h"
#include "traffic/failure.h"
#include "traffic/target.h"

namespace weft::traffic {

namespace {

constexpr size_t kChunk = 128 << 10;

void drain(const Descriptor& stream, Meter& meter) {
  std::vector<char> bytes(kChunk);
  for (;;) {
    const ssize_t got = recv(stream.get(), bytes.data(), bytes.size(), 0);
    if (got > 0)
      meter.add(0, static_cast<uint64_t>(got));
    else if (got == 0 || errno == ECONNRESET)
      return;
    else if (errno != EINTR)
      fail("receive a stream: %s", std::strerror(errno));
  }
}

void pour(const Descriptor& stream, const std::atomic<bool>& stop) {
  const std::vector<char> bytes(kChunk, 'w');
  while (!stop.load(std::memory_order_relaxed)) {
    if (send(stream.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) < 0 && errno != EINTR)
      fail("send a stream: %s", std::strerror(errno));
  }
}

}  // namespace

void start_stream_sink(Descriptor listener, std::deque<Meter>& meters) {
  std::thread([listening = std::move(listener), &meters] {
    for (Meter& meter : meters) {
      Descriptor stream(accept4(listening.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (!stream.valid()) fail("accept a stream: %s", std::strerror(errno));
      std::thread([taken = std::move(stream), &meter] { drain(taken, meter); }).detach();
    }
  }).detach();
}

void run_tcp_bulk(const Arguments& arguments) {
  const Target target = Target::from(arguments);
  const auto streams = static_cast<size_t>(arguments.number("streams", 1, 1, 256));
  Target::all_read(arguments);
  Control control = Control::connect(target.control);
  control.say("tcp-sink " + target.request() + " streams=" + std::to_string(streams));
  control.expect("ready", 2);
  std::vector<Descriptor> sockets;
  for (size_t index = 0; index < streams; ++index) sockets.push_back(tcp_connect(target.data));
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  threads.reserve(streams);
  for (const Descriptor& socket : sockets) threads.emplace_back([&socket, &stop] { pour(socket, stop); });
  const Arguments result = control.expect("result", target.warm + target.seconds + 10);
  stop.store(true, std::memory_order_relaxed);
  for (std::thread& thread : threads) thread.join();
  const auto ns = static_cast<double>(result.number("ns", 0, 1, INT64_MAX));
  const auto bytes = result.number("bytes", 0, 0, INT64_MAX);
  if (bytes == 0) fail("nothing arrived at %s while it was measured", text_of(target.data).c_str());
  std::printf("{\"rate\":%.6f,\"seconds\":%.6f,\"bytes\":%lld}\n", static_cast<double>(bytes) * 8 / ns,
              ns / 1e9, static_cast<long long>(bytes));
}

}  // namespace weft::traffic
