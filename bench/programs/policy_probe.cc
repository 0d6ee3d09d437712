// Streams of UDP packets from one pod that tell when a policy change met its first packet.
//
//   weft-policy-probe CLIENT-NETNS SERVER-NETNS SERVER-ADDRESS CONTROL-NETNS CONTROL-ADDRESS PORT
//                     PACKETS-PER-SECOND OUTPUT
//
// Each packet to the server is followed at once by one with the same number to the control, which nothing
// denies. Both leave by one interface and one queue, so whatever became of the first had been decided when
// the second arrives: that is the time of a denial, which otherwise nobody could see.
//
// Says "ready" once packets are under way, and goes on until SIGTERM. Then OUTPUT holds little-endian 64-bit
// words: for the server and then the control the number of packets that arrived, and for each of those its
// number and the time at which the kernel took it from the switch (so not the time of this program's turn),
// in nanoseconds of CLOCK_MONOTONIC, which is what Node.js' process.hrtime tells.
//
// The sender is a real-time thread where it may be: it is part of the ruler, not of what is measured. It
// never catches up: deadlines that passed while it waited are left out, so that there are no bursts.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>
#include <thread>
#include <vector>

namespace {

constexpr int64_t kSecond = 1'000'000'000;
constexpr uint64_t kLongest = 64'000'000;  // pairs: more than an hour at the usual rate

[[noreturn]] void fail(const std::string& what) {
  std::fprintf(stderr, "weft-policy-probe: %s: %s\n", what.c_str(), std::strerror(errno));
  std::exit(1);
}

int64_t now(clockid_t clock) {
  timespec time{};
  clock_gettime(clock, &time);
  return time.tv_sec * kSecond + time.tv_nsec;
}

int socket_in(const char* netns) {
  const int descriptor = open(netns, O_RDONLY | O_CLOEXEC);
  if (descriptor < 0 || setns(descriptor, CLONE_NEWNET) != 0) fail(netns);
  close(descriptor);
  const int made = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (made < 0) fail("socket");
  return made;
}

struct Arrival {
  uint64_t number;
  int64_t time;
};

void send_stream(const std::array<int, 2>& sockets, int64_t period, const std::atomic<bool>& ending) {
  sched_param first{};
  first.sched_priority = 2;
  pthread_setschedparam(pthread_self(), SCHED_FIFO, &first);  // without the right to it, as any thread
  int64_t deadline = now(CLOCK_MONOTONIC);
  for (uint64_t number = 0; !ending.load(std::memory_order_relaxed) && number < kLongest; ++number) {
    deadline += period;
    const timespec until{deadline / kSecond, deadline % kSecond};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr);
    const int64_t at = now(CLOCK_MONOTONIC);
    if (at - deadline > period) deadline = at;
    const std::array<uint64_t, 8> payload{number};
    // A full queue or a refusal on the way is one packet that does not arrive, like any other.
    for (const int socket : sockets) (void)!send(socket, payload.data(), sizeof(payload), 0);
  }
}

void receive_stream(int socket, const std::atomic<bool>& ending, std::vector<Arrival>& arrivals) {
  constexpr size_t kBatch = 64;
  std::array<std::array<uint64_t, 8>, kBatch> payloads;
  std::array<std::array<char, CMSG_SPACE(sizeof(timespec))>, kBatch> controls;
  std::array<iovec, kBatch> vectors;
  std::array<mmsghdr, kBatch> messages;
  while (!ending.load(std::memory_order_relaxed)) {
    pollfd waiting{socket, POLLIN, 0};
    if (poll(&waiting, 1, 20) <= 0) continue;
    for (size_t i = 0; i < kBatch; ++i) {
      vectors[i] = {payloads[i].data(), sizeof(payloads[i])};
      messages[i] = {};
      messages[i].msg_hdr.msg_iov = &vectors[i];
      messages[i].msg_hdr.msg_iovlen = 1;
      messages[i].msg_hdr.msg_control = controls[i].data();
      messages[i].msg_hdr.msg_controllen = controls[i].size();
    }
    const int count = recvmmsg(socket, messages.data(), kBatch, 0, nullptr);
    const int64_t to_monotonic = now(CLOCK_MONOTONIC) - now(CLOCK_REALTIME);
    for (int i = 0; i < count; ++i) {
      const auto at = static_cast<size_t>(i);
      msghdr& header = messages[at].msg_hdr;
      for (cmsghdr* one = CMSG_FIRSTHDR(&header); one != nullptr; one = CMSG_NXTHDR(&header, one)) {
        if (one->cmsg_level != SOL_SOCKET || one->cmsg_type != SO_TIMESTAMPNS) continue;
        timespec time{};
        std::memcpy(&time, CMSG_DATA(one), sizeof(time));
        arrivals.push_back({payloads[at][0], time.tv_sec * kSecond + time.tv_nsec + to_monotonic});
      }
    }
  }
}

