// TAP ports in real namespaces. Each test makes its own, unnamed and gone with the test; where that is not
// allowed (no root, no /dev/net/tun, user-mode emulation) a test says so and ends.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "io/address_text.h"
#include "io/netlink.h"
#include "io/netns.h"
#include "io/raw_socket.h"
#include "io/tap.h"
#include "io/tap_device.h"
#include "tap_lab.h"

namespace weft::io {
namespace {

size_t open_descriptors() {
  size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) ++count;
  return count;
}

TEST_CASE("a new TAP is up in the pod with its MAC, MTU and addresses, and nothing is left in the nursery") {
  NEEDS_TAP();
  Lab lab;
  const uint32_t before = lab.nursery_links();
  auto tap = lab.attach(lab.config());
  REQUIRE_MESSAGE(tap.ok(), (tap.ok() ? "" : tap.error().message));
  CHECK(tap.value().origin == TapOrigin::created);
  const auto link = lab.link();
  REQUIRE(link.has_value());
  CHECK(link->kind == "tun");
  CHECK(link->mac == lab.config().mac);
  CHECK(link->mtu == 9000);
  CHECK(link->queue_length == 1000);
  CHECK(link->up);
  CHECK(link->carrier);
  CHECK(link->tun.tap);
  CHECK(link->tun.vnet_header);
  CHECK(link->tun.persistent);
  CHECK_FALSE(link->tun.packet_information);
  CHECK_FALSE(link->tun.multi_queue);
  lab.inside([&](Netlink& netlink) {
    auto addresses = netlink.list_addresses(link->index);
    REQUIRE(addresses.ok());
    CHECK(addresses.value().size() == 2);
    CHECK(netlink.queue_discipline(link->index).value() == "noqueue");
    CHECK(netlink.find_link("lo").value()->up);
  });
  CHECK(lab.nursery_links() == before);
  CHECK((::fcntl(tap.value().descriptor.get(), F_GETFL) & O_NONBLOCK) != 0);
}

TEST_CASE("a TAP outlives its descriptor and is re-attached with the same flags") {
  NEEDS_TAP();
  Lab lab;
  auto first = lab.attach(lab.config());
  REQUIRE(first.ok());
  const int index = lab.link()->index;
  first.value().descriptor.reset();
  CHECK_FALSE(lab.link()->carrier);
  auto second = lab.attach(lab.config());
  REQUIRE(second.ok());
  CHECK(second.value().origin == TapOrigin::reattached);
  CHECK(lab.link()->index == index);
  CHECK(lab.link()->carrier);
}

TEST_CASE("re-attaching brings changed addresses with it") {
  NEEDS_TAP();
  Lab lab;
  TapConfig config = lab.config();
  REQUIRE(lab.attach(config).ok());
  config.addresses = {*parse_address("10.42.0.6")};
  auto again = lab.attach(config);
  REQUIRE(again.ok());
  lab.inside([&](Netlink& netlink) {
    auto addresses = netlink.list_addresses(netlink.get_link("eth0").value().index);
    REQUIRE(addresses.ok());
    REQUIRE(addresses.value().size() == 1);
    CHECK(to_string(addresses.value()[0]) == "10.42.0.6");
  });
}

TEST_CASE("the queue discipline is the configured one, on a new TAP and on a re-attached one") {
  NEEDS_TAP();
  Lab lab;
  TapConfig config = lab.config();
  for (const char* kind : {"pfifo_fast", "noqueue", "noqueue"}) {
    CAPTURE(kind);
    config.queue_discipline = kind;
    REQUIRE(lab.attach(config).ok());
    lab.inside([&](Netlink& netlink) {
      CHECK(netlink.queue_discipline(netlink.get_link("eth0").value().index).value() == kind);
    });
  }
  config.queue_discipline = "no-such";
  const auto refused = lab.attach(config);
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.error().code == "netlink-queue-discipline");
}

