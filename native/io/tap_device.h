// A TAP as the switch's Device: one read or write is one frame with its vnet header. Owns the descriptor.
#pragma once

#include "io/descriptor.h"
#include "io/tap.h"
#include "switch/device.h"

namespace weft::io {

class TapDevice final : public Device {
 public:
  TapDevice(Descriptor descriptor, bool udp_segmentation)
      : descriptor_(std::move(descriptor)), udp_segmentation_(udp_segmentation) {}

  Received receive(std::span<uint8_t> buffer) noexcept override;
  SendStatus send(std::span<const uint8_t> frame) noexcept override;
  [[nodiscard]] DeviceOffloads offloads() const noexcept override {
    return {.checksum = true, .tso4 = true, .tso6 = true, .uso = udp_segmentation_};
  }
  [[nodiscard]] int descriptor() const noexcept override { return descriptor_.get(); }

  // For removal: the device ends, its descriptor goes on.
  [[nodiscard]] Descriptor take() { return std::move(descriptor_); }

 private:
  Descriptor descriptor_;
  bool udp_segmentation_;
};

}  // namespace weft::io