void write_words(FILE* file, const void* words, size_t bytes) {
  if (bytes != 0 && std::fwrite(words, 1, bytes, file) != bytes) fail("write");
}

int receiver(const char* netns, uint16_t port) {
  const int made = socket_in(netns);
  const int on = 1;
  const int buffer = 8 << 20;
  setsockopt(made, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof(buffer));
  if (setsockopt(made, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof(on)) != 0) fail("SO_TIMESTAMPNS");
  sockaddr_in any{};
  any.sin_family = AF_INET;
  any.sin_port = htons(port);
  if (bind(made, reinterpret_cast<const sockaddr*>(&any), sizeof(any)) != 0) fail("bind");
  return made;
}

int sender(const char* netns, const char* to, uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  if (inet_pton(AF_INET, to, &address.sin_addr) != 1) fail(to);
  const int made = socket_in(netns);
  if (connect(made, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) fail("connect");
  return made;
}

}  // namespace

int main(int count, char** arguments) {
  const int rate = count == 9 ? std::atoi(arguments[7]) : 0;
  if (rate <= 0 || rate > 1'000'000) {
    std::fprintf(stderr,
                 "usage: weft-policy-probe CLIENT-NETNS SERVER-NETNS SERVER-ADDRESS CONTROL-NETNS "
                 "CONTROL-ADDRESS PORT PACKETS-PER-SECOND OUTPUT\n"
                 "IPv4 addresses, and a rate up to 1,000,000.\n");
    return 2;
  }
  const auto port = static_cast<uint16_t>(std::atoi(arguments[6]));
  const std::array<int, 2> receivers{receiver(arguments[2], port), receiver(arguments[4], port)};
  const std::array<int, 2> senders{sender(arguments[1], arguments[3], port),
                                   sender(arguments[1], arguments[5], port)};

  sigset_t terminate;
  sigemptyset(&terminate);
  sigaddset(&terminate, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &terminate, nullptr);  // before the threads, which inherit it
  std::array<std::vector<Arrival>, 2> arrivals;
  for (auto& each : arrivals) each.reserve(size_t{1} << 20);
  std::atomic<bool> ending = false;
  std::array<std::thread, 2> listening;
  for (size_t i = 0; i < 2; ++i)
    listening[i] = std::thread([&, i] { receive_stream(receivers[i], ending, arrivals[i]); });
  std::thread sending([&] { send_stream(senders, kSecond / rate, ending); });
  std::printf("ready\n");
  std::fflush(stdout);
  int signal = 0;
  sigwait(&terminate, &signal);
  ending = true;
  sending.join();
  for (std::thread& each : listening) each.join();

  FILE* file = std::fopen(arguments[8], "wb");
  if (file == nullptr) fail(arguments[8]);
  for (const std::vector<Arrival>& each : arrivals) {
    const uint64_t number = each.size();
    write_words(file, &number, sizeof(number));
    write_words(file, each.data(), each.size() * sizeof(Arrival));
  }
  if (std::fclose(file) != 0) fail("close");
}
