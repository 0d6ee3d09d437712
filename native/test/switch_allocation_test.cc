// Packets allocate nothing: not of an established flow, not of a new one, not a dropped or an answered one.
// Counted by replacing the global operator new for this program.
#include <doctest/doctest.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "counted.h"
#include "switch_harness.h"

static std::atomic<uint64_t> allocations{0};

#if WEFT_COUNT_CALLS
namespace {

void* counted(size_t size) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  void* memory = std::malloc(size == 0 ? 1 : size);
  if (memory == nullptr) std::abort();
  return memory;
}
void* counted(size_t size, std::align_val_t alignment) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  const auto step = static_cast<size_t>(alignment);
  void* memory = std::aligned_alloc(step, (size + step - 1) / step * step);
  if (memory == nullptr) std::abort();
  return memory;
}

}  // namespace

void* operator new(size_t size) {
  return counted(size);
}
void* operator new[](size_t size) {
  return counted(size);
}
void* operator new(size_t size, std::align_val_t alignment) {
  return counted(size, alignment);
}
void* operator new[](size_t size, std::align_val_t alignment) {
  return counted(size, alignment);
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete[](void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, size_t) noexcept {
  std::free(memory);
}
void operator delete[](void* memory, size_t) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::align_val_t) noexcept {
  std::free(memory);
}
void operator delete[](void* memory, std::align_val_t) noexcept {
  std::free(memory);
}
void operator delete(void* memory, size_t, std::align_val_t) noexcept {
  std::free(memory);
}
void operator delete[](void* memory, size_t, std::align_val_t) noexcept {
  std::free(memory);
}
#endif

namespace weft::test {

uint64_t allocations_so_far() {
  return allocations.load();
}

namespace {

// Gives out one frame again and again, and swallows what it is sent, without touching the heap.
class LoopDevice final : public Device {
 public:
  explicit LoopDevice(DeviceOffloads offloads = {}) : offloads_(offloads) {}
  Received receive(std::span<uint8_t> buffer) noexcept override {
    if (left == 0) return {};
    --left;
    std::memcpy(buffer.data(), frame.data(), frame.size());
    return {ReceiveStatus::frame, static_cast<uint32_t>(frame.size())};
  }
  SendStatus send(std::span<const uint8_t>) noexcept override {
    ++sent;
    return SendStatus::sent;
  }
  [[nodiscard]] DeviceOffloads offloads() const noexcept override { return offloads_; }
  [[nodiscard]] int descriptor() const noexcept override { return -1; }

  Bytes frame;
  uint32_t left = 0;
  uint32_t sent = 0;

