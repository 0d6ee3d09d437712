// A real process, really killed: complements the exact stepping of conntrack_recovery_test.cc with whatever
// the machine does.
#include <doctest/doctest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "conntrack_fixture.h"

using namespace weft;
using namespace weft::conntrack_test;

TEST_CASE("kill -9 at any moment leaves only whole connections, all to be judged again") {
  const TableOptions options = small(128);
  const size_t size = ConnectionTable::region_size(options);
  void* memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  REQUIRE(memory != MAP_FAILED);
  const std::span<std::byte> region{static_cast<std::byte*>(memory), size};
  uint32_t recovered = 0;
  uint64_t generation = 0;
  for (uint32_t round = 0; round < 100; ++round) {
    CAPTURE(round);
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      alarm(10);  // never outlives a parent that failed
      auto table = std::move(std::move(ConnectionTable::open(region, options, kStart)).value().table);
      NewConnection wanted;
      wanted.initiator = table->open_port("pod-a").value();
      wanted.responder = table->open_port("pod-b").value();
      for (uint32_t i = round;; i = i * 1664525 + 1013904223) {
        const auto port = static_cast<uint16_t>(1 + (i >> 16) % 256);
        wanted.generation = table->next_generation();
        wanted.original = tuple(Protocol::udp, port, 53, 0x0a000001, 0x0a600001);
        wanted.translation = {true, false, port, Address::v4(0x0a010000 + port)};
        const Lookup lookup = table->insert(wanted, kStart).lookup;
        table->update(lookup, {}, kStart);
        table->judge(lookup, wanted.generation, 1, 2);
        if ((i >> 8 & 3) == 0) table->kill(lookup);
      }
    }
    usleep(500 + round * 37 % 1500);
    kill(child, SIGKILL);
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    REQUIRE(WIFSIGNALED(status));
    REQUIRE(WTERMSIG(status) == SIGKILL);

    auto opened = std::move(ConnectionTable::open(region, options, kStart + 1)).value();
    REQUIRE_FALSE(opened.refused.has_value());
    REQUIRE(opened.table->check() == nullptr);
    CHECK(opened.dropped <= 1);  // only the entry that was being written
    CHECK(opened.table->generation() >= generation);
    generation = opened.table->generation();
    recovered += opened.recovered;
    for (uint32_t i = 0; i < options.capacity; ++i) {
      const auto view = opened.table->read(i);
      if (!view) continue;
      CHECK(view->generation == 0);
      CHECK(view->reply.source == Address::v4(0x0a010000u + view->original.source_port));
      CHECK(view->reply.source_port == view->original.source_port);
    }
  }
  CHECK(recovered > 0);
  munmap(memory, size);
}
