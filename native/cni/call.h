// One call of a CNI plugin: what the runtime says in the environment and on standard input.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cni/failure.h"

namespace weft::cni {

// The variables whose names begin with CNI_, in the order of the environment.
using Environment = std::vector<std::pair<std::string, std::string>>;

// Of a null-terminated list such as `environ`.
Environment cni_environment(const char* const* variables);
// '' where it is not set, as the specification makes no difference.
std::string_view variable(const Environment& environment, std::string_view name);

// Whether the runtime means its own network namespace where it names that (CNI_NETNS_OVERRIDE, as the
// specification's library takes it).
bool allows_own_namespace(const Environment& environment);

// Code 4 with the names of all variables that the command needs and that are missing, or the first that is
// not valid. An unknown command is one.
std::optional<Failure> check_environment(const Environment& environment);

// One call as the runtime makes it.
struct Call {
  Environment environment;
  std::string command;
  std::string configuration;  // standard input; "" of VERSION
};
// Reads it, or says what is wrong with it (in no version that is known yet).
std::optional<Failure> read_call(const char* const* variables, Call& call);

// What the plugin itself takes out of the network configuration; everything else is the agent's.
struct Configuration {
  std::string version;  // "" where there is none, or none that can be read
  std::string socket = "/run/weft/agent.sock";
  int connect_milliseconds = 2000;
  int answer_milliseconds = 90'000;
};

// A configuration that is no JSON object gives what was read up to the mistake.
Configuration read_configuration(std::string_view text);

// One line of the agent's protocol, with its newline. `network_namespace` is what NamespaceReport gives, or
// "".
std::string request_line(const Environment& environment, std::string_view configuration,
                         std::string_view network_namespace);

struct Answer {
  int exit_status = 1;
  std::string output;
};

// The agent's answer, without its newline. A refusal (`error`) and what cannot be understood are failures.
struct Answered {
  std::optional<Answer> answer;
  std::string refusal;
};
Answered read_answer(std::string_view line);

}  // namespace weft::cni