 private:
  const DeviceOffloads offloads_;
};

TEST_CASE(
    "no packet allocates: established, new, translated, segmented, denied, answered, fragmented, captured, "
    "tried") {
  Settings settings;
  ManualClock clock;
  TableOptions table_options;
  table_options.capacity = 4096;
  Region region(ConnectionTable::region_size(table_options));
  auto table = std::move(ConnectionTable::open(region.span(), table_options, clock.now.load()).value().table);
  AffinityTable affinity(64, {1, 2});
  Balancer balancer(affinity);
  Forwarder forwarder(settings, *table, balancer, 0);
  forwarder.allocate_captures(1 << 20);

  ImageBuilder image;
  image.pod({"10.0.0.1"});
  const uint32_t b = image.pod({"10.0.0.2"});
  image.isolate(b, Direction::ingress, {{.protocol = 17, .first = 53, .last = 60}, {.protocol = 6}});
  image.service("10.96.0.1", 80, 17, {{"10.0.0.2", 53}}, 10);
  View view;
  view.image = image.load();
  view.generation = table->next_generation();
  view.routes = RouteMap(2);
  std::vector<LoopDevice*> devices;
  for (uint8_t i = 0; i < 2; ++i) {
    auto device = std::make_unique<LoopDevice>();
    devices.push_back(device.get());
    PortSpec spec;
    spec.id = std::string(1, static_cast<char>('a' + i));
    spec.mac = {2, 0, 0, 0, 0, static_cast<uint8_t>(i + 1)};
    const PortLife life = table->open_port(spec.id).value();
    view.ports.push_back(std::make_shared<Port>(spec, std::move(device), life.index, life.instance, 0, 1));
    view.routes.insert(Address::v4(0x0a000001u + i), view.ports.back().get());
  }
  const Link link = {{2, 0, 0, 0, 0, 1}, settings.gateway_mac};
  Bytes large = frame(link, "tcp 10.0.0.1:7 > 10.0.0.2:6 PA len 20000");
  make_partial(large, 1000);
  struct Row {
    const char* what;
    Bytes frame;
    uint32_t sent_to_a, sent_to_b;
  };
  const std::vector<Row> rows = {
      {"a new flow and its following packets", frame(link, "udp 10.0.0.1:1 > 10.0.0.2:53 len 100"), 0, 100},
      {"a service", frame(link, "udp 10.0.0.1:1 > 10.96.0.1:80 len 100"), 0, 100},
      {"segments", large, 0, 2000},
      {"a denial", frame(link, "udp 10.0.0.1:1 > 10.0.0.2:90 len 100"), 0, 0},
      {"an answer", frame(link, "icmp 10.0.0.1 > 169.254.1.1 echo 4"), 100, 0},
      {"spoofing", frame(link, "udp 10.0.0.9:1 > 10.0.0.2:53"), 0, 0},
      {"a first fragment and duplicates of it", frame(link, "udp 10.0.0.1:1 > 10.0.0.2:53 frag 5@0+ len 96"),
       0, 1},
      {"a held fragment", frame(link, "udp 10.0.0.1 > 10.0.0.2 frag 6@96 len 96"), 0, 0},
  };
  Bytes buffer(kVnetHeaderLength + kMaxFrameLength + 64);
  ImageBuilder other;
  other.pod({"10.0.0.1"});
  other.isolate(other.pod({"10.0.0.2"}), Direction::ingress, {{.protocol = 17, .first = 90, .last = 90}});
  forwarder.begin_trial();
  view.live.answer_burst = 300;
  bool again = false;
  for (const bool trial : {false, true, false}) {
    const CaptureMode mode = again && !trial ? CaptureMode::all : CaptureMode::off;
    view.ports[0]->capture = mode;
    view.ports[0]->snap_length = 128;
    view.shadow = trial ? other.load() : nullptr;
    // What is established is judged again in the trial.
    view.generation = view.trial_since = table->next_generation();
    for (const Row& row : rows) {
      CAPTURE(row.what);
      const uint32_t a = devices[0]->sent, b_sent = devices[1]->sent;
      const uint64_t before = allocations.load();
      for (int i = 0; i < 100; ++i) {
        std::memcpy(buffer.data(), row.frame.data(), row.frame.size());
        const Arrived arrived{buffer.data(), static_cast<uint32_t>(row.frame.size())};
        forwarder.forward(view, *view.ports[0], {&arrived, 1}, clock.now.load());
        forwarder.flush();
      }
      const uint64_t after = allocations.load();
      CHECK(after - before == 0);
      CHECK(devices[0]->sent - a == row.sent_to_a);
      // The second time around the fragment is a duplicate from the start.
      CHECK(devices[1]->sent - b_sent == (again && row.sent_to_b == 1 ? 0 : row.sent_to_b));
    }
    again = true;
  }
  // UDP to port 53, by a Service too, and TCP would be denied; UDP to port 90 allowed.
  CHECK(forwarder.trial_counts().denied == 3);
  CHECK(forwarder.trial_counts().allowed == 1);
  // In turns of ten, two flows in each, to a device that takes datagrams gathered.
  view.ports[0]->capture = CaptureMode::off;
  auto* gathering = new LoopDevice({true, true, true, true});
  PortSpec spec;
  spec.id = "c";
  const PortLife life = table->open_port(spec.id).value();
  view.ports.push_back(
      std::make_shared<Port>(spec, std::unique_ptr<Device>(gathering), life.index, life.instance, 0, 1));
  image.pod({"10.0.0.3"});
  view.image = image.load();
  view.generation = table->next_generation();
  RouteMap routes(3);
  for (uint32_t i = 0; i < 3; ++i) routes.insert(Address::v4(0x0a000001u + i), view.ports[i].get());
  view.routes = std::move(routes);
  const Bytes flows[] = {frame(link, "udp 10.0.0.1:1 > 10.0.0.3:53 df len 100"),
                         frame(link, "udp 10.0.0.1:2 > 10.0.0.3:53 df len 90")};
  std::vector<Arrived> turn(10);
  const uint64_t start = allocations.load();
  for (int i = 0; i < 100; ++i) {
    for (size_t k = 0; k < turn.size(); ++k) {
      const Bytes& bytes = flows[k % 2];
      std::memcpy(buffer.data() + 256 * k, bytes.data(), bytes.size());
      turn[k] = {buffer.data() + 256 * k, static_cast<uint32_t>(bytes.size())};
    }
    forwarder.forward(view, *view.ports[0], turn, clock.now.load());
    forwarder.flush();
  }
  CHECK(allocations.load() - start == 0);
  CHECK(gathering->sent == 200);
  // The count itself works.
  const uint64_t before = allocations.load();
  delete new Bytes(5);
  CHECK((allocations.load() > before) == (WEFT_COUNT_CALLS == 1));
}

}  // namespace
}  // namespace weft::test
