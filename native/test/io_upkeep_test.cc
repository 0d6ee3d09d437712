// What keeps a port's interface as it should be while others change it, and one process the only one of its
// kind.
#include <doctest/doctest.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <thread>

#include "io/file_lock.h"
#include "io/link_watch.h"
#include "io/nft_table.h"
#include "tap_lab.h"

namespace weft::io {
namespace {

TEST_CASE("an interface that is as it should be is left alone, and what is not is named and mended") {
  NEEDS_TAP();
  Lab lab;
  TapConfig config = lab.config();
  config.host = true;
  config.routes = {{*parse_network("10.42.0.0/16"), {}, {}}, {*parse_network("fd00::/64"), {}, {}}};
  auto tap = lab.attach(config);
  REQUIRE_MESSAGE(tap.ok(), (tap.ok() ? "" : tap.error().message));
  std::optional<LinkWatch> watch;
  lab.inside([&](Netlink&) {
    auto opened = LinkWatch::open();
    REQUIRE(opened.ok());
    watch.emplace(std::move(opened).value());
  });
  const auto configured = [&] {
    std::optional<Result<Changes>> result;
    lab.thread->run([&](const NamespaceContext& context) { result.emplace(configure_tap(context, config)); });
    REQUIRE_MESSAGE(result->ok(), (result->ok() ? "" : result->error().message));
    return result->value();
  };
  const auto heard = [&] {
    bool touched = false;
    // The index is asked for in the namespace.
    lab.inside([&](Netlink&) { touched = watch->touched(config); });
    return touched;
  };
  // The kernel has things to say by itself for a second or two after an interface comes up (a link-local
  // address made, found to be nobody else's), so silence is waited for. A look that changed something would
  // be heard after each.
  const auto check_right = [&] {
    bool silent = false;
    for (int look = 0; look < 100 && !silent; look++) {
      if (look > 0) std::this_thread::sleep_for(std::chrono::milliseconds(50));
      heard();
      CHECK(configured().empty());
      silent = !heard();
    }
    CHECK_MESSAGE(silent, "a look that finds nothing changes nothing");
  };
  check_right();
  const int index = lab.link()->index;
  const auto change = [&](const std::function<Status(Netlink&)>& deed, const std::string& name) {
    CAPTURE(name);
    lab.inside([&](Netlink& netlink) { REQUIRE(deed(netlink).ok()); });
    CHECK(heard());
    const Changes changes = configured();
    CHECK(std::find(changes.begin(), changes.end(), name) != changes.end());
    CHECK(heard());
    check_right();
  };
  change([&](Netlink& n) { return n.set_up(index, "eth0", false); }, "link down");
  change([&](Netlink& n) { return n.set_mtu(index, "eth0", 1400); }, "MTU 1400");
  change([&](Netlink& n) { return n.set_mac(index, "eth0", {2, 0, 0, 0, 0, 9}); }, "MAC address");
  change([&](Netlink& n) { return n.remove_address(index, "eth0", *parse_address("10.42.0.5")); },
         "address 10.42.0.5");
  change([&](Netlink& n) { return n.remove_address(index, "eth0", *parse_address("fd00::5")); },
         "address fd00::5");
  change([&](Netlink& n) { return n.add_address(index, "eth0", *parse_address("10.42.0.6")); },
         "address 10.42.0.6");
  change([&](Netlink& n) { return n.remove_route(index, "eth0", *parse_network("10.42.0.0/16")); },
         "route 10.42.0.0/16");
  change([&](Netlink& n) { return n.remove_route(index, "eth0", *parse_network("fd00::/64")); },
         "route fd00::/64");
  change(
      [&](Netlink& n) {
        Route route{*parse_network("10.42.0.0/16"), gateway_address(4), *parse_address("10.42.0.5")};
        return n.add_route(index, "eth0", route, true);
      },
      "route 10.42.0.0/16");
  // Towards where ours leads, on another interface.
  const int loopback = lab.link("lo")->index;
  change(
      [&](Netlink& n) {
        if (Status up = n.set_up(loopback, "lo", true); !up.ok()) return up;
        return n.add_route(loopback, "lo", {*parse_network("10.42.0.0/16"), {}, {}}, false);
      },
      "route 10.42.0.0/16");
}

TEST_CASE("a lock is one process's until its descriptor is closed, and outlives nobody") {
  const std::string path =
      std::filesystem::temp_directory_path() / ("weft-lock-" + std::to_string(::getpid()));
  auto first = lock_file(path);
  REQUIRE(first.ok());
  REQUIRE(first.value().has_value());
  auto second = lock_file(path);
  REQUIRE(second.ok());
  CHECK_FALSE(second.value().has_value());
  first.value().reset();
  auto third = lock_file(path);
  REQUIRE(third.ok());
  CHECK(third.value().has_value());
  std::filesystem::remove(path);
  CHECK(lock_file("/nonexistent/lock").error().code == "lock-open");
}

}  // namespace
}  // namespace weft::io
