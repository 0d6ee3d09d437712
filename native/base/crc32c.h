// CRC32c (Castagnoli; RFC 9260 appendix A), software, eight table look-ups for eight bytes. No special
// instructions, so that x86-64 and every ARM board run the same code; SCTP is not the bulk of a cluster's
// traffic.
#pragma once

#include <cstddef>
#include <cstdint>

namespace weft {

// CRC of `length` bytes; `previous` continues an earlier piece (crc32c(b, n, crc32c(a, m)) is the CRC of a
// followed by b).
[[nodiscard]] uint32_t crc32c(const uint8_t* data, size_t length, uint32_t previous = 0);

// What a difference in the middle of a message does to its CRC. `difference` is old XOR new, four bytes read
// as a little-endian word; `bytes_after` follow it. new_crc = old_crc ^ crc32c_difference(...). CRC is
// linear, so this is exact, costs O(log bytes_after), and leaves a wrong CRC wrong.
[[nodiscard]] uint32_t crc32c_difference(uint32_t difference, size_t bytes_after);

}  // namespace weft
