// weft-cni: the CNI plugin, as small as it can be. It hands the call (environment and configuration, with
// what it sees in the pod's network namespace) to the agent of the node as one line, prints the agent's
// answer and ends with its exit status. What the network is and what an answer says is decided in one place,
// the agent. The agent keeps an ADD only when the plugin says that the runtime has taken it, so both have to
// be of one version.
//
// Alone it does what must not depend on an agent: VERSION, a bad environment (code 4), an agent that is away.
// Then ADD, DEL, CHECK and GC fail with code 11 and STATUS with code 50. That DEL fails too is on purpose:
// runtimes repeat it until it succeeds (kubelet calls StopPodSandbox again), while a DEL that reported
// success would leave the pod's address and port to the next reconciliation.
//
// A plugin that is killed closes its connection, and the agent undoes what it had begun. After an ADD the
// plugin says that its output was written; without that word the agent undoes the ADD as well.
//
// Static and free of the host: no locale, no name service, no dynamic loading. One thread; memory is freed by
// exit.
#include <unistd.h>

#include <csignal>
#include <string>

#include "cni/call.h"
#include "cni/connection.h"
#include "cni/descriptor.h"
#include "cni/failure.h"
#include "cni/namespace.h"

extern char** environ;

namespace {

using namespace weft::cni;

constexpr size_t kLongestAnswer = 4 * 1024 * 1024;
// How many times connectTimeout STATUS waits; with the default 10 s, which a kubelet (30 s) bears.
constexpr int64_t kStatusPatience = 5;

int fail(const Failure& failure, std::string_view version) {
  write_all(STDOUT_FILENO, failure_json(failure, version));
  write_all(STDERR_FILENO, "weft-cni: " + failure.message + ": " + failure.details + "\n");
  return 1;
}

int run() {
  Call call;
  if (const auto failure = read_call(environ, call)) return fail(*failure, kNewestVersion);
  const std::string& command = call.command;
  if (command == "VERSION") return write_all(STDOUT_FILENO, version_json()) ? 0 : 1;
  const Configuration configuration = read_configuration(call.configuration);

  const auto away = [&](const std::string& reason) {
    const int code = command == "STATUS" ? kNotAvailable : kTryAgainLater;
    return fail({code, "the weft agent of this node does not answer", configuration.socket + ": " + reason},
                configuration.version);
  };
  // All can wait for an agent that is being replaced, STATUS longest: a runtime that is refused makes a Node
  // NotReady of it (src/agent/cni-requests.ts).
  const int64_t patience =
      configuration.connect_milliseconds * (command == "STATUS" ? kStatusPatience : int64_t{1});
  std::string error;
  Connection connection = Connection::open(configuration.socket, now_milliseconds() + patience, error);
  if (!connection.valid()) return away(error + ". Is the agent running?");

  std::string seen;
  if (command == "ADD" || command == "CHECK")
    seen = look_into_namespace(std::string(variable(call.environment, "CNI_NETNS")),
                               std::string(variable(call.environment, "CNI_IFNAME")), command == "CHECK",
                               allows_own_namespace(call.environment));
  const int64_t deadline = now_milliseconds() + configuration.answer_milliseconds;
  error = connection.send(request_line(call.environment, call.configuration, seen), deadline);
  if (!error.empty()) return away(error + ".");
  const Input line = connection.receive_line(kLongestAnswer, deadline);
  if (!line.error.empty()) return away(line.error + ".");
  const Answered answered = read_answer(line.text);
  if (!answered.answer) return away(answered.refusal);
  if (!write_all(STDOUT_FILENO, answered.answer->output)) return 1;
  if (command == "ADD" && answered.answer->exit_status == 0)
    connection.send("{\"type\":\"cni-taken\",\"id\":1}\n", deadline);
  return answered.answer->exit_status;
}

}  // namespace

int main() {
  keep_standard_streams();
  std::signal(SIGPIPE, SIG_IGN);
  return run();
}
