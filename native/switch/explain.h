// What would become of a new connection now, told from the very View that the workers forward by. Asked on
// the control thread, by people; the packet path does not know of it. A packet can still be dropped for what
// only a packet shows: its form, its TTL, its size, a quota.
#pragma once

#include <optional>
#include <vector>

#include "switch/decide.h"

namespace weft {

// To one destination: the one that was asked for, or one backend of the Service that it is.
struct ExplainedWay {
  Address address;
  uint16_t port = 0;
  DropReason reason = DropReason::none;  // none: it would pass
  const Port* out = nullptr;             // null where it leads nowhere
  // Where it leads somewhere. Both are told, also ingress where egress denies already.
  Decision egress;
  Decision ingress;
  uint32_t source_program = kNoProgram;
  uint32_t destination_program = kNoProgram;
};

// Pointers and views are valid until the control thread changes something.
struct Explained {
  const Image* image = nullptr;  // null: nothing published yet, so everything is dropped
  uint64_t generation = 0;
  const Port* in = nullptr;  // the port that it would come in by; null where there is none
  std::optional<Service> service;
  DropReason service_reason = DropReason::none;  // why the Service itself lets nothing through
  std::vector<ExplainedWay> ways;  // empty: no image, no port to come in by, or a Service without backends
};

[[nodiscard]] Explained explain(const View& view, const FlowTuple& sent);

}  // namespace weft
