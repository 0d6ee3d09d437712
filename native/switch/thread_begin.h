// What a worker's thread does first: it is named and scheduled, which is the kernel's business and so not the
// switch's.
#pragma once

#include <cstdint>
#include <functional>

namespace weft {

// Called on the new thread with the worker's number.
using ThreadBegin = std::function<void(uint32_t worker)>;

}  // namespace weft
