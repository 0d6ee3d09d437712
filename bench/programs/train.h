// UDP coalescing for the pump: successive datagrams of one flow and one size become one large one (USO) that
// the receiving kernel takes in once and cuts up at the socket. IPv4 only. A train never outlives its drain,
// and frames leave in the order in which they came. Headers and payload are read apart (readv), so that
// payloads line up in the buffer without being copied.
#pragma once

#include <sys/uio.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <vector>

namespace weft::bench {

class Trains {
 public:
  // Up to `frames` frames from one TAP to the other.
  void pump(int from, int to, uint32_t frames) {
    for (uint32_t i = 0; i < frames; ++i) {
      uint8_t* const end = body_.data() + start_ + payload_;
      std::array<iovec, 2> into{iovec{next_.data(), kHead}, iovec{end, kLargest}};
      const ssize_t length = ::readv(from, into.data(), 2);
      if (length <= 0) break;
      take(to, static_cast<uint32_t>(length));
    }
    send(to);
  }

 private:
  // Offsets in the head: vnet header of 10 bytes in host byte order, Ethernet 14, IPv4 20, UDP 8.
  static constexpr size_t kEthernet = 10, kIp = 24, kUdp = 44, kHead = 52;
  static constexpr size_t kLargest = 65536;
  static constexpr uint8_t kNeedsChecksum = 1, kGsoUdpL4 = 5;
  using Head = std::array<uint8_t, kHead>;

  static uint16_t wire(const Head& head, size_t at) {
    return static_cast<uint16_t>(head[at] << 8 | head[at + 1]);
  }
  static void put_wire(Head& head, size_t at, uint32_t value) {
    head[at] = static_cast<uint8_t>(value >> 8);
    head[at + 1] = static_cast<uint8_t>(value);
  }
  static void put_host(Head& head, size_t at, uint16_t value) { std::memcpy(&head[at], &value, 2); }
  // Ones' complement sum in which `from` is replaced by `to` (RFC 1624, equation 3, without the outer
  // complement).
  static uint32_t replaced(uint32_t sum, uint32_t from, uint32_t to) {
    sum += (~from & 0xffff) + to;
    sum = (sum & 0xffff) + (sum >> 16);
    return (sum & 0xffff) + (sum >> 16);
  }

  // A whole datagram of its own with a checksum that is still to be filled in: only then one sum can be made
  // of many.
  static bool may_ride(const Head& head, uint32_t length) {
    uint16_t checksum_start = 0, checksum_offset = 0;
    std::memcpy(&checksum_start, &head[6], 2);
    std::memcpy(&checksum_offset, &head[8], 2);
    return length > kHead && head[0] == kNeedsChecksum && head[1] == 0 &&
           checksum_start == kUdp - kEthernet && checksum_offset == 6 &&
           wire(head, kEthernet + 12) == 0x0800 && head[kIp] == 0x45 && head[kIp + 9] == 17 &&
           (wire(head, kIp + 6) & 0x3fff) == 0 && wire(head, kIp + 2) == length - kIp &&
           wire(head, kUdp + 4) == length - kUdp;
  }
  // Equal but for length, identification and checksums.
  static bool same_flow(const Head& a, const Head& b) {
    return std::memcmp(&a[kEthernet], &b[kEthernet], 16) == 0 &&
           std::memcmp(&a[kIp + 6], &b[kIp + 6], 4) == 0 && std::memcmp(&a[kIp + 12], &b[kIp + 12], 12) == 0;
  }

  // The frame just read: head in next_, the rest behind the train.
  void take(int to, uint32_t length) {
    const bool rides = may_ride(next_, length);
    const uint32_t size = rides ? length - static_cast<uint32_t>(kHead) : 0;
    if (rides && cars_ > 0 && size == size_ && payload_ + size + 28 <= 65535 && same_flow(head_, next_)) {
      payload_ += size;
      ++cars_;
      return;
    }
    const uint32_t at = start_ + payload_;
    send(to);
    if (!rides) {
      write(to, next_, body_.data() + at, length);
      return;
    }
    head_ = next_;
    start_ = at;
    payload_ = size_ = size;
    cars_ = 1;
    // Room for a whole train and one frame more behind it.
    if (start_ > body_.size() - 2 * kLargest) {
      std::memmove(body_.data(), body_.data() + start_, size);
      start_ = 0;
    }
  }

  void send(int to) {
    if (cars_ > 1) {
      head_[1] = kGsoUdpL4;
      put_host(head_, 2, kHead - kEthernet);
      put_host(head_, 4, static_cast<uint16_t>(size_));
      const uint32_t ip_length = payload_ + 28, udp_length = payload_ + 8;
      put_wire(head_, kIp + 10, ~replaced(~wire(head_, kIp + 10) & 0xffff, wire(head_, kIp + 2), ip_length));
      put_wire(head_, kIp + 2, ip_length);
      // The field holds the pseudo header's sum, which has the UDP length in it.
      put_wire(head_, kUdp + 6, replaced(wire(head_, kUdp + 6), wire(head_, kUdp + 4), udp_length));
      put_wire(head_, kUdp + 4, udp_length);
    }
    if (cars_ > 0) write(to, head_, body_.data() + start_, static_cast<uint32_t>(kHead) + payload_);
    start_ = cars_ = payload_ = size_ = 0;
  }

  static void write(int to, Head& head, uint8_t* rest, uint32_t length) {
    const size_t first = length < kHead ? length : kHead;
    const std::array<iovec, 2> from{iovec{head.data(), first}, iovec{rest, length - first}};
    // What the other side does not take is lost, as on any wire.
    [[maybe_unused]] const ssize_t written = ::writev(to, from.data(), first < length ? 2 : 1);
  }

  Head head_{}, next_{};
  std::vector<uint8_t> body_ = std::vector<uint8_t>(4 * kLargest);
  uint32_t start_ = 0;                          // of the train's payload in body_
  uint32_t payload_ = 0, size_ = 0, cars_ = 0;  // bytes of the train, of each datagram, datagrams
};

}  // namespace weft::bench
