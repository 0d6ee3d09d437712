#include "addon/allocator.h"

#include <cstdlib>
#ifdef __GLIBC__
#include <malloc.h>
#endif

namespace weft::addon {

void return_free_memory() {
#ifdef __GLIBC__
  constexpr int kReturned = 128 * 1024;  // octets: glibc's own values at the start, kept from growing
  ::mallopt(M_ARENA_MAX, 1);
  ::mallopt(M_MMAP_THRESHOLD, kReturned);
  ::mallopt(M_TRIM_THRESHOLD, kReturned);
#endif
}

}  // namespace weft::addon
