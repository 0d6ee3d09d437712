#include "io/thread_schedule.h"

#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>

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
  param.sched_priority = 2;  // the control thread has 1 (control_schedule): a packet waits for no policy
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

// struct sched_attr as the kernel takes it since 3.14 (include/uapi/linux/sched/types.h); glibc has none
// before 2.41.
struct SchedAttr {
  uint32_t size = 48;
  uint32_t policy = SCHED_OTHER;
  uint64_t flags = 0;
  int32_t nice = 0;
  uint32_t priority = 0;
  uint64_t runtime_ns = 0;  // of SCHED_OTHER: its slice, from Linux 6.12 on; ignored before
  uint64_t deadline_ns = 0;
  uint64_t period_ns = 0;
};
static_assert(sizeof(SchedAttr) == 48);

// The shortest slice that the kernel takes.
constexpr uint64_t kPromptSliceNs = 100'000;

Status preempt_longer_slices() {
  SchedAttr attributes;
  attributes.nice = ::getpriority(PRIO_PROCESS, static_cast<id_t>(::syscall(SYS_gettid)));
  attributes.runtime_ns = kPromptSliceNs;
  if (::syscall(SYS_sched_setattr, 0, &attributes, 0) != 0)
    return call_failed("thread-class", "sched_setattr", "slice of 100 us", "set switch.scheduling to normal");
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
  if (schedule.scheduling == ScheduleClass::prompt) keep_first(preempt_longer_slices());
  return outcome;
}

}  // namespace weft::io
