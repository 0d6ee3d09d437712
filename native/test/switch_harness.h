// A whole switch without threads, kernel or real time: in-memory devices, a manual clock, and steps that read
// as { who sends, what, what happens }. What happens is one line: "PORT: packet" for each packet that comes
// out, in the order of the ports' names, then "drop REASON" for each drop; "" if nothing at all does.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "frame_text.h"
#include "image_builder.h"
#include "memory_device.h"
#include "switch/switch.h"
#include "switch/worker.h"

namespace weft::test {

// A region that outlives switches, as the file on tmpfs does.
struct Region {
  explicit Region(size_t size) : words(new Block[size / 64 + 2]()), bytes(size) {}
  struct alignas(64) Block {
    std::byte bytes[64];
  };
  std::unique_ptr<Block[]> words;
  size_t bytes;
  [[nodiscard]] std::span<std::byte> span() const { return {words[0].bytes, bytes}; }
};

struct Step {
  std::string from;
  std::string sent;
  std::string expected;
};

struct PortOptions {
  uint32_t mtu = 1500;
  DeviceOffloads offloads = {true, true, true, true};
  PortKind kind = PortKind::pod;
};

class Harness {
 public:
  struct Options {
    Settings settings;
    TableOptions table;
    std::shared_ptr<Region> region;  // null: a new one
  };
  Harness() : Harness(Options{}) {}
  explicit Harness(Options options);
  ~Harness();

  // Port `name` gets a MAC address made of its position.
  PortHandle add(const std::string& name, const std::vector<std::string>& addresses,
                 PortOptions options = {});
  // The device is destroyed.
  void remove(const std::string& name);
  [[nodiscard]] MemoryDevice& device(const std::string& name) { return *ports_.at(name).device; }
  [[nodiscard]] PortHandle handle(const std::string& name) const { return ports_.at(name).handle; }
  [[nodiscard]] Link link(const std::string& name) const;  // from the pod to the gateway

  // Lets `name` send the frame and the switch do all its work; returns what happened.
  std::string send(const std::string& name, const std::string& text) {
    return send(name, frame(link(name), text));
  }
  std::string send(const std::string& name, Bytes vnet_and_frame);
  // Everything that came out since last time, without sending.
  std::string collect();
  void play(const std::vector<Step>& steps);
  void work();  // rounds until nothing is left to read

  void pass(uint64_t ns) { clock.now += ns; }
  [[nodiscard]] uint64_t drops(const std::string& name, DropReason reason) const;
  [[nodiscard]] PortTotals totals(const std::string& name) const;
  std::vector<FlowEvent> flows();

  // Ends the switch and begins another over the same region, with the same ports; no image.
  void restart();
  void restart_without(const std::string& name);

  ManualClock clock;
  std::unique_ptr<ConnectionTable> table;
  std::unique_ptr<Switch> sw;
  uint32_t recovered = 0;

 private:
  struct PortState {
    PortHandle handle;
    MemoryDevice* device = nullptr;
    PortSpec spec;
    DeviceOffloads offloads;
  };
  void open();

  Options options_;
  MemoryBell bell_;
  std::map<std::string, PortState> ports_;
  uint8_t next_mac_ = 1;
  std::array<uint64_t, drop_reason_count> seen_drops_{};
};

}  // namespace weft::test
