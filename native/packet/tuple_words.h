// A tuple as five words: the form in which it is stored, compared and hashed.
#pragma once

#include <array>
#include <bit>
#include <cstdint>

#include "packet/flow.h"

namespace weft {

using TupleWords = std::array<uint64_t, 5>;
inline TupleWords to_words(const FlowTuple& tuple) {
  return std::bit_cast<TupleWords>(tuple);
}
inline FlowTuple from_words(const TupleWords& words) {
  return std::bit_cast<FlowTuple>(words);
}

}  // namespace weft