TEST_CASE("kernel settings are written in the folder that the config names, and in no other") {
  NEEDS_TAP();
  Lab lab;
  TapConfig config = lab.config();
  char scratch[] = "/tmp/weft-sysctl-XXXXXX";
  REQUIRE(::mkdtemp(scratch) != nullptr);
  const std::filesystem::path folder = std::filesystem::path(scratch) / "net/ipv6/conf/eth0";
  std::filesystem::create_directories(folder);
  const std::array names{"accept_ra", "accept_dad", "disable_ipv6"};
  for (const char* name : names) std::ofstream(folder / name) << "1\n";
  config.sysctl = scratch;
  REQUIRE(lab.attach(config).ok());
  for (const char* name : names) {
    CAPTURE(name);
    char value = 0;
    CHECK(std::ifstream(folder / name).get(value).good());
    CHECK(value == '0');
  }
  std::filesystem::remove_all(scratch);
  lab.inside([](Netlink&) {
    char value = 0;
    CHECK(std::ifstream("/proc/sys/net/ipv6/conf/eth0/accept_ra").get(value).good());
    CHECK(value == '1');
  });
}

TEST_CASE("what cannot be attached is refused with its own code and leaves nothing behind") {
  NEEDS_TAP();
  Lab lab;
  const size_t descriptors = open_descriptors();
  const uint32_t links = lab.nursery_links();
  SUBCASE("held by another") {
    auto holder = lab.attach(lab.config());
    REQUIRE(holder.ok());
    const auto second = lab.attach(lab.config());
    REQUIRE_FALSE(second.ok());
    CHECK(second.error().code == "tap-busy");
    CHECK(second.error().errno_value == EBUSY);
    holder.value().descriptor.reset();
  }
  SUBCASE("made with other flags") {
    lab.inside([&](Netlink& netlink) {
      const Descriptor tun(::open("/dev/net/tun", O_RDWR | O_CLOEXEC));
      ifreq request{};
      std::strcpy(request.ifr_name, "eth0");
      request.ifr_flags = IFF_TAP | IFF_NO_PI;
      REQUIRE(::ioctl(tun.get(), TUNSETIFF, &request) == 0);
      REQUIRE(::ioctl(tun.get(), TUNSETPERSIST, 1UL) == 0);
      REQUIRE(netlink.set_mac(netlink.get_link("eth0").value().index, "eth0", lab.config().mac).ok());
    });
    CHECK(lab.attach(lab.config()).error().code == "tap-flags");
  }
  SUBCASE("the name is another interface's") {
    TapConfig config = lab.config();
    config.ifname = "lo";
    CHECK(lab.attach(config).error().code == "tap-taken");
  }
  SUBCASE("another MAC: another port's device") {
    REQUIRE(lab.attach(lab.config()).ok());
    TapConfig config = lab.config();
    config.mac[5] = 6;
    CHECK(lab.attach(config).error().code == "tap-taken");
  }
  SUBCASE("the namespace is gone") {
    TapConfig config = lab.config();
    config.netns = "/run/netns/weft-never-was";
    CHECK(lab.attach(config).error().code == "namespace-gone");
  }
  SUBCASE("the path is a file") {
    TapConfig config = lab.config();
    config.netns = "/etc/passwd";
    CHECK(lab.attach(config).error().code == "namespace-gone");
  }
  SUBCASE("the path is another kind of namespace") {
    TapConfig config = lab.config();
    config.netns = "/proc/self/ns/uts";
    CHECK(lab.attach(config).error().code == "namespace-not-network");
  }
  SUBCASE("the kernel refuses a value half-way: the device is undone") {
    TapConfig config = lab.config();
    config.mtu = 70'000;
    const auto refused = lab.attach(config);
    REQUIRE_FALSE(refused.ok());
    CHECK(refused.error().code == "netlink-link-mtu");
    CHECK(refused.error().errno_value == EINVAL);
    CHECK_FALSE(lab.link().has_value());
  }
  CHECK(open_descriptors() == descriptors);
  CHECK(lab.nursery_links() == links);
}

