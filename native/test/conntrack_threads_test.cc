// Two workers and the control thread on one small table at once; meaningful under TSan, and for the
// invariants at the end.
#include <doctest/doctest.h>

#include <thread>

#include "conntrack_fixture.h"

using namespace weft;
using namespace weft::conntrack_test;

TEST_CASE(
    "two workers and the control thread leave a consistent table, and no lookup mixes two connections") {
  Fixture f(small(32));  // small, so that entries are evicted and reused all the time
  std::atomic<uint64_t> mixed{0}, hits{0};
  std::atomic<bool> done{false};
  const auto worker = [&](uint32_t seed) {
    uint32_t random = seed;
    for (int i = 0; i < 40000; ++i) {
      random = random * 1664525 + 1013904223;
      const auto port = static_cast<uint16_t>(1 + (random >> 16) % 64);
      // The service's backend address is a function of the client's port: a mixed snapshot would show.
      NewConnection wanted = connection(f, tuple(Protocol::udp, port, 53, 0x0a000001, 0x0a600001));
      wanted.translation = {true, false, port, Address::v4(0x0a010000 + port)};
      const Lookup found = f.table->find(wanted.original, kStart);
      if (!found.hit()) {
        f.table->insert(wanted, kStart);
        continue;
      }
      hits.fetch_add(1, std::memory_order_relaxed);
      if (found.translated.destination != wanted.translation.to || found.translated.destination_port != port)
        mixed.fetch_add(1, std::memory_order_relaxed);
      switch (random >> 8 & 7) {
        case 0:
          f.table->kill(found);
          break;
        case 1:
          f.table->judge(found, 2, 0, 0);
          break;
        case 2: {
          const Lookup back = f.table->find(found.translated.reversed(), kStart);
          if (back.hit() && back.translated != wanted.original.reversed())
            mixed.fetch_add(1, std::memory_order_relaxed);
          f.table->update(back, {}, kStart);
          break;
        }
        default:
          f.table->update(found, {}, kStart);
      }
    }
  };
  std::thread one(worker, 1), two(worker, 2);
  std::thread control([&] {
    int round = 0;
    while (!done.load()) {
      const PortLife c = f.table->open_port("pod-c").value();
      NewConnection wanted = connection(f, tuple(Protocol::udp, 1000, 53));
      wanted.initiator = c;
      f.table->insert(wanted, kStart);
      f.table->release_port(c);
      f.table->sweep(8, kStart);
      for (uint32_t i = 0; i < 32; ++i) (void)f.table->read(i);
      if (++round % 16 == 0) std::this_thread::yield();
    }
  });
  one.join();
  two.join();
  done = true;
  control.join();
  CHECK(mixed.load() == 0);
  CHECK(hits.load() > 1000);
  // Ranks are hints that a lost race may leave behind; a transition or a sweep corrects them. All else is
  // exact.
  const char* problem = f.table->check();
  CAPTURE(problem);
  CHECK((problem == nullptr || std::string(problem) == "a rank is not its state's"));
}
