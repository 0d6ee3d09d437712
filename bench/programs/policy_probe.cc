// A stream of UDP packets from one pod to another that tells when a policy change met its first packet.
//
//   weft-policy-probe CLIENT-NETNS SERVER-NETNS SERVER-ADDRESS PORT PACKETS-PER-SECOND OUTPUT
//
// Says "ready" once packets are under way, and goes on until SIGTERM. Then OUTPUT holds little-endian 64-bit
// words: the number of packets sent, the time of each, the number that arrived, and for
// each of those its number and the time at which the kernel took it from the switch (so not the time of this
// program's turn). Times are nanoseconds of CLOCK_MONOTONIC, which is what Node.js' process.hrtime tells.
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
constexpr size_t kLongest = 64'000'000;  // packets: most of an hour at the usual rate

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

void send_stream(int socket, int64_t period, const std::atomic<bool>& ending, std::vector<int64_t>& sent) {
  sched_param first{};
  first.sched_priority = 2;
  pthread_setschedparam(pthread_self(), SCHED_FIFO, &first);  // without the right to it, as any thread
  int64_t deadline = now(CLOCK_MONOTONIC);
  while (!ending.load(std::memory_order_relaxed) && sent.size() < kLongest) {
    deadline += period;
    const timespec until{deadline / kSecond, deadline % kSecond};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr);
    const int64_t at = now(CLOCK_MONOTONIC);
    if (at - deadline > period) deadline = at;
    const std::array<uint64_t, 8> payload{sent.size()};
    // A full queue or a refusal on the way is one packet that does not arrive, like any other.
    (void)!send(socket, payload.data(), sizeof(payload), 0);
    sent.push_back(at);
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

}  // namespace

int main(int count, char** arguments) {
  if (count != 7) {
    std::fprintf(
        stderr,
        "usage: weft-policy-probe CLIENT-NETNS SERVER-NETNS SERVER-ADDRESS PORT PACKETS-PER-SECOND OUTPUT\n");
    return 2;
  }
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(std::atoi(arguments[4])));
  const int rate = std::atoi(arguments[5]);
  if (inet_pton(AF_INET, arguments[3], &address.sin_addr) != 1 || rate <= 0 || rate > 1'000'000) {
    std::fprintf(stderr, "weft-policy-probe: an IPv4 address and a rate up to 1,000,000 are needed\n");
    return 2;
  }
  const int server = socket_in(arguments[2]);
  const int on = 1;
  const int buffer = 8 << 20;
  setsockopt(server, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof(buffer));
  if (setsockopt(server, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof(on)) != 0) fail("SO_TIMESTAMPNS");
  if (bind(server, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) fail("bind");
  const int client = socket_in(arguments[1]);
  if (connect(client, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) fail("connect");

  sigset_t terminate;
  sigemptyset(&terminate);
  sigaddset(&terminate, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &terminate, nullptr);  // before the threads, which inherit it
  std::vector<int64_t> sent;
  std::vector<Arrival> arrivals;
  sent.reserve(size_t{1} << 20);
  arrivals.reserve(size_t{1} << 20);
  std::atomic<bool> ending = false;
  std::thread receiver([&] { receive_stream(server, ending, arrivals); });
  std::thread sender([&] { send_stream(client, kSecond / rate, ending, sent); });
  std::printf("ready\n");
  std::fflush(stdout);
  int signal = 0;
  sigwait(&terminate, &signal);
  ending = true;
  sender.join();
  receiver.join();

  FILE* file = std::fopen(arguments[6], "wb");
  if (file == nullptr) fail(arguments[6]);
  const std::array<uint64_t, 2> numbers{sent.size(), arrivals.size()};
  write_words(file, &numbers[0], sizeof(uint64_t));
  write_words(file, sent.data(), sent.size() * sizeof(int64_t));
  write_words(file, &numbers[1], sizeof(uint64_t));
  write_words(file, arrivals.data(), arrivals.size() * sizeof(Arrival));
  if (std::fclose(file) != 0) fail("close");
}
