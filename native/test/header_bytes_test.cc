#include <doctest/doctest.h>

#include <string>

#include "base/address.h"
#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/hash.h"
#include "test/packet_frames.h"

using namespace weft;
using namespace weft::test;

TEST_CASE("integers are loaded and stored in wire order at any alignment") {
  uint8_t buffer[16] = {};
  for (size_t at = 0; at < 8; ++at) {
    store_be16(buffer + at, 0x1234);
    CHECK(buffer[at] == 0x12);
    CHECK(load_be16(buffer + at) == 0x1234);
    store_be32(buffer + at, 0xdeadbeef);
    CHECK(buffer[at + 3] == 0xef);
    CHECK(load_be32(buffer + at) == 0xdeadbeef);
    store_be64(buffer + at, 0x0102030405060708);
    CHECK(buffer[at + 1] == 2);
    CHECK(load_be64(buffer + at) == 0x0102030405060708);
    store_le32(buffer + at, 0xdeadbeef);
    CHECK(buffer[at] == 0xef);
    CHECK(load_le32(buffer + at) == 0xdeadbeef);
  }
}

TEST_CASE("SipHash-1-3 of counting bytes is what CPython's hash of bytes gives with a zero key") {
  // PYTHONHASHSEED=0 python3 -c 'print(hex(hash(bytes(range(N))) & (2**64-1)))', CPython 3.11
  // (sys.hash_info.algorithm siphash13).
  struct Row {
    size_t length;
    uint64_t hash;
  };
  uint8_t message[40];
  for (size_t i = 0; i < sizeof message; ++i) message[i] = static_cast<uint8_t>(i);
  for (const Row& row : {Row{1, 0x68a914128e01e473}, Row{2, 0x010bac45c41e3669}, Row{3, 0x4d4c9a4a8ef6e0ad},
                         Row{4, 0x7cc43f98813e4dbd}, Row{40, 0x95bc321ab41d8206}})
    CHECK(hash_bytes(HashKey{}, message, row.length) == row.hash);
}

TEST_CASE("the hash depends on the key, the length and every byte") {
  const HashKey key{1, 2};
  uint8_t data[40] = {};
  const uint64_t zero = hash_bytes(key, data, 40);
  CHECK(hash_bytes(key, data, 39) != zero);
  CHECK(hash_bytes(HashKey{1, 3}, data, 40) != zero);
  for (size_t i = 0; i < 40; ++i) {
    data[i] = 1;
    CHECK(hash_bytes(key, data, 40) != zero);
    data[i] = 0;
  }
}

TEST_CASE("CRC32c is that of RFC 3720 and of a bitwise computation, in pieces too") {
  const std::string digits = "123456789";
  CHECK(crc32c(reinterpret_cast<const uint8_t*>(digits.data()), 9) == 0xe3069283);
  CHECK(crc32c(Bytes(32, 0).data(), 32) == 0x8a9136aa);
  CHECK(crc32c(Bytes(32, 0xff).data(), 32) == 0x62a8ab43);
  for (size_t length = 0; length < 70; ++length) {
    const Bytes b = counted(length, static_cast<uint8_t>(length));
    CHECK(crc32c(b.data(), length) == naive_crc32c(b));
    const size_t cut = length / 3;
    CHECK(crc32c(b.data() + cut, length - cut, crc32c(b.data(), cut)) == naive_crc32c(b));
  }
}

TEST_CASE("a CRC updated from a four-byte difference is the CRC of the changed message") {
  for (const size_t after : {0u, 1u, 3u, 8u, 12u, 100u, 1448u, 65000u}) {
    Bytes b = counted(8 + after);
    const uint32_t before = naive_crc32c(b);
    const uint32_t old_word = load_le32(b.data() + 4);
    store_le32(b.data() + 4, 0x5a17c3e1);
    CHECK((before ^ crc32c_difference(old_word ^ 0x5a17c3e1, after)) == naive_crc32c(b));
  }
}

TEST_CASE("addresses print as RFC 5952 says") {
  const auto text = [](std::initializer_list<uint16_t> groups) {
    Address a;
    size_t i = 0;
    for (const uint16_t g : groups) {
      store_be16(a.bytes.data() + i, g);
      i += 2;
    }
    return to_string(a);
  };
  CHECK(to_string(v4(10, 0, 200, 1)) == "10.0.200.1");
  CHECK(to_string(v4(0, 0, 0, 0)) == "0.0.0.0");
  CHECK(text({0, 0, 0, 0, 0, 0, 0, 0}) == "::");
  CHECK(text({0, 0, 0, 0, 0, 0, 0, 1}) == "::1");
  CHECK(text({0xfd00, 0, 0, 0, 0, 0, 0, 0}) == "fd00::");
  CHECK(text({0x2001, 0xdb8, 0, 0, 1, 0, 0, 1}) == "2001:db8::1:0:0:1");
  CHECK(text({0x2001, 0xdb8, 0, 1, 1, 1, 1, 1}) == "2001:db8:0:1:1:1:1:1");
  CHECK(text({1, 0, 0, 2, 0, 0, 0, 3}) == "1:0:0:2::3");
  CHECK(text({0, 0, 1, 2, 3, 4, 5, 6}) == "::1:2:3:4:5:6");
}
