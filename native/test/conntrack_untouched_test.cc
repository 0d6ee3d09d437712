// Memory that a connection table does not use is not touched: a switch with few connections is a small one.
#include <doctest/doctest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <memory>
#include <vector>

#include "conntrack_fixture.h"

using namespace weft;
using namespace weft::conntrack_test;

namespace {

// A region of pages that are not there until they are touched.
struct Mapped {
  explicit Mapped(size_t octets) : size(octets) {
    bytes = ::mmap(nullptr, octets, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(bytes != MAP_FAILED);
  }
  Mapped(const Mapped&) = delete;
  Mapped& operator=(const Mapped&) = delete;
  ~Mapped() { ::munmap(bytes, size); }
  [[nodiscard]] std::span<std::byte> span() const { return {static_cast<std::byte*>(bytes), size}; }
  // Octets of pages that are there.
  [[nodiscard]] size_t resident() const {
    const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
    std::vector<unsigned char> pages((size + page - 1) / page);
    REQUIRE(::mincore(bytes, size, pages.data()) == 0);
    size_t there = 0;
    for (const unsigned char one : pages) there += (one & 1) != 0 ? page : 0;
    return there;
  }
  size_t size;
  void* bytes;
};

struct Sized {
  explicit Sized(uint32_t capacity)
      : options(small(capacity)), region(ConnectionTable::region_size(options)) {
    options.zeroed = true;
    reopen(kStart);
    a = table->open_port("pod-a").value();
    b = table->open_port("pod-b").value();
  }
  uint32_t reopen(uint64_t now) {
    table.reset();
    auto opened = std::move(ConnectionTable::open(region.span(), options, now)).value();
    table = std::move(opened.table);
    return opened.recovered;
  }
  InsertStatus connect(uint32_t number) {
    NewConnection wanted;
    wanted.original = tuple(Protocol::udp, 1000, 53, 0x0a000000 + number);
    wanted.initiator = a;
    wanted.responder = b;
    wanted.generation = 1;
    return table->insert(wanted, kStart).status;
  }
  TableOptions options;
  Mapped region;
  std::unique_ptr<ConnectionTable> table;
  PortLife a, b;
};

constexpr uint32_t kCapacity = 1 << 16;

}  // namespace

TEST_CASE("a new table has its index in memory, and entries as connections come") {
  Sized f(kCapacity);
  const size_t empty = f.region.resident();
  // 8 octets a bucket, two buckets a connection, a rank; 256 an entry.
  CHECK(empty < size_t{kCapacity} * 24);
  for (uint32_t i = 0; i < 4096; ++i) REQUIRE(f.connect(i) == InsertStatus::ok);
  const size_t some = f.region.resident();
  CHECK(some - empty >= size_t{4096} * 256);
  CHECK(some - empty < size_t{4096} * 256 + 256 * 1024);
  CHECK(f.table->check() == nullptr);
}

TEST_CASE("looking for what is there touches nothing that was never used") {
  Sized f(kCapacity);
  for (uint32_t i = 0; i < 100; ++i) REQUIRE(f.connect(i) == InsertStatus::ok);
  const size_t before = f.region.resident();
  uint32_t listed = 0;
  for (uint32_t i = 0; i < kCapacity; ++i) listed += f.table->read(i) ? 1 : 0;
  CHECK(listed == 100);
  CHECK(f.table->sweep(kCapacity, kStart + 86400 * kSecond) == 100);
  CHECK(f.table->release_port(f.a) == 0);
  CHECK(f.region.resident() <= before + 256 * 1024);
}

TEST_CASE("entries that ended are used again before others are begun") {
  Sized f(kCapacity);
  for (uint32_t round = 0; round < 50; ++round) {
    for (uint32_t i = 0; i < 500; ++i) REQUIRE(f.connect(i) == InsertStatus::ok);
    REQUIRE(f.table->sweep(kCapacity, kStart + 86400 * kSecond) == 500);
  }
  CHECK(f.region.resident() < size_t{kCapacity} * 24 + 512 * 1024);
  CHECK(f.table->check() == nullptr);
}

TEST_CASE("every entry can be had, whether it was used before or not, also after a restart") {
  Sized f(1024);
  for (uint32_t i = 0; i < 700; ++i) REQUIRE(f.connect(i) == InsertStatus::ok);
  for (uint32_t i = 0; i < 700; i += 2) {
    const Lookup found = f.table->find(tuple(Protocol::udp, 1000, 53, 0x0a000000 + i), kStart);
    REQUIRE(f.table->kill(found));
  }
  CHECK(f.table->check() == nullptr);
  CHECK(f.reopen(kStart + 1) == 350);
  CHECK(f.table->check() == nullptr);
  f.a = f.table->open_port("pod-a").value();
  f.b = f.table->open_port("pod-b").value();
  for (uint32_t i = 10000; i < 10000 + 1024 - 350; ++i) REQUIRE(f.connect(i) == InsertStatus::ok);
  CHECK(f.table->counts().used == 1024);
  CHECK(f.table->counts().evicted == 0);
  CHECK(f.table->check() == nullptr);
  CHECK(f.connect(99999) == InsertStatus::ok);
  CHECK(f.table->counts().evicted == 1);
}

TEST_CASE("a region that is not known to hold zeros is cleared before it is believed to") {
  TableOptions options = small(64);
  Region region(ConnectionTable::region_size(options));
  // What is left of a format that was cut short: the magic number is gone, entries look alive.
  std::memset(region.bytes + 64, 0xa5, region.size - 64);
  auto opened = std::move(ConnectionTable::open(region.span(), options, kStart)).value();
  CHECK(opened.recovered == 0);
  CHECK(opened.table->check() == nullptr);
}
