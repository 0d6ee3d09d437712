// Scheduling of worker threads, on threads of the test's own.
#include <doctest/doctest.h>
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <string>
#include <thread>

#include "io/thread_schedule.h"

using namespace weft;
using namespace weft::io;

namespace {

struct Seen {
  Status outcome = Ok{};
  std::string name;
  int scheduling = -1;
  int nice = 0;
  int cores = 0;
  bool on_core_zero = false;
};

Seen scheduled(const ThreadSchedule& schedule, uint32_t worker) {
  Seen seen;
  std::thread([&] {
    seen.outcome = schedule_worker(schedule, worker);
    std::array<char, 16> name{};
    ::pthread_getname_np(::pthread_self(), name.data(), name.size());
    seen.name = name.data();
    seen.scheduling = ::sched_getscheduler(0);
    seen.nice = ::getpriority(PRIO_PROCESS, static_cast<id_t>(::syscall(SYS_gettid)));
    cpu_set_t set;
    ::sched_getaffinity(0, sizeof set, &set);
    seen.cores = CPU_COUNT(&set);
    seen.on_core_zero = CPU_ISSET(0, &set);
  }).join();
  return seen;
}

bool core_zero_is_ours() {
  cpu_set_t set;
  ::sched_getaffinity(0, sizeof set, &set);
  return CPU_ISSET(0, &set);
}

}  // namespace

TEST_CASE("a worker without wishes is only named, and runs where the process may") {
  const Seen seen = scheduled({}, 3);
  REQUIRE(seen.outcome.ok());
  CHECK(seen.name == "weft-worker-3");
  CHECK(seen.scheduling == SCHED_OTHER);
  CHECK(seen.nice == ::getpriority(PRIO_PROCESS, 0));
}

TEST_CASE("workers take the listed cores in turn") {
  if (!core_zero_is_ours()) {
    MESSAGE("not run: core 0 is outside of the test's cpuset");
    return;
  }
  const Seen seen = scheduled({.cores = {0}}, 5);
  REQUIRE(seen.outcome.ok());
  CHECK(seen.cores == 1);
  CHECK(seen.on_core_zero);
}

TEST_CASE("a core that is not there is refused by name, and the rest is applied") {
  const int nice = ::getpriority(PRIO_PROCESS, 0) + 1;
  const Seen seen = scheduled({.nice = nice, .cores = {1023}}, 0);
  REQUIRE(!seen.outcome.ok());
  CHECK(seen.outcome.error().code == "thread-core");
  CHECK(seen.outcome.error().message.find("core 1023") != std::string::npos);
  CHECK(seen.outcome.error().message.find("switch.cores") != std::string::npos);
  CHECK(seen.nice == nice);
  CHECK(scheduled({.cores = {1u << 20}}, 0).outcome.error().code == "thread-core");
}

TEST_CASE("a prompt worker stays in the normal class and keeps its nice value") {
  const int nice = ::getpriority(PRIO_PROCESS, 0) + 2;
  const Seen seen = scheduled({.scheduling = ScheduleClass::prompt, .nice = nice}, 0);
  REQUIRE(seen.outcome.ok());
  CHECK(seen.scheduling == SCHED_OTHER);
  CHECK(seen.nice == nice);
}

TEST_CASE("the real-time class is taken, or its refusal says what it needs") {
  const Seen seen = scheduled({.scheduling = ScheduleClass::fifo}, 0);
  if (seen.outcome.ok()) {
    CHECK(seen.scheduling == SCHED_FIFO);
  } else {
    CHECK(seen.outcome.error().code == "thread-class");
    CHECK(seen.outcome.error().message.find("CAP_SYS_NICE") != std::string::npos);
    CHECK(seen.scheduling == SCHED_OTHER);
  }
}
