// Real namespaces for tests of TAPs. Each test makes its own, unnamed and gone with the test; where that is
// not allowed (no root, no /dev/net/tun, user-mode emulation) a test says so and ends (NEEDS_TAP).
#pragma once

#include <doctest/doctest.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "io/address_text.h"
#include "io/netlink.h"
#include "io/netns.h"
#include "io/tap.h"

namespace weft::io {

// A network namespace for as long as this lives: a thread that unshared sits in it, and its /proc entry is
// the path.
class PodNamespace {
 public:
  PodNamespace() {
    thread_ = std::thread([this] {
      const bool made = ::unshare(CLONE_NEWNET) == 0;
      std::unique_lock lock(mutex_);
      task_ = made ? static_cast<int>(::syscall(SYS_gettid)) : -1;
      changed_.notify_all();
      changed_.wait(lock, [this] { return ending_; });
    });
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return task_ != 0; });
  }
  ~PodNamespace() { end(); }
  void end() {
    {
      const std::lock_guard lock(mutex_);
      ending_ = true;
      changed_.notify_all();
    }
    if (thread_.joinable()) thread_.join();
  }
  [[nodiscard]] bool made() const { return task_ > 0; }
  [[nodiscard]] std::string path() const {
    return "/proc/" + std::to_string(::getpid()) + "/task/" + std::to_string(task_) + "/ns/net";
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int task_ = 0;
  bool ending_ = false;
  std::thread thread_;
};

// Namespace thread and pod; empty where this machine does not allow them.
struct Lab {
  std::unique_ptr<NamespaceThread> thread;
  PodNamespace pod;

  static bool allowed() {
    static const bool result = [] {
      auto thread = NamespaceThread::start();
      if (!thread.ok()) return false;
      bool works = false;
      thread.value()->run([&](const NamespaceContext&) {
        const Descriptor tun(::open("/dev/net/tun", O_RDWR | O_CLOEXEC));
        ifreq request{};
        request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
        works = tun.valid() && ::ioctl(tun.get(), TUNSETIFF, &request) == 0 &&
                NamespaceFile::open("/proc/thread-self/ns/net").ok();
      });
      return works;
    }();
    return result;
  }

  Lab() {
    auto started = NamespaceThread::start();
    REQUIRE(started.ok());
    thread = std::move(started).value();
    REQUIRE(pod.made());
  }

  [[nodiscard]] TapConfig config() const {
    TapConfig config;
    config.netns = pod.path();
    config.ifname = "eth0";
    config.mac = {2, 0, 0, 0, 0, 5};
    config.addresses = {*parse_address("10.42.0.5"), *parse_address("fd00::5")};
    config.mtu = 9000;
    config.gateway_mac = {2, 0x77, 0x65, 0x66, 0x74, 1};
    return config;
  }
  Result<Tap> attach(const TapConfig& wanted) {
    std::optional<Result<Tap>> result;
    thread->run([&](const NamespaceContext& context) { result.emplace(attach_tap(context, wanted)); });
    return std::move(*result);
  }
  Status remove(const TapConfig& wanted, Descriptor descriptor) {
    std::optional<Status> result;
    thread->run([&](const NamespaceContext& context) {
      result.emplace(remove_tap(context, wanted, std::move(descriptor)));
    });
    return *result;
  }
  // Runs inside the pod with its netlink socket.
  void inside(const std::function<void(Netlink&)>& look) {
    thread->run([&](const NamespaceContext& context) {
      auto file = NamespaceFile::open(pod.path());
      REQUIRE(file.ok());
      auto scope = context.enter(file.value());
      REQUIRE(scope.ok());
      auto netlink = Netlink::open();
      REQUIRE(netlink.ok());
      look(netlink.value());
    });
  }
  std::optional<Link> link(const std::string& name = "eth0") {
    std::optional<Link> found;
    inside([&](Netlink& netlink) {
      auto answer = netlink.find_link(name);
      REQUIRE(answer.ok());
      found = answer.value();
    });
    return found;
  }
  uint32_t nursery_links() {
    uint32_t count = 0;
    thread->run([&](const NamespaceContext&) {
      auto netlink = Netlink::open();
      REQUIRE(netlink.ok());
      count = netlink.value().count_links().value();
    });
    return count;
  }
};

#define NEEDS_TAP()                                                                \
  if (!Lab::allowed()) {                                                           \
    MESSAGE("not run: root, /dev/net/tun and network namespaces are needed here"); \
    return;                                                                        \
  }

}  // namespace weft::io
