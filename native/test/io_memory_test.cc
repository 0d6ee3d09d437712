// Shared memory, the poller, the hand-over and address text: what needs no privileges.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <filesystem>
#include <string>
#include <thread>

#include "io/address_text.h"
#include "io/handover.h"
#include "io/handover_record.h"
#include "io/poller.h"
#include "io/shared_memory.h"

namespace weft::io {
namespace {

// A folder of its own that goes with the test.
struct Folder {
  std::string path;
  Folder() {
    char pattern[] = "/tmp/weft-io-XXXXXX";
    path = ::mkdtemp(pattern);
  }
  ~Folder() { std::filesystem::remove_all(path); }
};

TEST_CASE("shared memory keeps its bytes from one opening to the next and is fresh only the first time") {
  const Folder folder;
  const std::string file = folder.path + "/table";
  {
    auto memory = SharedMemory::open(file, 8192);
    REQUIRE(memory.ok());
    CHECK(memory.value().fresh());
    CHECK(memory.value().bytes().size() == 8192);
    CHECK(memory.value().bytes()[8191] == 0);
    memory.value().bytes()[8191] = 42;
  }
  auto again = SharedMemory::open(file, 8192);
  REQUIRE(again.ok());
  CHECK_FALSE(again.value().fresh());
  CHECK(again.value().bytes()[8191] == 42);
}

TEST_CASE("shared memory whose pages were let go of holds what it held") {
  const Folder folder;
  auto memory = SharedMemory::open(folder.path + "/table", 1 << 20);
  REQUIRE(memory.ok());
  const auto bytes = memory.value().bytes();
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(i * 7);
  memory.value().forget_pages();
  for (size_t i = 0; i < bytes.size(); ++i) REQUIRE(bytes[i] == static_cast<uint8_t>(i * 7));
}

TEST_CASE("shared memory of another size is made anew, all zeros") {
  const Folder folder;
  const std::string file = folder.path + "/table";
  {
    auto memory = SharedMemory::open(file, 4096);
    REQUIRE(memory.ok());
    std::memset(memory.value().bytes().data(), 0xff, 4096);
  }
  auto larger = SharedMemory::open(file, 8192);
  REQUIRE(larger.ok());
  CHECK(larger.value().fresh());
  for (const uint8_t byte : larger.value().bytes()) REQUIRE(byte == 0);
}

TEST_CASE("two openings never share a table: the second is refused and says what to do") {
  const Folder folder;
  const std::string file = folder.path + "/table";
  auto first = SharedMemory::open(file, 4096);
  REQUIRE(first.ok());
  auto second = SharedMemory::open(file, 4096);
  REQUIRE_FALSE(second.ok());
  CHECK(second.error().code == "memory-locked");
  CHECK(second.error().message.find("--run-dir") != std::string::npos);
}

TEST_CASE("shared memory does not follow a link and takes no folder") {
  const Folder folder;
  REQUIRE(::symlink("/etc/passwd", (folder.path + "/link").c_str()) == 0);
  REQUIRE(::mkdir((folder.path + "/folder").c_str(), 0700) == 0);
  CHECK(SharedMemory::open(folder.path + "/link", 4096).error().code == "memory-open");
  CHECK(SharedMemory::open(folder.path + "/folder", 4096).error().code == "memory-open");
}

// One end of a socketpair as a device, for the poller.
class PipeDevice final : public Device {
 public:
  explicit PipeDevice(Descriptor descriptor) : descriptor_(std::move(descriptor)) {}
  Received receive(std::span<uint8_t> buffer) noexcept override {
    const ssize_t length = ::recv(descriptor_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (length < 0) return {ReceiveStatus::empty, 0};
    return {ReceiveStatus::frame, static_cast<uint32_t>(length)};
  }
  SendStatus send(std::span<const uint8_t>) noexcept override { return SendStatus::sent; }
  [[nodiscard]] DeviceOffloads offloads() const noexcept override { return {}; }
  [[nodiscard]] int descriptor() const noexcept override { return descriptor_.get(); }

 private:
  Descriptor descriptor_;
};

struct Pair {
  Descriptor near;
  Descriptor far;
  explicit Pair(int type = SOCK_DGRAM) {
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, type, 0, ends) == 0);
    near = Descriptor(ends[0]);
    far = Descriptor(ends[1]);
  }
};

TEST_CASE(
    "the poller tells a readable device again and again until it is drained, and never after its removal") {
  auto opened = EpollPoller::open();
  REQUIRE(opened.ok());
  Poller& poller = *opened.value();
  Pair pair;
  const Descriptor far = std::move(pair.far);
  PipeDevice device(std::move(pair.near));
  REQUIRE(poller.add(device, 7).ok());
  std::array<Ready, 4> ready;
  CHECK(poller.wait(ready, 0) == 0);
  REQUIRE(::send(far.get(), "x", 1, 0) == 1);
  for (int round = 0; round < 2; ++round) {
    REQUIRE(poller.wait(ready, -1) == 1);
    CHECK(ready[0].token == 7);
    CHECK_FALSE(ready[0].broken);
  }
  std::array<uint8_t, 16> buffer;
  CHECK(device.receive(buffer).length == 1);
  CHECK(poller.wait(ready, 0) == 0);
  REQUIRE(::send(far.get(), "x", 1, 0) == 1);
  poller.remove(device);
  poller.remove(device);
  CHECK(poller.wait(ready, 0) == 0);
}

TEST_CASE("a wake ends a wait without an event, also when it comes first, and is used up by it") {
  auto opened = EpollPoller::open();
  REQUIRE(opened.ok());
  Poller& poller = *opened.value();
  std::array<Ready, 4> ready;
  poller.wake();
  poller.wake();
  CHECK(poller.wait(ready, -1) == 0);
  std::thread waker([&] { poller.wake(); });
  CHECK(poller.wait(ready, -1) == 0);
  waker.join();
  CHECK(poller.wait(ready, 1'000'000) == 0);
}

TEST_CASE("a device whose other end is gone is reported broken") {
  auto opened = EpollPoller::open();
  REQUIRE(opened.ok());
  Pair pair(SOCK_STREAM);
  PipeDevice device(std::move(pair.near));
  REQUIRE(opened.value()->add(device, 3).ok());
  pair.far.reset();
  std::array<Ready, 4> ready;
  REQUIRE(opened.value()->wait(ready, -1) == 1);
  CHECK(ready[0].broken);
}

TEST_CASE("a claim brings the kept descriptors by key, until the end") {
  Pair pair(SOCK_SEQPACKET);
  Pair kept;
  REQUIRE(handover::send_record(pair.far.get(), handover::Message::of(handover::Kind::kept, "pod-1"),
                                kept.near.get()));
  REQUIRE(handover::send_record(pair.far.get(), handover::Message::of(handover::Kind::end), -1));
  Handover switch_end(std::move(pair.near));
  auto claimed = switch_end.claim();
  REQUIRE(claimed.ok());
  REQUIRE(claimed.value().size() == 1);
  const Descriptor& descriptor = claimed.value().at("pod-1");
  struct stat ours{}, theirs{};
  REQUIRE(::fstat(descriptor.get(), &ours) == 0);
  REQUIRE(::fstat(kept.near.get(), &theirs) == 0);
  CHECK(ours.st_ino == theirs.st_ino);
  CHECK((::fcntl(descriptor.get(), F_GETFD) & FD_CLOEXEC) != 0);
  CHECK(switch_end.connected());
}

TEST_CASE("a supervisor of another version, or none at all, is an error once and then a no-op") {
  SUBCASE("version") {
    Pair pair(SOCK_SEQPACKET);
    handover::Message message = handover::Message::of(handover::Kind::end);
    message.version = handover::kVersion + 1;
    REQUIRE(handover::send_record(pair.far.get(), message, -1));
    Handover switch_end(std::move(pair.near));
    auto claimed = switch_end.claim();
    REQUIRE_FALSE(claimed.ok());
    CHECK(claimed.error().code == "handover-version");
    CHECK_FALSE(switch_end.connected());
    switch_end.store("pod-1", 0);
  }
  SUBCASE("gone") {
    Pair pair(SOCK_SEQPACKET);
    pair.far.reset();
    Handover switch_end(std::move(pair.near));
    CHECK(switch_end.claim().error().code == "handover-receive");
    switch_end.forget("pod-1");
  }
  SUBCASE("never there") {
    Handover none;
    auto claimed = none.claim();
    REQUIRE(claimed.ok());
    CHECK(claimed.value().empty());
  }
}

TEST_CASE("address text is read strictly") {
  struct Row {
    const char* text;
    bool valid;
    uint8_t family;
  };
  for (const Row& row : {Row{"10.0.0.1", true, 4},
                         {"fd00::1", true, 6},
                         {"10.0.0.1/32", false, 0},
                         {"10.0.0", false, 0},
                         {"fe80::1%eth0", false, 0},
                         {"", false, 0},
                         {" 10.0.0.1", false, 0}}) {
    CAPTURE(row.text);
    const auto parsed = parse_address(row.text);
    CHECK(parsed.has_value() == row.valid);
    if (parsed) CHECK(parsed->family == row.family);
  }
  for (const char* bad :
       {"10.0.0.0", "10.0.0.0/33", "fd00::/129", "10.0.0.0/", "10.0.0.0/8x", "/8", "10.0.0.0/-1"}) {
    CAPTURE(bad);
    CHECK_FALSE(parse_network(bad).has_value());
  }
  CHECK(parse_network("10.0.0.0/8")->prefix_length == 8);
  CHECK(parse_mac("02:00:00:00:00:ff") == MacAddress{2, 0, 0, 0, 0, 0xff});
  for (const char* bad : {"02:00:00:00:00", "02:00:00:00:00:0g", "02-00-00-00-00-01", "02:00:00:00:00:001"}) {
    CAPTURE(bad);
    CHECK_FALSE(parse_mac(bad).has_value());
  }
}

}  // namespace
}  // namespace weft::io
