// Flow events: what the switch tells the agent about new connections and drops. Plain records; names
// (pods, policies, rules) are looked up by whoever drains them, in the image of the event's generation.
#pragma once

#include <cstdint>

#include "generated/drop_reason.h"
#include "packet/flow.h"
#include "switch/ring.h"

namespace weft {

enum class FlowVerdict : uint8_t {
  allowed = 0,  // a new connection; one judged again is not told again
  denied = 1,   // policy: the reasons of kind `policy`
  dropped = 2,  // any other reason
};

struct FlowEvent {
  uint64_t time_ns = 0;     // the worker's monotonic clock
  uint64_t generation = 0;  // image that judged; rule indexes mean something only in it
  FlowTuple tuple;          // as the sender sent it; family 0 where the packet was not parsed so far
  Address backend;          // where a Service led to; the tuple's destination where there is none
  uint16_t backend_port = 0;
  PortIndex in_port = kNoPort;
  PortIndex out_port = kNoPort;  // kNoPort: never got that far
  FlowVerdict verdict = FlowVerdict::allowed;
  DropReason reason = DropReason::none;
  Direction direction = Direction::egress;  // which side denied; egress for every other event
  uint32_t source_class = 0;                // peer classes; 0 where not classified
  uint32_t destination_class = 0;
  uint32_t source_program = 0xffffffff;  // kNoProgram where the end is not a local pod
  uint32_t destination_program = 0xffffffff;
  RuleIndex egress_rule = kNoRule;  // the rule that allowed; kNoRule: not isolated, exempt, or denied
  RuleIndex ingress_rule = kNoRule;
  uint32_t suppressed = 0;  // drops of this port that the rate limit kept back since the last one told
};

using FlowRing = Ring<FlowEvent>;

}  // namespace weft
