#include "io/lab_netns.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>

namespace weft::lab {
namespace {

constexpr const char* kOwnNamespace = "/proc/thread-self/ns/net";

Status create_on_this_thread(const std::string& path) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444));
  if (!file.valid()) return io::call_failed("lab-netns", "open", path);
  if (::unshare(CLONE_NEWNET) != 0) {
    const Error error = io::call_failed("lab-netns", "unshare(CLONE_NEWNET)", path);
    ::unlink(path.c_str());
    return error;
  }
  Status loopback = raise_loopback();
  if (!loopback) {
    ::unlink(path.c_str());
    return loopback;
  }
  if (::mount(kOwnNamespace, path.c_str(), "none", MS_BIND, nullptr) != 0) {
    const Error error = io::call_failed("lab-netns", "mount", path);
    ::unlink(path.c_str());
    return error;
  }
  return Ok{};
}

}  // namespace

Status raise_loopback() {
  const Descriptor control(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!control.valid()) return io::call_failed("lab-netns", "socket", "AF_INET");
  ifreq request{};
  std::memcpy(request.ifr_name, "lo", 3);
  if (::ioctl(control.get(), SIOCGIFFLAGS, &request) != 0)
    return io::call_failed("lab-netns", "SIOCGIFFLAGS", "lo");
  request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP | IFF_RUNNING);
  if (::ioctl(control.get(), SIOCSIFFLAGS, &request) != 0)
    return io::call_failed("lab-netns", "SIOCSIFFLAGS", "lo");
  return Ok{};
}

Status prove_tap() {
  const Descriptor tun(::open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK));
  if (!tun.valid()) return io::call_failed("lab-tap-open", "open", "/dev/net/tun");
  ifreq request{};
  request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
  if (::ioctl(tun.get(), TUNSETIFF, &request) != 0)
    return io::call_failed("lab-tap-create", "TUNSETIFF", "a new TAP");
  return Ok{};
}

Result<Visit> Visit::enter(const std::string& path) {
  if (path.empty()) return Visit(Descriptor());
  const Descriptor target(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!target.valid()) return io::call_failed("lab-netns", "open", path);
  Descriptor home(::open(kOwnNamespace, O_RDONLY | O_CLOEXEC));
  if (!home.valid()) return io::call_failed("lab-netns", "open", kOwnNamespace);
  if (::setns(target.get(), CLONE_NEWNET) != 0) return io::call_failed("lab-netns", "setns", path);
  return Visit(std::move(home));
}

Visit::~Visit() {
  if (!home_.valid()) return;
  if (::setns(home_.get(), CLONE_NEWNET) == 0) return;
  std::perror("weft lab: cannot return to the own network namespace");
  std::abort();
}

Status create_namespace(const std::string& path) {
  Status status = Ok{};
  // unshare() moves the thread for good; a thread that ends afterwards needs no way back.
  std::thread([&] { status = create_on_this_thread(path); }).join();
  return status;
}

Status remove_namespace(const std::string& path) {
  if (::umount2(path.c_str(), MNT_DETACH) != 0 && errno != EINVAL && errno != ENOENT) {
    return io::call_failed("lab-netns", "umount", path);
  }
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return io::call_failed("lab-netns", "unlink", path);
  return Ok{};
}

Result<Descriptor> bind_wildcard(int type, uint16_t port) {
  const int on = 1;
  const int off = 0;
  for (const int family : {AF_INET6, AF_INET}) {
    Descriptor fd(::socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!fd.valid()) {
      if (family == AF_INET6 && errno == EAFNOSUPPORT) continue;
      return io::call_failed("lab-socket", "socket", "port " + std::to_string(port));
    }
    if (type == SOCK_STREAM) ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (family == AF_INET6) ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    sockaddr_storage any{};
    Address unspecified = family == AF_INET ? Address::v4(0) : Address{};
    const socklen_t length = to_sockaddr(unspecified, family == AF_INET ? 4 : 6, port, any);
    if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&any), length) != 0) {
      if (family == AF_INET6 && errno == EADDRNOTAVAIL) continue;  // IPv6 disabled at boot
      return io::call_failed("lab-socket", "bind", "port " + std::to_string(port));
    }
    if (type == SOCK_STREAM && ::listen(fd.get(), 1024) != 0) {
      return io::call_failed("lab-socket", "listen", "port " + std::to_string(port));
    }
    return fd;
  }
  return Error{"lab-socket", "the kernel has neither IPv6 nor IPv4 sockets", EAFNOSUPPORT};
}

Result<int> open_server(const std::string& path, ServerKind kind, uint16_t port) {
  Result<int> result = Error{};
  std::thread([&] {
    auto visit = Visit::enter(path);
    if (!visit) {
      result = visit.error();
      return;
    }
    auto fd = bind_wildcard(kind == ServerKind::tcp ? SOCK_STREAM : SOCK_DGRAM, port);
    if (fd) {
      result = fd.value().release();
    } else {
      result = fd.error();
    }
  }).join();
  return result;
}

socklen_t to_sockaddr(const Address& address, uint8_t family, uint16_t port, sockaddr_storage& out) {
  out = {};
  if (family == 4) {
    sockaddr_in in{};
    in.sin_family = AF_INET;
    in.sin_port = htons(port);
    in.sin_addr.s_addr = htonl(address.v4_value());
    std::memcpy(&out, &in, sizeof in);
    return sizeof in;
  }
  sockaddr_in6 in6{};
  in6.sin6_family = AF_INET6;
  in6.sin6_port = htons(port);
  std::memcpy(&in6.sin6_addr, address.bytes.data(), 16);
  std::memcpy(&out, &in6, sizeof in6);
  return sizeof in6;
}

}  // namespace weft::lab
