#include <doctest/doctest.h>

#include <thread>

#include "conntrack_fixture.h"

using namespace weft;
using namespace weft::conntrack_test;

TEST_CASE("no connection outlives its port, however insert and release meet") {
  Fixture f(small(64));
  for (int round = 0; round < 2000; ++round) {
    const PortLife c = f.table->open_port("pod-c").value();
    std::thread worker([&] {
      for (uint16_t i = 1; i <= 4; ++i) {
        NewConnection wanted = connection(f, tuple(Protocol::udp, i, 53));
        wanted.initiator = c;
        f.table->insert(wanted, kStart);
      }
    });
    f.table->release_port(c);
    worker.join();
    REQUIRE(f.table->counts().used == 0);
  }
  CHECK(f.table->check() == nullptr);
}
