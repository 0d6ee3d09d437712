#include "cni/call.h"

#include <unistd.h>

#include <algorithm>

#include "cni/connection.h"
#include "cni/json.h"

namespace weft::cni {

namespace {

constexpr std::string_view kPrefix = "CNI_";

// Bytes of a network configuration; one with the attachments of 500 pods (GC) has 60 KB. Escaped into a line
// it stays below what the agent reads.
constexpr size_t kLongestInput = 512 * 1024;
constexpr int64_t kInputMilliseconds = 10'000;

struct Needed {
  std::string_view command;
  bool container;  // CNI_CONTAINERID and CNI_IFNAME
  bool network_namespace;
};

// CNI_PATH is named as required too, but nothing of weft calls another plugin.
constexpr Needed kCommands[] = {
    {"ADD", true, true},  {"DEL", true, false},     {"CHECK", true, true},
    {"GC", false, false}, {"STATUS", false, false}, {"VERSION", false, false},
};

bool is_alphanumeric(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool is_container_id(std::string_view text) {
  if (text.empty() || !is_alphanumeric(text.front())) return false;
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return is_alphanumeric(c) || c == '_' || c == '.' || c == '-'; });
}

bool is_interface_name(std::string_view text) {
  if (text.empty() || text.size() > 15 || text == "." || text == "..") return false;
  return std::none_of(text.begin(), text.end(),
                      [](char c) { return c == '/' || c == ':' || c == ' ' || (c >= '\t' && c <= '\r'); });
}

Failure invalid(std::string_view name, std::string_view value, std::string_view allowed) {
  return {kInvalidEnvironment, "invalid environment variable " + std::string(name),
          std::string(name) + " is \"" + std::string(value.substr(0, 200)) + "\"; it has to be " +
              std::string(allowed) + "."};
}

}  // namespace

Environment cni_environment(const char* const* variables) {
  Environment found;
  for (; variables != nullptr && *variables != nullptr; variables++) {
    const std::string_view entry = *variables;
    const size_t equals = entry.find('=');
    if (equals == std::string_view::npos || !entry.starts_with(kPrefix)) continue;
    found.emplace_back(entry.substr(0, equals), entry.substr(equals + 1));
  }
  return found;
}

std::string_view variable(const Environment& environment, std::string_view name) {
  for (const auto& [key, value] : environment)
    if (key == name) return value;
  return {};
}

bool allows_own_namespace(const Environment& environment) {
  const std::string_view value = variable(environment, "CNI_NETNS_OVERRIDE");
  constexpr std::string_view kTrue = "TRUE";
  return value == "1" || (value.size() == kTrue.size() &&
                          std::equal(value.begin(), value.end(), kTrue.begin(),
                                     [](char given, char wanted) { return (given & ~0x20) == wanted; }));
}

std::optional<Failure> check_environment(const Environment& environment) {
  const std::string_view command = variable(environment, "CNI_COMMAND");
  if (command.empty())
    return Failure{kInvalidEnvironment, "required environment variables are missing: CNI_COMMAND",
                   "This program is a CNI plugin, which a container runtime calls."};
  const auto* const needed = std::find_if(std::begin(kCommands), std::end(kCommands),
                                          [&](const Needed& one) { return one.command == command; });
  if (needed == std::end(kCommands))
    return invalid("CNI_COMMAND", command, "ADD, DEL, CHECK, GC, STATUS or VERSION");
  const std::string_view container = variable(environment, "CNI_CONTAINERID");
  const std::string_view interface = variable(environment, "CNI_IFNAME");
  std::string missing;
  const auto miss = [&](std::string_view name, bool needs, std::string_view value) {
    if (!needs || !value.empty()) return;
    if (!missing.empty()) missing += ", ";
    missing += name;
  };
  miss("CNI_CONTAINERID", needed->container, container);
  miss("CNI_NETNS", needed->network_namespace, variable(environment, "CNI_NETNS"));
  miss("CNI_IFNAME", needed->container, interface);
  if (!missing.empty())
    return Failure{kInvalidEnvironment, "required environment variables are missing: " + missing,
                   std::string(command) + " needs them."};
  if (needed->container && !is_container_id(container))
    return invalid("CNI_CONTAINERID", container,
                   "a letter or digit, then letters, digits, underscores, dots and hyphens");
  if (needed->container && !is_interface_name(interface))
    return invalid("CNI_IFNAME", interface, "an interface name of at most 15 bytes without /, : and spaces");
  return std::nullopt;
}

std::optional<Failure> read_call(const char* const* variables, Call& call) {
  call.environment = cni_environment(variables);
  call.command = variable(call.environment, "CNI_COMMAND");
  if (auto failure = check_environment(call.environment)) return failure;
  if (call.command == "VERSION") return std::nullopt;
  Input input = read_all(STDIN_FILENO, kLongestInput, now_milliseconds() + kInputMilliseconds);
  if (!input.error.empty())
    return Failure{kInputFailure, "the network configuration cannot be read",
                   "Standard input: " + input.error + "."};
  call.configuration = std::move(input.text);
  return std::nullopt;
}

Configuration read_configuration(std::string_view text) {
  constexpr uint64_t kLongest = 3'600'000;
  Configuration configuration;
  JsonMembers members(text);
  while (auto member = members.next()) {
    const auto milliseconds = [&](int& value) {
      const auto number = json_number(member->value);
      if (number) value = static_cast<int>(std::min(*number, kLongest));
    };
    if (member->key == "cniVersion")
      configuration.version = json_string(member->value).value_or("");
    else if (member->key == "runDir")
      configuration.socket = json_string(member->value).value_or("/run/weft") + "/agent.sock";
    else if (member->key == "connectTimeout")
      milliseconds(configuration.connect_milliseconds);
    else if (member->key == "answerTimeout")
      milliseconds(configuration.answer_milliseconds);
  }
  return configuration;
}

std::string request_line(const Environment& environment, std::string_view configuration,
                         std::string_view network_namespace) {
  std::string line = "{\"type\":\"cni\",\"id\":1,\"environment\":{";
  bool first = true;
  for (const auto& [name, value] : environment) {
    if (!first) line.push_back(',');
    first = false;
    append_json_string(line, name);
    line.push_back(':');
    append_json_string(line, value);
  }
  line += "},\"stdin\":";
  append_json_string(line, configuration);
  if (!network_namespace.empty()) {
    line += ",\"namespace\":";
    line += network_namespace;
  }
  line += "}\n";
  return line;
}

Answered read_answer(std::string_view line) {
  std::string type;
  std::string message;
  std::optional<uint64_t> status;
  std::optional<std::string> output;
  JsonMembers members(line);
  while (auto member = members.next()) {
    if (member->key == "type") type = json_string(member->value).value_or("");
    if (member->key == "message") message = json_string(member->value).value_or("");
    if (member->key == "exitStatus") status = json_number(member->value);
    if (member->key == "stdout") output = json_string(member->value);
  }
  if (!members.broken() && type == "cni" && status && *status < 256 && output)
    return {Answer{static_cast<int>(*status), std::move(*output)}, {}};
  if (!members.broken() && type == "error" && !message.empty()) return {std::nullopt, std::move(message)};
  return {std::nullopt, "It answered something else than a CNI answer; are agent and plugin of one version?"};
}

}  // namespace weft::cni
