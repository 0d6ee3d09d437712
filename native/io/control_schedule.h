// How the kernel schedules the thread that brings changes into force.
//
// That thread sleeps but for a change, and then needs milliseconds; beside pods that hold every core it waits
// for many times that. A nice value counts within its own cgroup (or session, where autogroups are on), so it
// says nothing against pods, which have cgroups of their own, and a thread that is preempted again and again
// finds its caches cold. A real-time class helps, but a thread that computes for seconds would keep pods, and
// packets, from its core for as long. So it has that class on a budget: the thread's own clock of processor
// time tells each time that a budget is used up; where that took less real time than it may, the thread is an
// ordinary one for the rest of it. That bounds its share of a core whether it computes on and on or sleeps a
// little in between, which RLIMIT_RTTIME would not.
#pragma once

#include <cstdint>

#include "base/result.h"

namespace weft::io {

// At most twice `run_ns` in one go, and of any longer time the part run_ns / within_ns.
struct ControlBudget {
  int64_t run_ns = 0;     // of processor time; the kernel looks at each tick
  int64_t within_ns = 0;  // of real time
};

// Schedules the calling thread so (SCHED_RR, the lowest real-time priority); threads and processes that it
// starts are ordinary ones. One thread of a process, once: it takes the process's SIGVTALRM. Errors:
// control-class (what the kernel refused; the thread is then scheduled as before).
Status schedule_control(const ControlBudget& budget);

}  // namespace weft::io