TEST_CASE("removal deletes the device wherever it is, and is content when it is gone") {
  NEEDS_TAP();
  Lab lab;
  auto tap = lab.attach(lab.config());
  REQUIRE(tap.ok());
  SUBCASE("in place") {}
  SUBCASE("renamed by the pod") {
    lab.inside([&](Netlink& netlink) {
      const int index = netlink.get_link("eth0").value().index;
      auto here = NamespaceFile::open("/proc/thread-self/ns/net");
      REQUIRE(netlink.set_up(index, "eth0", false).ok());
      REQUIRE(netlink.move_link(index, here.value().get(), "mine").ok());
    });
  }
  SUBCASE("deleted by the pod") {
    lab.inside([&](Netlink& netlink) {
      REQUIRE(netlink.delete_link(netlink.get_link("eth0").value().index, "eth0").ok());
    });
    CHECK(tap_alive(tap.value().descriptor.get(), "eth0").error().code == "tap-gone");
  }
  SUBCASE("the path is gone") {
    lab.pod.end();
  }
  CHECK(lab.remove(lab.config(), std::move(tap.value().descriptor)).ok());
  if (lab.pod.made() && std::filesystem::exists(lab.pod.path())) {
    CHECK_FALSE(lab.link("eth0").has_value());
    CHECK_FALSE(lab.link("mine").has_value());
  }
}

TEST_CASE("removal without a descriptor deletes only the interface that is this port's") {
  NEEDS_TAP();
  Lab lab;
  REQUIRE(lab.attach(lab.config()).ok());
  TapConfig other = lab.config();
  other.mac[5] = 9;
  CHECK(lab.remove(other, {}).ok());
  CHECK(lab.link().has_value());
  CHECK(lab.remove(lab.config(), {}).ok());
  CHECK_FALSE(lab.link().has_value());
}

TEST_CASE("a namespace whose path is gone is told from its identity, although the descriptor holds it") {
  NEEDS_TAP();
  Lab lab;
  auto tap = lab.attach(lab.config());
  REQUIRE(tap.ok());
  const io::NamespaceIdentity identity = tap.value().identity;
  CHECK(io::namespace_is_still(lab.config().netns, identity));
  CHECK_FALSE(io::namespace_is_still(lab.config().netns, {identity.device, identity.inode + 1}));
  lab.pod.end();
  CHECK_FALSE(io::namespace_is_still(lab.config().netns, identity));
  // The owner closes it for that reason; until then the device is there.
  CHECK(io::tap_alive(tap.value().descriptor.get(), "eth0").ok());
}

