// Calls that a packet must not make, counted for the whole program; not under sanitizers, which bring their
// own allocator.
#pragma once

#include <cstdint>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define WEFT_COUNT_CALLS 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define WEFT_COUNT_CALLS 0
#endif
#endif
#ifndef WEFT_COUNT_CALLS
#define WEFT_COUNT_CALLS 1
#endif
// Standing in front of libc's locks takes a libc that is loaded; a static program has it linked in.
#ifdef WEFT_STATIC
#define WEFT_COUNT_LOCKS 0
#else
#define WEFT_COUNT_LOCKS WEFT_COUNT_CALLS
#endif

namespace weft::test {

uint64_t allocations_so_far();  // operator new (switch_allocation_test.cc)

}  // namespace weft::test
