#include "traffic/sink.h"

#include <netinet/udp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "traffic/datagram.h"
#include "traffic/failure.h"
#include "traffic/greeting.h"

namespace weft::traffic {

namespace {

constexpr size_t kBatch = 64;
constexpr size_t kGroBatch = 8;  // each may hold 64 KB
constexpr size_t kRoom = 2048;

// How many datagrams a coalesced one holds.
uint64_t datagrams_in(msghdr& message, size_t length) {
  for (cmsghdr* part = CMSG_FIRSTHDR(&message); part != nullptr; part = CMSG_NXTHDR(&message, part)) {
    if (part->cmsg_level != SOL_UDP || part->cmsg_type != UDP_GRO) continue;
    int size = 0;
    std::memcpy(&size, CMSG_DATA(part), sizeof size);
    if (size > 0) return (length + static_cast<size_t>(size) - 1) / static_cast<size_t>(size);
  }
  return 1;
}

}  // namespace

void run_sink(Descriptor data, Descriptor acknowledge, SinkOptions options, Meter& meter) {
  const size_t batch = options.gro ? kGroBatch : kBatch;
  const size_t room = options.gro ? kLargestDatagram : kRoom;
  if (options.gro) {
    const int on = 1;
    if (setsockopt(data.get(), SOL_UDP, UDP_GRO, &on, sizeof on) != 0)
      fail("setsockopt UDP_GRO: %s (Linux 5.0 has it)", std::strerror(errno));
  }
  if (options.every != 0) answer_greeting(acknowledge);

  std::vector<char> bytes(batch * room);
  std::vector<iovec> places(batch);
  std::vector<mmsghdr> messages(batch);
  constexpr size_t kControl = CMSG_SPACE(sizeof(int));
  std::vector<char> control(batch * kControl);
  for (size_t index = 0; index < batch; ++index) {
    places[index] = {bytes.data() + index * room, room};
    messages[index].msg_hdr.msg_iov = &places[index];
    messages[index].msg_hdr.msg_iovlen = 1;
  }
  uint64_t highest = 0, acknowledged = 0;
  for (;;) {
    if (options.gro) {
      for (size_t index = 0; index < batch; ++index) {
        messages[index].msg_hdr.msg_control = control.data() + index * kControl;
        messages[index].msg_hdr.msg_controllen = kControl;
      }
    }
    const int got =
        recvmmsg(data.get(), messages.data(), static_cast<unsigned>(batch), MSG_WAITFORONE, nullptr);
    if (got < 0) {
      if (errno == EINTR || errno == ECONNREFUSED) continue;
      fail("recvmmsg: %s", std::strerror(errno));
    }
    uint64_t count = 0, length = 0;
    for (size_t index = 0; index < static_cast<size_t>(got); ++index) {
      const size_t size = messages[index].msg_len;
      DatagramHeader header{};
      if (size < sizeof header) continue;
      std::memcpy(&header, places[index].iov_base, sizeof header);
      if (header.magic != kMagic) continue;
      const uint64_t datagrams = options.gro ? datagrams_in(messages[index].msg_hdr, size) : 1;
      count += datagrams;
      length += size;
      highest = std::max(highest, header.sequence + datagrams);
    }
    meter.add(count, length);
    if (options.every != 0 && highest / options.every > acknowledged / options.every) {
      acknowledged = highest;
      const DatagramHeader answer{kMagic, 0, highest};
      // One that is lost is made good by the next, or by the sender's patience.
      (void)send(acknowledge.get(), &answer, sizeof answer, MSG_NOSIGNAL);
    }
  }
}

}  // namespace weft::traffic
