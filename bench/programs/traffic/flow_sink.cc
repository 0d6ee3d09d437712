#include "traffic/flow_sink.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "traffic/datagram.h"
#include "traffic/failure.h"
#include "traffic/greeting.h"

namespace weft::traffic {

namespace {

constexpr size_t kBatch = 64;
constexpr size_t kRoom = 2048;

}  // namespace

void run_flow_sink(std::vector<Descriptor> sockets, Descriptor acknowledge, uint64_t every, Meter& meter) {
  answer_greeting(acknowledge);
  const Descriptor poller(epoll_create1(EPOLL_CLOEXEC));
  for (const Descriptor& socket : sockets) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = socket.get();
    if (epoll_ctl(poller.get(), EPOLL_CTL_ADD, socket.get(), &event) != 0)
      fail("epoll_ctl: %s", std::strerror(errno));
  }
  std::vector<char> bytes(kBatch * kRoom);
  std::array<iovec, kBatch> places{};
  std::array<mmsghdr, kBatch> messages{};
  std::array<sockaddr_in, kBatch> senders{};
  for (size_t index = 0; index < kBatch; ++index) {
    places[index] = {bytes.data() + index * kRoom, kRoom};
    messages[index].msg_hdr.msg_iov = &places[index];
    messages[index].msg_hdr.msg_iovlen = 1;
    messages[index].msg_hdr.msg_name = &senders[index];
  }
  uint64_t highest = 0, acknowledged = 0;
  std::vector<epoll_event> events(sockets.size());
  for (;;) {
    const int ready = epoll_wait(poller.get(), events.data(), static_cast<int>(events.size()), -1);
    if (ready < 0 && errno != EINTR) fail("epoll_wait: %s", std::strerror(errno));
    for (int event = 0; event < ready; ++event) {
      const int socket = events[static_cast<size_t>(event)].data.fd;
      for (mmsghdr& message : messages) message.msg_hdr.msg_namelen = sizeof(sockaddr_in);
      const int got = recvmmsg(socket, messages.data(), kBatch, MSG_DONTWAIT, nullptr);
      uint64_t count = 0, length = 0;
      for (size_t index = 0; got > 0 && index < static_cast<size_t>(got); ++index) {
        DatagramHeader header{};
        if (messages[index].msg_len < sizeof header) continue;
        std::memcpy(&header, places[index].iov_base, sizeof header);
        if (header.magic != kMagic) continue;
        if (header.sequence == kOpening) {
          (void)sendto(socket, &header, sizeof header, 0, reinterpret_cast<const sockaddr*>(&senders[index]),
                       sizeof senders[index]);
          continue;
        }
        ++count;
        length += messages[index].msg_len;
        highest = std::max(highest, header.sequence + 1);
      }
      if (count != 0) meter.add(count, length);
    }
    if (highest / every > acknowledged / every) {
      acknowledged = highest;
      const DatagramHeader answer{kMagic, 0, highest};
      (void)send(acknowledge.get(), &answer, sizeof answer, MSG_NOSIGNAL);
    }
  }
}

}  // namespace weft::traffic
