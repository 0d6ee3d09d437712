// Capture: copies of frames at a port, with the verdict that they met. Off, it costs one branch a packet
// (Port::capture is 0). A frame from the pod is copied as the pod sent it, before any rewriting; a frame to
// the pod as the pod gets it, or, where it is dropped on its way there, as its sender sent it.
//
// The ring holds records of variable length in one block of bytes, between one worker and the control thread;
// when there is no room the record is refused and counted, traffic never waits for a capture.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "generated/drop_reason.h"
#include "packet/flow.h"

namespace weft {

enum class CaptureMode : uint8_t { off = 0, drops = 1, all = 2 };

enum class CaptureSide : uint8_t { from_pod = 0, to_pod = 1 };

struct CaptureRecord {
  uint64_t time_ns = 0;  // the worker's monotonic clock
  uint64_t generation = 0;
  PortIndex port = kNoPort;
  CaptureSide side = CaptureSide::from_pod;
  DropReason reason = DropReason::none;  // none: forwarded, or answered by the switch
  bool answered = false;                 // the switch itself answered it, or (to_pod) made it
  RuleIndex egress_rule = kNoRule;
  RuleIndex ingress_rule = kNoRule;
  uint32_t frame_length = 0;  // on the wire, Ethernet header included, vnet header not
  uint32_t copied = 0;        // bytes that follow; at most the snap length
};

class CaptureRing {
 public:
  explicit CaptureRing(uint32_t bytes);  // rounded up to a power of two

  // Writer. False when there is no room.
  bool push(const CaptureRecord& record, std::span<const uint8_t> bytes) noexcept;
  // Reader. `bytes` is resized to the record's. False when empty.
  bool pop(CaptureRecord& record, std::vector<uint8_t>& bytes);

  [[nodiscard]] uint64_t lost() const noexcept { return lost_.load(std::memory_order_relaxed); }

 private:
  void write(uint64_t position, const void* from, size_t length) noexcept;
  void read(uint64_t position, void* to, size_t length) const noexcept;

  std::vector<uint8_t> block_;
  alignas(64) std::atomic<uint64_t> head_{0};
  std::atomic<uint64_t> lost_{0};
  alignas(64) std::atomic<uint64_t> tail_{0};
};

}  // namespace weft
