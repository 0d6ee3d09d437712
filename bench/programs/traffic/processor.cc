#include "traffic/processor.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <string>

#include "io/descriptor.h"
#include "traffic/clock.h"
#include "traffic/failure.h"

namespace weft::traffic {

namespace {

// user nice system idle iowait irq softirq steal …
constexpr size_t kIdle = 3, kWait = 4, kSteal = 7, kColumns = 8;

}  // namespace

std::optional<ProcessorTime> parse_processor_time(std::string_view text, long ticks) {
  std::array<int64_t, kColumns> columns{};
  if (text.substr(0, 4) != "cpu " || ticks <= 0) return std::nullopt;
  const char* at = text.data() + 4;
  const char* const end = text.data() + text.size();
  for (int64_t& column : columns) {
    while (at < end && *at == ' ') ++at;
    const auto [next, code] = std::from_chars(at, end, column);
    if (code != std::errc{}) return std::nullopt;
    at = next;
  }
  ProcessorTime time;
  time.unused =
      static_cast<double>(columns[kIdle] + columns[kWait] + columns[kSteal]) / static_cast<double>(ticks);
  // A line for each processor follows: cpu0 …
  for (size_t line = text.find("\ncpu"); line != std::string_view::npos; line = text.find("\ncpu", line + 1))
    ++time.processors;
  if (time.processors == 0) return std::nullopt;
  return time;
}

ProcessorTime processor_time() {
  const io::Descriptor file(open("/proc/stat", O_RDONLY | O_CLOEXEC));
  if (!file.valid()) fail("open /proc/stat: %s", std::strerror(errno));
  // The processors come first; what follows may be long and is not needed.
  std::string text(1 << 16, '\0');
  const int64_t at = now_ns();
  const ssize_t size = read(file.get(), text.data(), text.size());
  if (size < 0) fail("read /proc/stat: %s", std::strerror(errno));
  text.resize(static_cast<size_t>(size));
  std::optional<ProcessorTime> time = parse_processor_time(text, sysconf(_SC_CLK_TCK));
  if (!time) fail("/proc/stat does not begin with the times of the processors");
  time->at = at;
  return *time;
}

double processors_used(const ProcessorTime& from, const ProcessorTime& to) {
  const double elapsed = static_cast<double>(to.at - from.at) / 1e9;
  if (elapsed <= 0) return 0;
  return std::max(0.0, to.processors - (to.unused - from.unused) / elapsed);
}

}  // namespace weft::traffic
