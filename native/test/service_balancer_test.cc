#include <doctest/doctest.h>

#include <random>
#include <thread>
#include <vector>

#include "service/balancer.h"

using namespace weft;

namespace {

constexpr uint64_t kNow = 1000 * kSecond;

FlowTuple flow(uint32_t client, uint16_t port = 80, Protocol protocol = Protocol::tcp) {
  return {Address::v4(client), Address::v4(0x0a600001), 40000, port, static_cast<uint8_t>(protocol), 4, 0};
}

std::vector<Backend> backends(uint32_t count) {
  std::vector<Backend> list;
  for (uint32_t i = 0; i < count; ++i)
    list.push_back({Address::v4(0x0a000001 + i), static_cast<uint16_t>(8080 + i)});
  return list;
}

size_t choose(Balancer& balancer, const FlowTuple& f, const std::vector<Backend>& list, uint32_t affinity,
              uint64_t random, uint64_t now = kNow) {
  return balancer.choose(f.source, f.destination_port << 8 | f.protocol, std::span(list), affinity, random,
                         now);
}

}  // namespace

TEST_CASE("new flows are spread evenly over the backends") {
  AffinityTable table(64, {1, 2});
  Balancer balancer(table);
  const auto list = backends(7);
  std::vector<int> hits(7);
  std::mt19937_64 random(1);
  for (int i = 0; i < 70000; ++i) {
    ++hits[choose(balancer, flow(0x0a630001), list, 0, random())];
  }
  for (const int count : hits) {
    CHECK(count > 9500);
    CHECK(count < 10500);
  }
  CHECK(choose(balancer, flow(1), list, 0, ~uint64_t{0}) == 6);
}

TEST_CASE("ClientIP affinity keeps a client on its backend until its time is over or the backend is gone") {
  AffinityTable table(64, {1, 2});
  Balancer balancer(table);
  auto list = backends(8);
  const uint64_t low = 0, high = ~uint64_t{0};
  for (const Protocol protocol : {Protocol::tcp, Protocol::udp, Protocol::sctp}) {
    const FlowTuple f = flow(0x0a630001, 80, protocol);
    CHECK(choose(balancer, f, list, 10, low) == 0);
    CHECK(choose(balancer, f, list, 10, high, kNow + 9 * kSecond) == 0);
    CHECK(choose(balancer, f, list, 10, high, kNow + 18 * kSecond) == 0);  // each connection starts it anew
    CHECK(choose(balancer, f, list, 10, high, kNow + 28 * kSecond) == 7);  // ended at the very second
    CHECK(choose(balancer, f, list, 10, low, kNow + 29 * kSecond) == 7);
  }
  const FlowTuple f = flow(0x0a630001);
  list.pop_back();  // the backend goes; the client is balanced anew and stays there
  CHECK(choose(balancer, f, list, 10, low, kNow + 30 * kSecond) == 0);
  CHECK(choose(balancer, f, list, 10, high, kNow + 31 * kSecond) == 0);
  list.insert(list.begin(), {Address::v4(0x09000001), 1});  // same backend at another place in the list
  CHECK(choose(balancer, f, list, 10, high, kNow + 32 * kSecond) == 1);
}

TEST_CASE("affinity is per service port and protocol, and another client's is its own") {
  AffinityTable table(64, {1, 2});
  Balancer balancer(table);
  const auto list = backends(8);
  CHECK(choose(balancer, flow(1), list, 10, 0) == 0);
  for (const FlowTuple& f : {flow(2), flow(1, 81), flow(1, 80, Protocol::udp)})
    CHECK(choose(balancer, f, list, 10, ~uint64_t{0}) == 7);
}

TEST_CASE("an endpoint is found where it stands, and no other") {
  const auto list = backends(9);
  for (size_t i = 0; i < list.size(); ++i) {
    CHECK(find_backend(list, list[i].address, list[i].port) == i);
    CHECK(find_backend(list, list[i].address, list[i].port + 1) == list.size());
  }
  CHECK(find_backend(std::vector<Backend>{}, Address::v4(1), 1) == 0);
  const std::vector<Backend> ports{{Address::v4(1), 5}, {Address::v4(1), 7}, {Address::v4(2), 1}};
  CHECK(find_backend(ports, Address::v4(1), 7) == 1);
  CHECK(find_backend(ports, Address::v4(1), 6) == 3);
}

TEST_CASE("a full affinity table forgets the oldest and stays within its bound") {
  AffinityTable table(64, {1, 2});
  CHECK(table.capacity() == 64);
  const AffinityTarget target{Address::v4(1), 1};
  for (uint32_t i = 0; i < 1000; ++i) table.put({Address::v4(i), 80}, target, kNow + i, kSecond);
  CHECK(table.used(kNow + 1000) == 64);
  AffinityTarget out;
  CHECK(table.find({Address::v4(999), 80}, kNow + 1000, out));
  CHECK_FALSE(table.find({Address::v4(0), 80}, kNow + 1000, out));
}

TEST_CASE("two threads on one affinity table never see half a target") {
  AffinityTable table(8, {1, 2});
  const auto worker = [&](uint32_t seed) {
    for (uint32_t i = 0; i < 20000; ++i) {
      const uint32_t client = (i * 7 + seed) % 16;
      const AffinityKey key{Address::v4(client), 80};
      AffinityTarget out;
      if (table.find(key, kNow, out)) REQUIRE(out.address == Address::v4(out.port));
      const auto port = static_cast<uint16_t>(i);
      table.put(key, {Address::v4(port), port}, kNow, kSecond);
    }
  };
  std::thread one(worker, 1), two(worker, 2);
  one.join();
  two.join();
}