TEST_CASE("a device that was deleted says so when it is read and written") {
  NEEDS_TAP();
  Lab lab;
  auto tap = lab.attach(lab.config());
  REQUIRE(tap.ok());
  TapDevice device(std::move(tap.value().descriptor), tap.value().udp_segmentation);
  lab.inside([&](Netlink& netlink) {
    REQUIRE(netlink.delete_link(netlink.get_link("eth0").value().index, "eth0").ok());
  });
  std::array<uint8_t, 2048> buffer;
  // Frames that were under way may still come out first.
  ReceiveStatus status = ReceiveStatus::empty;
  for (int i = 0; i < 500 && status != ReceiveStatus::gone; ++i) {
    status = device.receive(buffer).status;
    if (status == ReceiveStatus::empty) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  CHECK(status == ReceiveStatus::gone);
  CHECK(device.send(std::span<const uint8_t>(buffer).first(64)) == SendStatus::gone);
}

TEST_CASE("an adopted descriptor is checked against the port that claims it") {
  NEEDS_TAP();
  Lab lab;
  auto tap = lab.attach(lab.config());
  REQUIRE(tap.ok());
  const auto duplicate = [&] { return Descriptor(::dup(tap.value().descriptor.get())); };
  CHECK(adopt_tap(lab.config(), duplicate()).value().origin == TapOrigin::adopted);
  TapConfig other = lab.config();
  other.mac[5] = 9;
  CHECK(adopt_tap(other, duplicate()).error().code == "tap-taken");
  const PodNamespace elsewhere;
  other = lab.config();
  other.netns = elsewhere.path();
  CHECK(adopt_tap(other, duplicate()).error().code == "tap-taken");
  lab.inside([&](Netlink& netlink) {
    REQUIRE(netlink.delete_link(netlink.get_link("eth0").value().index, "eth0").ok());
  });
  CHECK(adopt_tap(lab.config(), duplicate()).error().code == "tap-gone");
}

TEST_CASE("a frame that a packet socket sends with its vnet header is what the device receives") {
  NEEDS_TAP();
  Lab lab;
  auto tap = lab.attach(lab.config());
  REQUIRE(tap.ok());
  TapDevice device(std::move(tap.value().descriptor), tap.value().udp_segmentation);
  std::optional<Result<RawSocket>> socket;
  lab.thread->run([&](const NamespaceContext& context) {
    socket.emplace(RawSocket::open(context, lab.pod.path(), "eth0", true));
  });
  REQUIRE(socket->ok());
  std::array<uint8_t, 10 + 60> sent{};
  for (size_t i = 0; i < 60; ++i) sent[10 + i] = static_cast<uint8_t>(i * 3 + 1);
  REQUIRE(socket->value().send(sent) == static_cast<int64_t>(sent.size()));
  std::array<uint8_t, 4096> buffer;
  bool found = false;
  // The pod's own chatter (multicast listener reports) comes out of the same device.
  for (int i = 0; i < 1000 && !found; ++i) {
    const Received received = device.receive(buffer);
    if (received.status != ReceiveStatus::frame) continue;
    found = received.length == sent.size() && std::memcmp(buffer.data() + 10, sent.data() + 10, 60) == 0;
  }
  CHECK(found);
}

TEST_CASE("writing to an interface that is down says so") {
  NEEDS_TAP();
  Lab lab;
  auto tap = lab.attach(lab.config());
  REQUIRE(tap.ok());
  TapDevice device(std::move(tap.value().descriptor), tap.value().udp_segmentation);
  lab.inside([&](Netlink& netlink) {
    REQUIRE(netlink.set_up(netlink.get_link("eth0").value().index, "eth0", false).ok());
  });
  const std::array<uint8_t, 10 + 60> frame{};
  CHECK(device.send(frame) == SendStatus::down);
}

TEST_CASE("a host port has its routes by way of the gateway and leaves the rest of the namespace alone") {
  NEEDS_TAP();
  Lab lab;
  // The pod's namespace plays the node's.
  TapConfig config = lab.config();
  config.host = true;
  config.netns = lab.pod.path();
  config.ifname = "weft0";
  config.routes = {{*parse_network("10.42.0.0/16"), {}, {}}, {*parse_network("fd00::/64"), {}, {}}};
  std::optional<Result<Changes>> configured;
  std::optional<Link> loopback;
  Descriptor held;
  lab.inside([&](Netlink& netlink) {
    Descriptor tun(::open("/dev/net/tun", O_RDWR | O_CLOEXEC));
    ifreq request{};
    std::strcpy(request.ifr_name, "weft0");
    request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
    REQUIRE(::ioctl(tun.get(), TUNSETIFF, &request) == 0);
    held = std::move(tun);
    REQUIRE(netlink.find_link("lo").ok());
  });
  lab.thread->run(
      [&](const NamespaceContext& context) { configured.emplace(configure_tap(context, config)); });
  REQUIRE_MESSAGE(configured->ok(), (configured->ok() ? "" : configured->error().message));
  loopback = lab.link("lo");
  CHECK_FALSE(loopback->up);
  CHECK(lab.link("weft0")->up);
}

}  // namespace
}  // namespace weft::io
