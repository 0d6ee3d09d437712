// A packet of an established flow neither allocates nor takes a lock, of whatever protocol, family, size and
// translation, one by one and in turns. The locks of pthreads are counted by standing in front of libc's; the
// tables' own are asked how often they were taken.
#include <dlfcn.h>
#include <doctest/doctest.h>
#include <pthread.h>

#include <atomic>
#include <mutex>

#include "counted.h"
#include "switch_harness.h"

static std::atomic<uint64_t> locks{0};

#if WEFT_COUNT_LOCKS
namespace {

template <class Function>
Function* next(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

}  // namespace

extern "C" int pthread_mutex_lock(pthread_mutex_t* mutex) noexcept {
  static auto* const real = next<int(pthread_mutex_t*)>("pthread_mutex_lock");
  locks.fetch_add(1, std::memory_order_relaxed);
  return real(mutex);
}
extern "C" int pthread_mutex_trylock(pthread_mutex_t* mutex) noexcept {
  static auto* const real = next<int(pthread_mutex_t*)>("pthread_mutex_trylock");
  locks.fetch_add(1, std::memory_order_relaxed);
  return real(mutex);
}
extern "C" int pthread_rwlock_rdlock(pthread_rwlock_t* lock) noexcept {
  static auto* const real = next<int(pthread_rwlock_t*)>("pthread_rwlock_rdlock");
  locks.fetch_add(1, std::memory_order_relaxed);
  return real(lock);
}
extern "C" int pthread_rwlock_wrlock(pthread_rwlock_t* lock) noexcept {
  static auto* const real = next<int(pthread_rwlock_t*)>("pthread_rwlock_wrlock");
  locks.fetch_add(1, std::memory_order_relaxed);
  return real(lock);
}
#endif

namespace weft::test {

uint64_t locks_so_far() {
  return locks.load();
}

namespace {

// Swallows what it is sent, without touching the heap.
class Sink final : public Device {
 public:
  explicit Sink(DeviceOffloads offloads) : offloads_(offloads) {}
  Received receive(std::span<uint8_t>) noexcept override { return {}; }
  SendStatus send(std::span<const uint8_t>) noexcept override {
    ++sent;
    return SendStatus::sent;
  }
  [[nodiscard]] DeviceOffloads offloads() const noexcept override { return offloads_; }
  [[nodiscard]] int descriptor() const noexcept override { return -1; }
  uint32_t sent = 0;

