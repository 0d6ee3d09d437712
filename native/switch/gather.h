// A flow's datagrams that are held back to leave as one frame (packet/merge.h).
//
// The first is not copied: it stays where the worker received it, and so it leaves at the latest with the
// last frame of its batch. The second makes a merged frame of the two, which may wait until the port's turn
// ends. Neither outlives the View that it was judged by.
#pragma once

#include <cstdint>
#include <memory>

#include "packet/merge.h"
#include "switch/flow_ring.h"
#include "switch/port.h"

namespace weft {

struct Passage;
struct View;

struct Gathered {
  Port* out = nullptr;        // null: nothing is held
  Passage* single = nullptr;  // the only one so far; null once there are two
  Merge merge;                // from the second on
  Port* in = nullptr;
  const View* view = nullptr;
  uint64_t bytes = 0;  // of the frames as they came
  FlowEvent loss;      // what is told for each if the write fails
  std::unique_ptr<uint8_t[]> buffer;
};

// Flows that are gathered at the same time. More only make the search longer: where so many send in one turn,
// each has few datagrams to merge.
inline constexpr uint32_t kGatheredFlows = 8;

}  // namespace weft
