#include "io/tap.h"

#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <optional>

#include "io/tap_configure.h"
#include "switch/device.h"

// Newer than the headers of the oldest distributions that weft is built on.
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif
#ifndef TUNGETDEVNETNS
#define TUNGETDEVNETNS _IO('T', 227)
#endif

namespace weft::io {

namespace {

constexpr const char* kTunDevice = "/dev/net/tun";
constexpr short kFlags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;

std::string where(const TapConfig& config) {
  return config.ifname + " in " + (config.netns.empty() ? "the node's namespace" : config.netns);
}

ifreq request_for(const std::string& name, short flags) {
  ifreq request{};
  std::memcpy(request.ifr_name, name.data(), std::min(name.size(), sizeof request.ifr_name - 1));
  request.ifr_flags = flags;
  return request;
}

Result<Descriptor> open_tun() {
  Descriptor descriptor(::open(kTunDevice, O_RDWR | O_NONBLOCK | O_CLOEXEC));
  if (descriptor.valid()) return descriptor;
  const char* hint = "run as root";
  if (errno == ENOENT) hint = "load the module with `modprobe tun`, or pass the device into the container";
  if (errno == EMFILE || errno == ENFILE)
    hint = "each port needs a descriptor: raise the switch's limit on open files (LimitNOFILE, ulimit -n)";
  if (errno == EPERM) hint = "the container's device rules forbid it; allow character device 10:200";
  return call_failed("tap-open", "open", kTunDevice, hint);
}

// Vnet header size and offloads; the same for new and re-attached devices. Returns whether USO was accepted.
Result<bool> set_offloads(int descriptor, const std::string& object) {
  const int header = kVnetHeaderLength;
  if (::ioctl(descriptor, TUNSETVNETHDRSZ, &header) != 0)
    return call_failed("tap-create", "ioctl(TUNSETVNETHDRSZ)", object);
  constexpr unsigned kBasic = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6;
  if (::ioctl(descriptor, TUNSETOFFLOAD, kBasic | TUN_F_USO4 | TUN_F_USO6) == 0) return true;
  if (errno != EINVAL) return call_failed("tap-create", "ioctl(TUNSETOFFLOAD)", object);
  if (::ioctl(descriptor, TUNSETOFFLOAD, kBasic) != 0)
    return call_failed("tap-create", "ioctl(TUNSETOFFLOAD)", object);
  return false;
}

// A stay in the config's namespace with a netlink socket of it.
struct Inside {
  std::optional<NamespaceFile> file;  // none for the host's
  NamespaceContext::Scope scope;
  Netlink netlink;