 private:
  const DeviceOffloads offloads_;
};

struct Flow {
  const char* forth;     // from a
  const char* back;      // from b
  uint16_t segment = 0;  // not 0: frames with offloads, segments of so many bytes
};

// A client, a server, and a Service that leads to it.
const std::vector<Flow> kFlows = {
    {"tcp 10.0.0.1:1 > 10.0.0.2:80 PA len 100", "tcp 10.0.0.2:80 > 10.0.0.1:1 A"},
    {"tcp 10.0.0.1:2 > 10.0.0.2:80 PA len 20000", "tcp 10.0.0.2:80 > 10.0.0.1:2 A", 1400},
    {"tcp 10.0.0.1:3 > 10.96.0.1:80 PA len 20000", "tcp 10.0.0.2:80 > 10.0.0.1:3 A", 1400},
    {"udp 10.0.0.1:4 > 10.0.0.2:80 df len 100", "udp 10.0.0.2:80 > 10.0.0.1:4 df len 100"},
    {"udp 10.0.0.1:5 > 10.96.0.1:80 df len 100", "udp 10.0.0.2:80 > 10.0.0.1:5 df len 100"},
    {"udp 10.0.0.1:6 > 10.96.0.1:80 df len 9000", "udp 10.0.0.2:80 > 10.0.0.1:6 df len 9000", 1400},
    {"sctp 10.0.0.1:7 > 10.0.0.2:80 DATA", "sctp 10.0.0.2:80 > 10.0.0.1:7 DATA"},
    {"sctp 10.0.0.1:8 > 10.96.0.1:80 DATA", "sctp 10.0.0.2:80 > 10.0.0.1:8 DATA"},
    {"icmp 10.0.0.1 > 10.0.0.2 echo 9", "icmp 10.0.0.2 > 10.0.0.1 reply 9"},
    {"proto 99 10.0.0.1 > 10.0.0.2", "proto 99 10.0.0.2 > 10.0.0.1"},
    {"tcp [fd00::1]:1 > [fd00::2]:80 PA len 100", "tcp [fd00::2]:80 > [fd00::1]:1 A"},
    {"tcp [fd00::1]:2 > [fd00::2]:80 PA len 20000", "tcp [fd00::2]:80 > [fd00::1]:2 A", 1400},
    {"tcp [fd00::1]:3 > [fd96::1]:80 PA len 20000", "tcp [fd00::2]:80 > [fd00::1]:3 A", 1400},
    {"udp [fd00::1]:4 > [fd00::2]:80 len 100", "udp [fd00::2]:80 > [fd00::1]:4 len 100"},
    {"udp [fd00::1]:5 > [fd96::1]:80 len 100", "udp [fd00::2]:80 > [fd00::1]:5 len 100"},
    {"sctp [fd00::1]:7 > [fd00::2]:80 DATA", "sctp [fd00::2]:80 > [fd00::1]:7 DATA"},
    {"icmp fd00::1 > fd00::2 echo 9", "icmp fd00::2 > fd00::1 reply 9"},
};

// `special`: every port has a bandwidth, which is not used up, and a trial is in force.
void established_flows_are_quiet(DeviceOffloads offloads, bool special = false) {
  Settings settings;
  ManualClock clock;
  TableOptions table_options;
  table_options.capacity = 4096;
  Region region(ConnectionTable::region_size(table_options));
  auto table = std::move(ConnectionTable::open(region.span(), table_options, clock.now.load()).value().table);
  AffinityTable affinity(64, {1, 2});
  Balancer balancer(affinity);
  Forwarder forwarder(settings, *table, balancer, 0);
  ImageBuilder image;
  image.pod({"10.0.0.1", "fd00::1"});
  const uint32_t server = image.pod({"10.0.0.2", "fd00::2"});
  image.isolate(server, Direction::ingress, {{}});
  for (const uint8_t protocol : std::initializer_list<uint8_t>{6, 17, 132}) {
    image.service("10.96.0.1", 80, protocol, {{"10.0.0.2", 80}}, 10);
    image.service("fd96::1", 80, protocol, {{"fd00::2", 80}}, 10);
  }
  View view;
  view.image = image.load();
  view.generation = table->next_generation();
  view.routes = RouteMap(4);
  std::vector<Sink*> sinks;
  for (uint8_t i = 0; i < 2; ++i) {
    auto device = std::make_unique<Sink>(offloads);
    sinks.push_back(device.get());
    PortSpec spec;
    spec.id = std::string(1, static_cast<char>('a' + i));
    spec.mac = {2, 0, 0, 0, 0, static_cast<uint8_t>(i + 1)};
    const PortLife life = table->open_port(spec.id).value();
    view.ports.push_back(std::make_shared<Port>(spec, std::move(device), life.index, life.instance, 0, 1));
    view.routes.insert(Address::v4(0x0a000001u + i), view.ports.back().get());
    view.routes.insert(address(i == 0 ? "fd00::1" : "fd00::2"), view.ports.back().get());
    if (special) view.ports.back()->ingress.set(1'000'000'000'000, 0, RateLimit::kPolicedBurstNs);
  }
  if (special) {
    forwarder.begin_trial();
    view.shadow = view.image;
    view.trial_since = view.generation;
  }

  std::vector<Bytes> frames[2];
  for (const Flow& flow : kFlows) {
    for (size_t side = 0; side < 2; ++side) {
      const MacAddress mac = {2, 0, 0, 0, 0, static_cast<uint8_t>(side + 1)};
      frames[side].push_back(frame({mac, settings.gateway_mac}, side == 0 ? flow.forth : flow.back));
      // An acknowledgement without data is no GSO frame.
      Bytes& made = frames[side].back();
      if (flow.segment != 0 && made.size() > 1500) make_partial(made, flow.segment);
    }
  }
  std::vector<Bytes> buffers(kFlows.size(), Bytes(32'768));
  std::vector<Arrived> turn(kFlows.size());
  const auto send = [&](size_t side, bool together) {
    for (size_t i = 0; i < kFlows.size(); ++i) {
      const Bytes& bytes = frames[side][i];
      std::memcpy(buffers[i].data(), bytes.data(), bytes.size());
      turn[i] = {buffers[i].data(), static_cast<uint32_t>(bytes.size())};
      if (!together) forwarder.forward(view, *view.ports[side], {&turn[i], 1}, clock.now.load());
    }
    if (together) forwarder.forward(view, *view.ports[side], turn, clock.now.load());
    forwarder.flush();
  };
  for (size_t side = 0; side < 2; ++side) send(side, false);
  const uint64_t inserts = table->locks_taken();
  CHECK(inserts > 0);
  CHECK(affinity.locks_taken() > 0);
  CHECK(table->counts().used == kFlows.size());

  const uint64_t affinity_locks = affinity.locks_taken();
  const uint64_t allocated = allocations_so_far(), locked = locks_so_far();
  const uint32_t sent = sinks[0]->sent + sinks[1]->sent;
  for (int round = 0; round < 20; ++round)
    for (size_t side = 0; side < 2; ++side) send(side, round % 2 == 0);
  const uint64_t allocations = allocations_so_far() - allocated, pthread_locks = locks_so_far() - locked;
  CHECK(allocations == 0);
  CHECK(pthread_locks == 0);
  CHECK(table->locks_taken() == inserts);
  CHECK(affinity.locks_taken() == affinity_locks);
  CHECK(sinks[0]->sent + sinks[1]->sent >= sent + 20 * 2 * kFlows.size());
  PortTotals totals;
  for (const auto& port : view.ports) totals.add(port->counters[0]);
  for (size_t i = 0; i < totals.drops.size(); ++i) {
    CAPTURE(drop_reason_name(static_cast<DropReason>(i)));
    CHECK(totals.drops[i] == 0);
  }
  CHECK(totals.connections == kFlows.size());
  CHECK(forwarder.trial_counts().judged == (special ? kFlows.size() : 0));
}

TEST_CASE("a packet of an established flow takes no lock and allocates nothing, to devices with offloads") {
  established_flows_are_quiet({true, true, true, true});
}

TEST_CASE("a packet of an established flow takes no lock and allocates nothing, to devices without") {
  established_flows_are_quiet({});
}

TEST_CASE("nor where ports have a bandwidth and a trial is in force") {
  established_flows_are_quiet({true, true, true, true}, true);
}

TEST_CASE("locks are counted: those of pthreads and a table's own") {
  const uint64_t before = locks_so_far();
  std::mutex mutex;
  {
    const std::lock_guard hold(mutex);
  }
  CHECK((locks_so_far() > before) == (WEFT_COUNT_LOCKS == 1));
  SpinLock lock;
  CHECK_FALSE(lock.taken());
  lock.lock();
  CHECK(lock.taken());
  lock.unlock();
  CHECK_FALSE(lock.taken());
  CHECK(lock.times() == 1);
}

}  // namespace
}  // namespace weft::test
