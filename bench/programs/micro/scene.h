// A switch whose worker is driven by hand: two pods on devices that hold prepared frames, a poller that knows
// which of them have some left, and a clock that stands still. What is counted of it is the product's own way
// of a packet from receive() to send(), the worker's turn included; the kernel is not in it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "conntrack/table.h"
#include "frames.h"
#include "switch/switch.h"
#include "switch/worker.h"

namespace weft::bench {

// Hands out its frames once, from the first to the last, and counts what it is sent.
class ScriptDevice final : public Device {
 public:
  Received receive(std::span<uint8_t> buffer) noexcept override;
  SendStatus send(std::span<const uint8_t> frame) noexcept override;
  [[nodiscard]] DeviceOffloads offloads() const noexcept override { return {true, true, true, true}; }
  [[nodiscard]] int descriptor() const noexcept override { return -1; }

  // From the first frame on again.
  void play(const std::vector<Frame>& frames) {
    frames_ = frames.data();
    left_ = frames.size();
  }
  [[nodiscard]] bool readable() const { return left_ != 0; }
  uint64_t sent = 0;
  uint64_t sent_bytes = 0;

 private:
  const Frame* frames_ = nullptr;
  size_t left_ = 0;
};

struct Pod {
  Address v4, v6;
  MacAddress mac{};
  ScriptDevice* device = nullptr;
};

class Scene {
 public:
  // Throws where the image or an option is refused. `image` is a file of the compiler's.
  Scene(const std::string& image, uint32_t connections);
  ~Scene();
  // The pod's addresses have to be those of a local pod in the image.
  void add(Pod& pod, const std::string& name, const std::string& v4, const std::string& v6);
  [[nodiscard]] MacAddress gateway_mac() const { return settings_.gateway_mac; }
  // Rounds of the worker until no device has a frame left. `frames` bounds them.
  void run(size_t frames);
  [[nodiscard]] TableCounts connections() const { return table_->counts(); }
  // Every drop of every port so far, "reason N" each.
  [[nodiscard]] std::string drops() const;

 private:
  class ScriptPoller;
  class StandingClock final : public Clock {
   public:
    [[nodiscard]] uint64_t now_ns() noexcept override { return 1'000'000'000'000; }
  };
  struct alignas(64) Line {
    std::byte bytes[64];
  };

  Settings settings_;
  StandingClock clock_;
  std::vector<Line> region_;
  std::unique_ptr<ConnectionTable> table_;
  std::unique_ptr<Switch> switch_;
};

// The image in a file, loaded by the product's loader; throws with its sentence where it is refused.
std::shared_ptr<const Image> load_image(const std::string& path);
Address address_of(const std::string& text);

}  // namespace weft::bench
