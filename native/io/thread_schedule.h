// How the kernel schedules a thread that moves packets.
//
// A userspace switch competes for its core with the pods that it serves, where a kernel bridge runs in the
// sender's time. What helps depends on the board: a real-time class runs before every pod but is bounded by
// the kernel's own throttle only, so a flooding pod then takes its neighbours' time through the switch; a
// nice value counts within the process's own cgroup only. So all of it is configuration, and a kernel that
// refuses (no CAP_SYS_NICE; a cgroup v1 without a real-time budget) costs the setting, never the traffic.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"

namespace weft::io {

enum class ScheduleClass : uint8_t {
  normal,  // SCHED_OTHER
  // SCHED_OTHER with a slice of 100 µs, so that it preempts what has a longer one (Linux 6.12; else normal)
  prompt,
  fifo,  // SCHED_FIFO at real-time priority 2, before the control thread's
};

struct ThreadSchedule {
  ScheduleClass scheduling = ScheduleClass::normal;
  int nice = 0;                   // of the classes normal and prompt, -20 to 19
  std::vector<uint32_t> cores{};  // worker i runs on cores[i % size]; empty: wherever the kernel puts it
};

// Names the calling thread "weft-worker-N" and schedules it so. What can be applied is, also when something
// else was refused. Errors: thread-core (sched_setaffinity: the core is not there, or not ours), thread-class
// (sched_setscheduler, sched_setattr), thread-nice (setpriority); the first one.
Status schedule_worker(const ThreadSchedule& schedule, uint32_t worker);

}  // namespace weft::io