  static Result<Inside> enter(const NamespaceContext& context, const std::string& path) {
    std::optional<NamespaceFile> file;
    if (!path.empty()) {
      auto opened = NamespaceFile::open(path);
      if (!opened.ok()) return opened.error();
      file = std::move(opened).value();
    }
    auto scope = file ? context.enter(*file) : context.enter_home();
    if (!scope.ok()) return scope.error();
    auto netlink = Netlink::open();
    if (!netlink.ok()) return netlink.error();
    return Inside{std::move(file), std::move(scope).value(), std::move(netlink).value()};
  }
};

struct Made {
  Descriptor descriptor;
  int index = 0;
  std::string name;
};

// In the calling thread's namespace. IFF_TUN_EXCL: never silently attach to what is there.
Result<Made> make_device(const std::string& name, const MacAddress& mac) {
  auto opened = open_tun();
  if (!opened.ok()) return opened.error();
  Made made{std::move(opened).value(), 0, {}};
  ifreq request = request_for(name, static_cast<short>(kFlags | IFF_TUN_EXCL));
  if (::ioctl(made.descriptor.get(), TUNSETIFF, &request) != 0)
    return call_failed("tap-create", "ioctl(TUNSETIFF)", name, errno == EPERM ? "needs CAP_NET_ADMIN" : "");
  made.name.assign(request.ifr_name, strnlen(request.ifr_name, sizeof request.ifr_name));
  auto netlink = Netlink::open();
  if (!netlink.ok()) return netlink.error();
  auto link = netlink.value().get_link(made.name);
  if (!link.ok()) return link.error();
  made.index = link.value().index;
  if (Status status = netlink.value().set_mac(made.index, made.name, mac); !status.ok())
    return status.error();
  return made;
}

// The device is not persistent before everything has succeeded: closing the descriptor on the way out is the
// whole undo.
Result<Tap> create(const NamespaceContext& context, const TapConfig& config) {
  Tap tap;
  std::optional<Inside> inside;
  auto step_inside = [&]() -> Status {
    auto entered = Inside::enter(context, config.netns);
    if (!entered.ok()) return entered.error();
    inside.emplace(std::move(entered).value());
    return Ok{};
  };
  if (Status status = step_inside(); !status.ok()) return status.error();
  auto made = make_device(config.ifname, config.mac);
  if (!made.ok()) return made.error();
  tap.descriptor = std::move(made.value().descriptor);
  if (inside->file) tap.identity = inside->file->identity();
  auto offloads = set_offloads(tap.descriptor.get(), where(config));
  if (!offloads.ok()) return offloads.error();
  tap.udp_segmentation = offloads.value();
  if (auto configured = configure_here(inside->netlink, config); !configured.ok()) return configured.error();
  if (::ioctl(tap.descriptor.get(), TUNSETPERSIST, 1UL) != 0)
    return call_failed("tap-create", "ioctl(TUNSETPERSIST)", where(config));
  return tap;
}

Status check_same(const Link& link, const TapConfig& config) {
  if (link.kind != "tun" || !link.tun.tap || link.mac != config.mac)
    return Error{"tap-taken",
                 where(config) + " is there already and is not this port's (" +
                     (link.kind.empty() ? "no TAP" : link.kind) + ", another MAC or kind); remove it first",
                 EEXIST};
  if (link.tun.packet_information || !link.tun.vnet_header || link.tun.multi_queue)
    return Error{"tap-flags",
                 where(config) + " was made with other flags (packet information " +
                     (link.tun.packet_information ? "on" : "off") + ", vnet header " +
                     (link.tun.vnet_header ? "on" : "off") + ", multi-queue " +
                     (link.tun.multi_queue ? "on" : "off") +
                     "; weft's are off, on, off), attaching would corrupt frames; delete the interface",
                 EINVAL};
  return Ok{};
}

Result<Tap> reattach(Inside& inside, const TapConfig& config, const Link& link) {
  if (Status same = check_same(link, config); !same.ok()) return same.error();
  Tap tap;
  tap.origin = TapOrigin::reattached;
  if (inside.file) tap.identity = inside.file->identity();
  auto opened = open_tun();
  if (!opened.ok()) return opened.error();
  tap.descriptor = std::move(opened).value();
  ifreq request = request_for(config.ifname, kFlags);
  if (::ioctl(tap.descriptor.get(), TUNSETIFF, &request) != 0) {
    if (errno == EBUSY)
      return call_failed(
          "tap-busy", "ioctl(TUNSETIFF)", where(config),
          "another process holds this TAP: a switch that still runs, or a supervisor; stop it");
    return call_failed("tap-flags", "ioctl(TUNSETIFF)", where(config));
  }
  auto offloads = set_offloads(tap.descriptor.get(), where(config));
  if (!offloads.ok()) return offloads.error();
  tap.udp_segmentation = offloads.value();
  if (auto configured = configure_here(inside.netlink, config); !configured.ok()) return configured.error();
  if (::ioctl(tap.descriptor.get(), TUNSETPERSIST, 1UL) != 0)
    return call_failed("tap-create", "ioctl(TUNSETPERSIST)", where(config));
  return tap;
}

Error gone(int errno_value, const std::string& object) {
  return call_failed_with(errno_value, "tap-gone", "ioctl(TUNGETIFF)", object,
                          "the interface was deleted; the port comes back when the pod is attached again");
}

}  // namespace

Result<Tap> attach_tap(const NamespaceContext& context, const TapConfig& config) {
  {
    auto inside = Inside::enter(context, config.netns);
    if (!inside.ok()) return inside.error();
    auto link = inside.value().netlink.find_link(config.ifname);
    if (!link.ok()) return link.error();
    if (link.value()) return reattach(inside.value(), config, *link.value());
  }
  return create(context, config);
}

Result<Tap> adopt_tap(const TapConfig& config, Descriptor descriptor) {
  ifreq request{};
  if (::ioctl(descriptor.get(), TUNGETIFF, &request) != 0) return gone(errno, where(config));
  constexpr short kCompared = IFF_TUN | IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE;
  if ((request.ifr_flags & kCompared) != kFlags)
    return Error{"tap-flags", where(config) + ": the kept descriptor has other flags; it is dropped", EINVAL};
  ifreq hardware{};
  if (::ioctl(descriptor.get(), SIOCGIFHWADDR, &hardware) != 0) return gone(errno, where(config));
  if (std::memcmp(hardware.ifr_hwaddr.sa_data, config.mac.data(), config.mac.size()) != 0)
    return Error{"tap-taken", where(config) + ": the kept descriptor is another interface's; it is dropped",
                 EEXIST};
  Tap tap;
  tap.origin = TapOrigin::adopted;
  if (!config.host) {
    auto file = NamespaceFile::open(config.netns);
    if (!file.ok()) return file.error();
    tap.identity = file.value().identity();
    const Descriptor actual(::ioctl(descriptor.get(), TUNGETDEVNETNS));
    struct stat status{};
    if (actual.valid() && ::fstat(actual.get(), &status) == 0 && status.st_ino != tap.identity.inode)
      return Error{"tap-taken",
                   where(config) + ": the kept descriptor is in another namespace; it is dropped", EEXIST};
  }
  auto offloads = set_offloads(descriptor.get(), where(config));
  if (!offloads.ok()) return offloads.error();
  tap.udp_segmentation = offloads.value();
  tap.descriptor = std::move(descriptor);
  return tap;
}

Result<Changes> configure_tap(const NamespaceContext& context, const TapConfig& config) {
  auto inside = Inside::enter(context, config.netns);
  if (!inside.ok()) return inside.error();
  return configure_here(inside.value().netlink, config);
}

Status remove_tap(const NamespaceContext& context, const TapConfig& config, Descriptor descriptor) {
  std::string path = config.netns;
  std::string name = config.ifname;
  Descriptor actual;
  if (descriptor.valid()) {
    // The pod may have renamed its interface or moved it: ask the device itself where it is.
    ifreq request{};
    if (::ioctl(descriptor.get(), TUNGETIFF, &request) != 0) return Ok{};
    name.assign(request.ifr_name, strnlen(request.ifr_name, sizeof request.ifr_name));
    actual = Descriptor(::ioctl(descriptor.get(), TUNGETDEVNETNS));
    if (actual.valid()) path = "/proc/self/fd/" + std::to_string(actual.get());
    // Without a path an empty one would mean the host's namespace, whose `eth0` is not ours to delete.
    if (!actual.valid() && path.empty() && !config.host) return Ok{};
  }
  auto inside = Inside::enter(context, path);
  if (!inside.ok()) {
    if (inside.error().code == "namespace-gone") return Ok{};
    return inside.error();
  }
  auto link = inside.value().netlink.find_link(name);
  if (!link.ok()) return link.error();
  if (!link.value()) return Ok{};
  // Without a descriptor, another's interface of the same name is left alone.
  if (!descriptor.valid() && (link.value()->kind != "tun" || link.value()->mac != config.mac)) return Ok{};
  return inside.value().netlink.delete_link(link.value()->index, name);
}

Status tap_alive(int descriptor, const std::string& ifname) {
  ifreq request{};
  if (::ioctl(descriptor, TUNGETIFF, &request) == 0) return Ok{};
  return gone(errno, ifname);
}

}  // namespace weft::io
