// A trial: while one runs, a second image, the shadow, is asked about every flow that the real one judges,
// and what it would have decided differently is told. Nothing that it says is enforced: the real verdict is
// made before the shadow is asked, and nothing of a passage is changed by the answer.
//
// What is judged. New flows, as they come; and each connection that was there before at its next packet,
// because a trial begins with a new generation, which is how any change of policy reaches connections. A
// packet of a connection that has been judged meets nothing of this.
//
// What is counted. A flow once: a connection by its generation (judged since the trial began, or not), a flow
// that policy denies, which has no entry, by a bounded memory of the flows that came last. Where more denied
// flows than that alternate, one may count again.
//
// Threads: the control thread makes and frees a log while no view names a shadow, so that no worker can hold
// it; one worker writes; the control thread drains the ring and reads the counters.
#pragma once

#include <array>
#include <cstdint>

#include "switch/counters.h"
#include "switch/flow_ring.h"

namespace weft {

// What one image says of a flow.
struct Ruling {
  DropReason reason = DropReason::none;  // none: it may pass
  RuleIndex egress_rule = kNoRule;       // the rules that allowed, as in FlowEvent
  RuleIndex ingress_rule = kNoRule;
};

struct TrialEvent {
  FlowEvent actual;                      // of an allowed or denied flow: what really happened to it
  Ruling shadow;                         // rule indexes of the shadow image of actual.generation
  uint32_t source_program = 0xffffffff;  // in the shadow image
  uint32_t destination_program = 0xffffffff;
};

struct TrialCounts {
  uint64_t judged = 0;   // flows that both images have judged
  uint64_t denied = 0;   // of these: allowed, and the shadow denies
  uint64_t allowed = 0;  // of these: denied, and the shadow allows
  uint64_t unnamed = 0;  // differences that were not told: the port's rate, or a full ring
};

class TrialLog {
 public:
  explicit TrialLog(uint32_t capacity) : events_(capacity) {}

  // Worker. False: this flow is remembered with this mark already.
  bool note(uint64_t flow_hash, uint64_t mark) noexcept {
    // Marks are few: they end up in the low bits of a word whose other bits tell flows apart.
    const uint64_t word = (flow_hash | kMarks) ^ mark;
    uint64_t& slot = recent_[flow_hash >> 8 & (recent_.size() - 1)];
    if (slot == word) return false;
    slot = word;
    return true;
  }

  // Worker. False: a flow of the same ends and port is remembered with this mark already.
  bool note_kind(uint64_t kind_hash, uint64_t mark) noexcept {
    const uint64_t word = (kind_hash | kMarks) ^ mark;
    uint64_t& slot = kinds_[kind_hash >> 8 & (kinds_.size() - 1)];
    if (slot == word) return false;
    slot = word;
    return true;
  }

  Counter judged, denied, allowed, unnamed;

  // Worker pushes, control thread pops.
  [[nodiscard]] Ring<TrialEvent>& events() noexcept { return events_; }

 private:
  static constexpr uint64_t kMarks = 7;
  std::array<uint64_t, 4096> recent_{};
  std::array<uint64_t, 1024> kinds_{};
  Ring<TrialEvent> events_;
};

}  // namespace weft
