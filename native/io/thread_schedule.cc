#include "io/thread_schedule.h"

#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "io/descriptor.h"

namespace weft::io {
namespace {

Status pin(uint32_t core) {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (core >= CPU_SETSIZE)
    return Error{"thread-core", "core " + std::to_string(core) + " is beyond what sched_setaffinity takes"};
  CPU_SET(core, &set);
  if (::sched_setaffinity(0, sizeof set, &set) != 0)
    return call_failed("thread-core", "sched_setaffinity", "core " + std::to_string(core),
                       "list cores that this machine and the process's cpuset have in switch.cores");
  return Ok{};
}

Status run_before_pods() {
  sched_param param{};
  param.sched_priority = 1;
  if (::sched_setscheduler(0, SCHED_FIFO, &param) != 0)
    return call_failed("thread-class", "sched_setscheduler", "SCHED_FIFO",
                       "give the switch CAP_SYS_NICE (and a real-time budget, where its cgroup has "
                       "cpu.rt_runtime_us), or set switch.scheduling to normal");
  return Ok{};
}

Status renice(int nice) {
  // Linux applies it to one thread, where POSIX means the process.
  const auto thread = static_cast<id_t>(::syscall(SYS_gettid));
  if (::setpriority(PRIO_PROCESS, thread, nice) != 0)
    return call_failed("thread-nice", "setpriority", std::to_string(nice),
                       "give the switch CAP_SYS_NICE, or set switch.nice to 0");
  return Ok{};
}

}  // namespace

Status schedule_worker(const ThreadSchedule& schedule, uint32_t worker) {
  // At most 15 characters; a worker's number has two.
  ::pthread_setname_np(::pthread_self(), ("weft-worker-" + std::to_string(worker)).c_str());
  Status outcome = Ok{};
  const auto keep_first = [&](Status next) {
    if (outcome.ok()) outcome = std::move(next);
  };
  if (!schedule.cores.empty()) keep_first(pin(schedule.cores[worker % schedule.cores.size()]));
  if (schedule.nice != 0) keep_first(renice(schedule.nice));
  if (schedule.scheduling == ScheduleClass::fifo) keep_first(run_before_pods());
  return outcome;
}

}  // namespace weft::io
