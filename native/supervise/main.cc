// weft-supervise [--restart-only] -- PROGRAM [ARGUMENT…]
//
// The parent of the switch, so small that it has nothing to die of. It starts the switch, starts it again
// within milliseconds when it dies, and keeps duplicates of its TAP descriptors meanwhile, so that no pod
// ever sees its carrier drop (the hand-over is described in base/handover_wire.h). The descriptor number of
// the switch's end is appended to its arguments as `--supervised-fd N`.
//
// With --restart-only it is the parent of the agent, which has no descriptors to keep and gets no argument.
// What starts services on a host, or a kubelet, waits 10 s and more before it starts again what has died
// twice; for so long a node without an agent would not hear of a new policy. For the same reason it starts
// with a nice value of -10 (where that is allowed) before it has read its configuration, which has another:
// half a second of loading took up to six where pods that start held every core.
//
// Restarts: at once, unless two in a row lived less than a second; then 50 ms, doubled each time up to 5 s,
// until one lives. Exit status 2 of the program (bad usage) ends the supervisor too: starting it again cannot
// help. SIGTERM, SIGINT, SIGHUP and SIGQUIT are handed on; after the first two the supervisor ends with the
// program. When the supervisor itself is killed, the kernel kills the program (PR_SET_PDEATHSIG): whoever
// starts the next supervisor must find the run directory's lock free.
//
// One thread, one loop: poll on the socket and on a signalfd. No allocation after the start but in the table
// of kept descriptors.
#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/handover_wire.h"
#include "io/handover_record.h"

namespace {

using weft::handover::Kind;
using weft::handover::Message;
using weft::handover::Record;
using weft::handover::send_record;

constexpr int64_t kLivedNs = 1'000'000'000;
constexpr int64_t kFirstDelayNs = 50'000'000;
constexpr int64_t kLongestDelayNs = 5'000'000'000;
constexpr int kStartNice = -10;

[[gnu::format(printf, 1, 2)]] void say(const char* format, ...) {
  std::va_list values;
  va_start(values, format);
  std::fputs("weft-supervise: ", stderr);
  std::vfprintf(stderr, format, values);
  std::fputc('\n', stderr);
  va_end(values);
}

int64_t now_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<int64_t>(now.tv_sec) * 1'000'000'000 + now.tv_nsec;
}

// What is kept, by key; owns the descriptors.
class Kept {
 public:
  void store(const std::string& key, int descriptor) {
    auto [place, fresh] = descriptors_.try_emplace(key, descriptor);
    if (!fresh) {
      ::close(place->second);
      place->second = descriptor;
    } else if (descriptors_.size() > weft::handover::kMaximumKept) {
      // The port still lives; it only loses its carrier at the next restart.
      ::close(descriptor);
      descriptors_.erase(place);
    }
  }
  void forget(const std::string& key) {
    const auto place = descriptors_.find(key);
    if (place == descriptors_.end()) return;
    ::close(place->second);
    descriptors_.erase(place);
  }
  [[nodiscard]] const std::map<std::string, int>& all() const { return descriptors_; }

 private:
  std::map<std::string, int> descriptors_;
};

// Takes one message, if there is one. False when the socket has nothing more to say.
bool take_message(int socket, Kept& kept) {
  Record record;
  const ssize_t received = weft::handover::receive_record(socket, MSG_DONTWAIT, record);
  if (received <= 0) return received < 0 && errno == EINTR;
  auto& [message, descriptor, understood] = record;
  const std::string key(message.key_view());
  if (understood && message.kind == Kind::store && descriptor >= 0) {
    kept.store(key, std::exchange(descriptor, -1));
  } else if (understood && message.kind == Kind::forget) {
    kept.forget(key);
  } else if (understood && message.kind == Kind::claim) {
    for (const auto& [name, value] : kept.all())
      if (!send_record(socket, Message::of(Kind::kept, name), value)) break;
    send_record(socket, Message::of(Kind::end), -1);
  } else if (!understood) {
    // An `end` in our version tells a switch of another version that it is not understood.
    send_record(socket, Message::of(Kind::end), -1);
  }
  if (descriptor >= 0) ::close(descriptor);
  return true;
}

class Supervisor {
 public:
  Supervisor(std::vector<char*> arguments, bool keeps_descriptors)
      : arguments_(std::move(arguments)), keeps_descriptors_(keeps_descriptors) {}

