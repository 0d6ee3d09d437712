// What the switch needs of a thing that frames come from and go to: a pod's TAP, the host port, an in-memory
// device in tests. The one interface between `io` and `switch`.
//
// A frame on either side of it is one contiguous run of bytes: the 10-byte virtio net header (struct
// virtio_net_hdr, host byte order) and then the Ethernet frame. A device without vnet headers receives with a
// header of zeros and is sent one.
//
// Threads: receive() is called by the worker that owns the port and by no other. send() may be called by
// every worker, at the same time as receive() and as another send(). Nothing here may block, throw or
// allocate.
#pragma once

#include <cstdint>
#include <span>

namespace weft {

inline constexpr uint32_t kVnetHeaderLength = 10;
// Ethernet header, one VLAN tag and the largest IP packet. The kernel makes no larger TAP frame.
inline constexpr uint32_t kMaxFrameLength = 14 + 4 + 65535;

enum class ReceiveStatus : uint8_t {
  frame,   // `length` bytes were written
  empty,   // nothing is waiting
  failed,  // this read failed (EIO while the link is down): go on later, the device is still there
  gone,    // the device no longer exists (EBADFD): it will never work again
};

struct Received {
  ReceiveStatus status = ReceiveStatus::empty;
  uint32_t length = 0;  // vnet header and frame, bytes
};

enum class SendStatus : uint8_t {
  sent,
  full,     // the receiver's queue has no room (EAGAIN, ENOBUFS)
  down,     // the link is down (EIO): the pod has not come up, or took its interface down
  refused,  // the kernel refused this frame (EINVAL): ours is wrong, or an offload is not there
  gone,     // as ReceiveStatus::gone
};

// What the far side takes without help. What is missing the switch does in software before send().
struct DeviceOffloads {
  bool checksum = false;  // partial checksums (VIRTIO_NET_HDR_F_NEEDS_CSUM)
  bool tso4 = false;
  bool tso6 = false;
  bool uso = false;  // VIRTIO_NET_HDR_GSO_UDP_L4, Linux 6.2
};

class Device {
 public:
  virtual ~Device() = default;

  // Reads one frame into `buffer`, which holds at least kVnetHeaderLength + kMaxFrameLength bytes.
  virtual Received receive(std::span<uint8_t> buffer) noexcept = 0;

  // Sends one frame, vnet header first. Keeps no reference to it.
  virtual SendStatus send(std::span<const uint8_t> frame) noexcept = 0;

  // Fixed for the life of the device.
  [[nodiscard]] virtual DeviceOffloads offloads() const noexcept = 0;

  // The file descriptor to poll for readability; -1 where there is none (in memory).
  [[nodiscard]] virtual int descriptor() const noexcept = 0;
};

}  // namespace weft
