// Scheduling of the control thread, on threads of the test's own.
#include <doctest/doctest.h>
#include <sched.h>
#include <time.h>

#include <cstdint>
#include <thread>

#include "io/control_schedule.h"

using namespace weft;
using namespace weft::io;

namespace {

int class_of_caller() {
  return ::sched_getscheduler(0) & ~SCHED_RESET_ON_FORK;
}

int64_t used_ns() {
  timespec used{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
  return int64_t{used.tv_sec} * 1'000'000'000 + used.tv_nsec;
}

void sleep_ns(int64_t ns) {
  const timespec moment{ns / 1'000'000'000, ns % 1'000'000'000};
  ::nanosleep(&moment, nullptr);
}

// Whether the class is another one than `scheduling` before so much processor time is used, of which never
// more than `slice_ns` without a short sleep.
bool leaves(int scheduling, int64_t limit_ns, int64_t slice_ns) {
  const int64_t end = used_ns() + limit_ns;
  for (int64_t at = used_ns(); at < end; sleep_ns(100'000))
    for (const int64_t until = at + slice_ns; at < until; at = used_ns())
      if (class_of_caller() != scheduling) return true;
  return false;
}

bool returns_to(int scheduling) {
  for (int i = 0; i < 1000 && class_of_caller() != scheduling; ++i) sleep_ns(10'000'000);
  return class_of_caller() == scheduling;
}

constexpr int64_t kSecond = 1'000'000'000;

}  // namespace

TEST_CASE("the control thread goes first, until its budget is used up, sleeping or not") {
  for (const int64_t slice_ns : {kSecond, int64_t{5'000'000}}) {
    std::thread([slice_ns] {
      // An hour's part of a core: however slow the machine is, it is used up too early.
      const Status outcome = schedule_control({.run_ns = 20'000'000, .within_ns = 3600 * kSecond});
      if (!outcome.ok()) {
        // Without the right to it the thread is as it was.
        CHECK(outcome.error().code == "control-class");
        CHECK(outcome.error().message.find("agent.scheduling") != std::string::npos);
        CHECK(class_of_caller() == SCHED_OTHER);
        return;
      }
      CHECK(class_of_caller() == SCHED_RR);
      int inherited = -1;
      std::thread([&] { inherited = class_of_caller(); }).join();
      CHECK(inherited == SCHED_OTHER);
      REQUIRE(leaves(SCHED_RR, 10 * kSecond, slice_ns));
      CHECK(class_of_caller() == SCHED_OTHER);
    }).join();
  }
}

TEST_CASE("a control thread whose budget was used up goes first again, and again has a budget") {
  std::thread([] {
    if (!schedule_control({.run_ns = 20'000'000, .within_ns = kSecond}).ok()) return;
    for (int round = 0; round < 2; ++round) {
      REQUIRE(leaves(SCHED_RR, 10 * kSecond, kSecond));
      CHECK(class_of_caller() == SCHED_OTHER);
      REQUIRE(returns_to(SCHED_RR));
    }
  }).join();
}

TEST_CASE("a control thread that keeps to its budget goes first all the time") {
  std::thread([] {
    // Using it takes longer than it has to, by far more than the kernel may be late to look (a hypervisor's
    // pause counts as processor time, and shortens what is left of the next budget).
    if (!schedule_control({.run_ns = 200'000'000, .within_ns = 1'000'000}).ok()) return;
    CHECK(!leaves(SCHED_RR, kSecond, kSecond));
  }).join();
}
