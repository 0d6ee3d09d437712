// What the process gives back to the kernel.
#pragma once

namespace weft::addon {

// glibc keeps an arena for each thread that ever allocated, and raises the size from which it maps memory by
// itself (and so gives it back at once when it is freed) to the largest block that was freed, up to 32 MB. An
// agent that reads a cluster of 10 MB then holds tens of MB of free memory for good. One arena is enough
// here: packets allocate nothing. Once, before other threads allocate much. Nothing where the C library is
// another.
void return_free_memory();

}  // namespace weft::addon