  int run() {
    sigset_t signals;
    ::sigemptyset(&signals);
    for (const int signal : {SIGCHLD, SIGTERM, SIGINT, SIGHUP, SIGQUIT}) ::sigaddset(&signals, signal);
    ::sigprocmask(SIG_BLOCK, &signals, &original_mask_);
    signal_fd_ = ::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    if (signal_fd_ < 0) return fatal("signalfd");
    // One descriptor a port, here and in the switch.
    rlimit files{};
    if (::getrlimit(RLIMIT_NOFILE, &files) == 0) {
      files.rlim_cur = files.rlim_max;
      ::setrlimit(RLIMIT_NOFILE, &files);
    }
    while (true) {
      if (child_ < 0) {
        if (ending_) return exit_status_;
        const int64_t wait = restart_at_ - now_ns();
        if (wait <= 0) {
          if (!start()) return 1;
          continue;
        }
        step(static_cast<int>((wait + 999'999) / 1'000'000));
      } else {
        step(-1);
      }
    }
  }

 private:
  static int fatal(const char* call) {
    say("%s: %s", call, std::strerror(errno));  // NOLINT(concurrency-mt-unsafe): one thread
    return 1;
  }

  bool start() {
    int pair[2] = {-1, -1};
    if (keeps_descriptors_ && ::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
      return fatal("socketpair"), false;
    const pid_t parent = ::getpid();
    const pid_t child = ::fork();
    if (child < 0) return fatal("fork"), false;
    if (child == 0) exec_program(pair[1], parent);
    if (keeps_descriptors_) ::close(pair[1]);
    socket_ = pair[0];
    child_ = child;
    started_at_ = now_ns();
    return true;
  }

  [[noreturn]] void exec_program(int socket, pid_t parent) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(1);  // it died before the line above
    ::sigprocmask(SIG_SETMASK, &original_mask_, nullptr);
    char option[] = "--supervised-fd";
    char number[16];
    std::vector<char*> arguments = arguments_;
    if (socket >= 0) {
      ::fcntl(socket, F_SETFD, 0);
      std::snprintf(number, sizeof number, "%d", socket);
      arguments.push_back(option);
      arguments.push_back(number);
    } else {
      ::setpriority(PRIO_PROCESS, 0, kStartNice);
    }
    arguments.push_back(nullptr);
    ::execvp(arguments[0], arguments.data());
    say("exec %s: %s", arguments[0], std::strerror(errno));  // NOLINT(concurrency-mt-unsafe): one thread
    ::_exit(2);
  }

  void step(int timeout_ms) {
    // A negative descriptor is ignored by poll.
    std::array<pollfd, 2> interests{pollfd{signal_fd_, POLLIN, 0}, pollfd{socket_, POLLIN, 0}};
    ::poll(interests.data(), interests.size(), timeout_ms);
    if ((interests[1].revents & POLLIN) != 0) {
      while (take_message(socket_, kept_)) {
      }
    } else if ((interests[1].revents & (POLLHUP | POLLERR)) != 0) {
      close_socket();  // the switch closed its end, or is about to be reaped
    }
    signalfd_siginfo signal{};
    while (::read(signal_fd_, &signal, sizeof signal) == static_cast<ssize_t>(sizeof signal)) {
      if (signal.ssi_signo == SIGCHLD) continue;
      if (signal.ssi_signo == SIGTERM || signal.ssi_signo == SIGINT) ending_ = true;
      if (child_ > 0) ::kill(child_, static_cast<int>(signal.ssi_signo));
    }
    reap();
  }

  // All children: as the first process of a container the supervisor inherits orphans.
  void reap() {
    int status = 0;
    for (pid_t pid = ::waitpid(-1, &status, WNOHANG); pid > 0; pid = ::waitpid(-1, &status, WNOHANG))
      if (pid == child_) ended(status);
  }

  void ended(int status) {
    while (socket_ >= 0 && take_message(socket_, kept_)) {
    }
    close_socket();
    child_ = -1;
    const int64_t lived = now_ns() - started_at_;
    exit_status_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    if (ending_) return;
    if (WIFEXITED(status) && exit_status_ == 2) {
      say("the program refused its arguments or configuration (exit status 2); not starting it again");
      ending_ = true;
      return;
    }
    quick_deaths_ = lived >= kLivedNs ? 0 : quick_deaths_ + 1;
    if (quick_deaths_ <= 1) {
      delay_ = 0;
    } else {
      delay_ = delay_ == 0 ? kFirstDelayNs : std::min(delay_ * 2, kLongestDelayNs);
    }
    restart_at_ = now_ns() + delay_;
    say("the program ended (%s %d) after %lld ms; starting it again in %lld ms, keeping %zu descriptors",
        WIFEXITED(status) ? "exit status" : "signal", WIFEXITED(status) ? exit_status_ : WTERMSIG(status),
        static_cast<long long>(lived / 1'000'000), static_cast<long long>(delay_ / 1'000'000),
        kept_.all().size());
  }

  void close_socket() {
    if (socket_ >= 0) ::close(std::exchange(socket_, -1));
  }

  std::vector<char*> arguments_;
  bool keeps_descriptors_;
  Kept kept_;
  sigset_t original_mask_{};
  int signal_fd_ = -1;
  int socket_ = -1;
  pid_t child_ = -1;
  int64_t started_at_ = 0;
  int64_t restart_at_ = 0;
  int64_t delay_ = 0;
  int quick_deaths_ = 0;  // in a row
  bool ending_ = false;
  int exit_status_ = 0;
};

}  // namespace

int main(int count, char** values) {
  const bool restart_only = count > 1 && std::strcmp(values[1], "--restart-only") == 0;
  const int separator = restart_only ? 2 : 1;
  if (count < separator + 2 || std::strcmp(values[separator], "--") != 0) {
    std::fprintf(stderr,
                 "usage: weft-supervise [--restart-only] -- PROGRAM [ARGUMENT...]\n"
                 "Starts the switch with `--supervised-fd N` appended, starts it again when it dies, keeps "
                 "its descriptors; with --restart-only any program, as it is.\n");
    return 2;
  }
  return Supervisor(std::vector<char*>(values + separator + 1, values + count), !restart_only).run();
}
