// How much of the machine's processors was used, from the first line of /proc/stat: all of the time less what
// was idle. The idle column is exact (the kernel takes the time at each entry and exit of idleness), the
// others are sampled by the tick and miss what runs in between.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace weft::traffic {

struct ProcessorTime {
  int64_t at = 0;     // ns, monotonic
  double unused = 0;  // seconds summed over all processors: idle, waiting for a disk, taken by the hypervisor
  int processors = 0;
};

// The text of /proc/stat and its ticks a second; nullopt where it is not what it should be. `at` stays 0.
std::optional<ProcessorTime> parse_processor_time(std::string_view text, long ticks);

// Reads it now; ends the program where it cannot be read.
ProcessorTime processor_time();

// Processors used on average between two readings: 0…their number.
double processors_used(const ProcessorTime& from, const ProcessorTime& to);

}  // namespace weft::traffic
