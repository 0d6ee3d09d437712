#include <doctest/doctest.h>

#include <thread>

#include "conntrack_fixture.h"

using namespace weft;
using namespace weft::conntrack_test;

TEST_CASE("no connection outlives its port, however insert and release meet") {
  // The worker and the control thread meet at every round; the delay before the release walks over the time
  // that an insert takes.
  Fixture f(small(64));
  constexpr uint32_t kRounds = 20000;
  std::atomic<uint32_t> begun{0}, ended{0};
  PortLife life;
  uint32_t made = 0, refused = 0;
  std::thread worker([&] {
    for (uint32_t round = 1; round <= kRounds; ++round) {
      while (begun.load(std::memory_order_acquire) != round) std::this_thread::yield();
      NewConnection wanted = connection(f, tuple(Protocol::udp, 1, 53));
      wanted.initiator = life;
      for (uint16_t i = 1; i <= 8; ++i) {
        wanted.original.source_port = i;
        const InsertStatus status = f.table->insert(wanted, kStart).status;
        (status == InsertStatus::ok ? made : refused) += 1;
      }
      ended.store(round, std::memory_order_release);
    }
  });
  uint32_t left = 0;
  for (uint32_t round = 1; round <= kRounds; ++round) {
    life = f.table->open_port("pod-c").value();
    // On a busy machine the two may miss each other for long: some rounds are all insert first, some all
    // release first.
    if (round % 10 == 1) f.table->release_port(life);
    begun.store(round, std::memory_order_release);
    if (round % 10 == 0)
      while (ended.load(std::memory_order_acquire) != round) std::this_thread::yield();
    for (std::atomic<uint32_t> spin{0}; spin.load() < round % 1000;) spin.fetch_add(1);
    f.table->release_port(life);
    while (ended.load(std::memory_order_acquire) != round) std::this_thread::yield();
    left += f.table->counts().used;
  }
  worker.join();
  CHECK(left == 0);
  CHECK(made > 0);
  CHECK(refused > 0);
  CHECK(f.table->check() == nullptr);
}
