#include "io/control_schedule.h"

#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "io/descriptor.h"

// glibc 2.36 has the mode (SIGEV_THREAD_ID) and no name for its field.
#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

namespace weft::io {
namespace {

constexpr int kSignal = SIGVTALRM;

// The thread's alone, and of its signal handler, which the thread itself runs.
ControlBudget budget;
int64_t since_ns = 0;  // when the budget that is being used began
timer_t used{};        // runs with the thread's processor time
timer_t rest{};        // ends the time as an ordinary thread

int64_t now_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

int arm(timer_t timer, int64_t after_ns, int64_t every_ns) {
  const auto spec = [](int64_t ns) { return timespec{ns / 1'000'000'000, ns % 1'000'000'000}; };
  const itimerspec when{spec(every_ns), spec(after_ns)};
  return ::timer_settime(timer, 0, &when, nullptr);
}

int run_before_pods() {
  sched_param param{};
  param.sched_priority = 1;
  return ::sched_setscheduler(0, SCHED_RR | SCHED_RESET_ON_FORK, &param);
}

int begin_budget() {
  if (run_before_pods() != 0) return -1;
  since_ns = now_ns();
  return arm(used, budget.run_ns, budget.run_ns);
}

// Async-signal-safe: system calls only.
void on_signal(int /*number*/, siginfo_t* info, void* /*context*/) {
  if (info->si_code != SI_TIMER) return;
  const int kept = errno;
  if (info->si_value.sival_ptr == static_cast<void*>(&rest)) {
    begin_budget();
  } else {
    const int64_t now = now_ns();
    const int64_t early_ns = budget.within_ns - (now - since_ns);
    since_ns = now;
    if (early_ns > 0) {
      const sched_param ordinary{};
      ::sched_setscheduler(0, SCHED_OTHER | SCHED_RESET_ON_FORK, &ordinary);
      arm(used, 0, 0);
      arm(rest, early_ns, 0);
    }
  }
  errno = kept;
}

Error refused(const char* call, const char* object) {
  return call_failed("control-class", call, object,
                     "give the process CAP_SYS_NICE (and a real-time budget, where its cgroup has "
                     "cpu.rt_runtime_us), or set agent.scheduling to normal");
}

int make_timer(clockid_t clock, timer_t& timer) {
  sigevent event{};
  event.sigev_notify = SIGEV_THREAD_ID;
  event.sigev_signo = kSignal;
  event.sigev_value.sival_ptr = static_cast<void*>(&timer);
  event.sigev_notify_thread_id = static_cast<pid_t>(::syscall(SYS_gettid));
  return ::timer_create(clock, &event, &timer);
}

}  // namespace

Status schedule_control(const ControlBudget& wanted) {
  budget = wanted;
  // The signal must have its handler before the kernel has a reason to send it: its default ends the process.
  struct sigaction action{};
  action.sa_sigaction = on_signal;
  action.sa_flags = SA_SIGINFO | SA_RESTART;
  if (::sigaction(kSignal, &action, nullptr) != 0) return refused("sigaction", "SIGVTALRM");
  if (make_timer(CLOCK_MONOTONIC, rest) != 0) return refused("timer_create", "CLOCK_MONOTONIC");
  if (make_timer(CLOCK_THREAD_CPUTIME_ID, used) != 0) {
    const Error error = refused("timer_create", "CLOCK_THREAD_CPUTIME_ID");
    ::timer_delete(rest);
    return error;
  }
  if (begin_budget() != 0) {
    const Error error = refused("sched_setscheduler", "SCHED_RR");
    ::timer_delete(used);
    ::timer_delete(rest);
    return error;
  }
  return Ok{};
}

}  // namespace weft::io
