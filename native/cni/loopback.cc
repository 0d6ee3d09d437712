// loopback: the CNI plugin that every runtime calls beside the network's own, here without a dependency on
// the host. It brings `lo` up in the container's network namespace. It needs no agent: a pod without a
// network must have its loopback too.
//
// ADD answers the interface and its addresses in the version asked for, or the previous result where it
// stands behind another plugin in a chain. CHECK wants `lo` up; DEL takes it down and is content when the
// namespace is gone.
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <optional>
#include <string>

#include "cni/call.h"
#include "cni/connection.h"
#include "cni/descriptor.h"
#include "cni/failure.h"
#include "cni/json.h"
#include "cni/namespace.h"

extern char** environ;

namespace {

using namespace weft::cni;

struct Plan {
  std::string version;
  std::string previous;  // the previous result as it stands, or ""
};

int fail(const Failure& failure, std::string_view version) {
  write_all(STDOUT_FILENO, failure_json(failure, version));
  return 1;
}

std::optional<Failure> read_plan(std::string_view text, Plan& plan) {
  bool named = false;
  JsonMembers members(text);
  while (auto member = members.next()) {
    if (member->key == "cniVersion") plan.version = json_string(member->value).value_or("");
    if (member->key == "name") named = !json_string(member->value).value_or("").empty();
    if (member->key == "prevResult" && member->value != "null") plan.previous = member->value;
  }
  if (members.broken())
    return Failure{kDecodingFailure, "the network configuration cannot be decoded", "It is no JSON object."};
  if (!is_supported_version(plan.version))
    return Failure{
        kIncompatibleVersion, "incompatible CNI version",
        "The configuration has cniVersion \"" + plan.version + "\"; this plugin speaks 0.3.0 to 1.1.0."};
  if (!named) return Failure{7, "invalid network configuration", "The field name is missing."};
  return std::nullopt;
}

// Position in the list of versions, which is their order.
size_t rank(std::string_view version) {
  size_t place = 0;
  while (place < std::size(kVersions) && kVersions[place] != version) place++;
  return place;
}

// Why the namespace was not entered. A DEL in the host's own would take its loopback down.
std::string refusal(const Entering& entering) {
  if (entering.state == Entering::other || entering.number == ENOTTY) return "it is not a network namespace";
  if (entering.state == Entering::own)
    return "it is the runtime's own network namespace (CNI_NETNS_OVERRIDE=1 allows it)";
  return std::string(entering.call) + ": " + ::strerror(entering.number);
}

// Reads, and with a `wanted` sets, whether `lo` is up.
std::string loopback_up(std::optional<bool> wanted, bool& up) {
  const Descriptor socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket.valid()) return "socket: " + std::string(::strerror(errno));
  ifreq request{};
  std::memcpy(request.ifr_name, "lo", 3);
  if (::ioctl(socket.get(), SIOCGIFFLAGS, &request) != 0)
    return "ioctl(SIOCGIFFLAGS): " + std::string(::strerror(errno));
  up = (request.ifr_flags & IFF_UP) != 0;
  if (!wanted || *wanted == up) return {};
  request.ifr_flags = static_cast<short>(*wanted ? request.ifr_flags | IFF_UP : request.ifr_flags & ~IFF_UP);
  if (::ioctl(socket.get(), SIOCSIFFLAGS, &request) != 0)
    return "ioctl(SIOCSIFFLAGS): " + std::string(::strerror(errno));
  up = *wanted;
  return {};
}

std::string result_json(const Plan& plan, const std::string& path) {
  if (!plan.previous.empty()) return plan.previous + "\n";
  const bool versioned = rank(plan.version) < rank("1.0.0");
  std::string json = "{\"cniVersion\":";
  append_json_string(json, plan.version);
  json += ",\"interfaces\":[{\"name\":\"lo\",\"mac\":\"00:00:00:00:00:00\",\"sandbox\":";
  append_json_string(json, path);
  json += "}],\"ips\":[";
  const auto address = [&](const char* family, const char* text) {
    json.push_back('{');
    if (versioned) json += "\"version\":\"" + std::string(family) + "\",";
    json += "\"interface\":0,\"address\":\"" + std::string(text) + "\"}";
  };
  address("4", "127.0.0.1/8");
  // The kernel gives it to the interface as soon as that is up, where it has IPv6.
  if (::access("/proc/sys/net/ipv6", F_OK) == 0) {
    json.push_back(',');
    address("6", "::1/128");
  }
  return json + "]}\n";
}

int run() {
  Call call;
  if (const auto failure = read_call(environ, call)) return fail(*failure, kNewestVersion);
  const std::string& command = call.command;
  if (command == "VERSION") return write_all(STDOUT_FILENO, version_json()) ? 0 : 1;
  Plan plan;
  if (const auto failure = read_plan(call.configuration, plan)) return fail(*failure, plan.version);
  const char* const since = command == "CHECK"                       ? "0.4.0"
                            : command == "GC" || command == "STATUS" ? "1.1.0"
                                                                     : "0.3.0";
  if (rank(plan.version) < rank(since))
    return fail({kIncompatibleVersion, "incompatible CNI version",
                 command + " exists from " + since + " on; the configuration has " + plan.version + "."},
                plan.version);
  if (command == "GC" || command == "STATUS") return 0;

  const std::string path(variable(call.environment, "CNI_NETNS"));
  if (command == "DEL" && path.empty()) return 0;
  const Entering entering = enter_namespace(path, allows_own_namespace(call.environment));
  if (command == "DEL" && entering.state == Entering::missing) return 0;
  if (entering.state != Entering::entered)
    return fail({kInvalidEnvironment, "invalid environment variable CNI_NETNS",
                 "CNI_NETNS is " + path + ": " + refusal(entering)},
                plan.version);
  bool up = false;
  const std::optional<bool> wanted = command == "CHECK" ? std::nullopt : std::optional(command == "ADD");
  if (const std::string error = loopback_up(wanted, up); !error.empty())
    return fail({kInternal, "the loopback interface cannot be set", "lo in " + path + ": " + error},
                plan.version);
  if (command == "CHECK" && !up)
    return fail({102, "the loopback interface is down", "lo in " + path + " is not up."}, plan.version);
  if (command == "ADD") return write_all(STDOUT_FILENO, result_json(plan, path)) ? 0 : 1;
  return 0;
}

}  // namespace

int main() {
  keep_standard_streams();
  std::signal(SIGPIPE, SIG_IGN);
  return run();
}
