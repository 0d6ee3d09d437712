#include "base/crc32c.h"

#include <array>

#include "base/bytes.h"

namespace weft {

namespace {

constexpr uint32_t kPolynomial = 0x82f63b78;  // Castagnoli, bits reversed

using Table = std::array<std::array<uint32_t, 256>, 8>;

constexpr Table make_table() {
  Table table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? kPolynomial : 0);
    table[0][i] = crc;
  }
  for (size_t k = 1; k < 8; ++k)
    for (size_t i = 0; i < 256; ++i) table[k][i] = (table[k - 1][i] >> 8) ^ table[0][table[k - 1][i] & 0xff];
  return table;
}

constexpr Table kTable = make_table();

// Product of two polynomials modulo the CRC's; bit 31 is x^0 (reversed representation), as in zlib's
// crc32_combine.
uint32_t multiply(uint32_t a, uint32_t b) {
  uint32_t product = 0;
  for (uint32_t bit = 0x80000000u; bit != 0; bit >>= 1) {
    if ((a & bit) != 0) product ^= b;
    b = (b >> 1) ^ ((b & 1) != 0 ? kPolynomial : 0);
  }
  return product;
}

}  // namespace

uint32_t crc32c(const uint8_t* data, size_t length, uint32_t previous) {
  uint32_t crc = ~previous;
  while (length >= 8) {
    const uint64_t word = load_le64(data) ^ crc;
    crc = kTable[7][word & 0xff] ^ kTable[6][word >> 8 & 0xff] ^ kTable[5][word >> 16 & 0xff] ^
          kTable[4][word >> 24 & 0xff] ^ kTable[3][word >> 32 & 0xff] ^ kTable[2][word >> 40 & 0xff] ^
          kTable[1][word >> 48 & 0xff] ^ kTable[0][word >> 56];
    data += 8;
    length -= 8;
  }
  for (; length != 0; --length) crc = (crc >> 8) ^ kTable[0][(crc ^ *data++) & 0xff];
  return ~crc;
}

uint32_t crc32c_difference(uint32_t difference, size_t bytes_after) {
  // The CRC of the difference without initial value and inversion (they cancel out), moved up by bytes_after
  // zero bytes: a multiplication by x^(8 * bytes_after), built by squaring.
  uint32_t crc = difference;
  for (int i = 0; i < 4; ++i) crc = (crc >> 8) ^ kTable[0][crc & 0xff];
  uint32_t power = 0x00800000u;  // x^8
  for (size_t n = bytes_after; n != 0; n >>= 1) {
    if ((n & 1) != 0) crc = multiply(power, crc);
    power = multiply(power, power);
  }
  return crc;
}

}  // namespace weft
