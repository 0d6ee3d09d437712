// What the pod's network namespace holds, as seen by the plugin. The runtime's path is certain to mean
// something here, where the runtime itself runs; the agent compares what is found with what should be there.
#pragma once

#include <cstdint>
#include <string>

namespace weft::cni {

struct Entering {
  enum State : uint8_t {
    entered,
    missing,  // no such path, or nothing mounted there
    other,    // not a network namespace
    own,      // the plugin's own
    closed,   // it may not be entered
  };
  State state = entered;
  const char* call = nullptr;  // that failed, where one did
  int number = 0;              // its errno
};

// Enters the network namespace of the path and stays in it: a plugin has nothing else to do afterwards that
// would depend on it (unix sockets by path belong to the mount namespace). `allow_own`: CNI_NETNS_OVERRIDE.
Entering enter_namespace(const std::string& path, bool allow_own);

// Enters the namespace and gives one JSON object:
//   state      "ok", or "missing", "other", "own", "closed" as above
//   error      the failed call, where there is one
//   interface  where the state is ok: null, or {name, kind, mac, mtu, up, addresses: ["10.42.0.5/32"],
//              routes: [{dst, gw?}]}, the routes of the main table that leave by the interface
// `whole`: addresses and routes too.
std::string look_into_namespace(const std::string& path, const std::string& interface, bool whole,
                                bool allow_own);

}  // namespace weft::cni
