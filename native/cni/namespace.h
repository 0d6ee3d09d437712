// What the pod's network namespace holds, as seen by the plugin. The runtime's path is certain to mean
// something here, where the runtime itself runs; the agent compares what is found with what should be there.
#pragma once

#include <string>

namespace weft::cni {

// Whether an open namespace is the one that this process is in.
bool is_own_namespace(int descriptor);

// Enters the namespace and stays in it: the plugin has nothing else to do afterwards that would depend on it
// (unix sockets by path belong to the mount namespace). Gives one JSON object:
//   state      "ok", "missing" (no such path, or nothing mounted there), "other" (not a network namespace),
//   "own" (the
//              plugin's own), "closed" (it may not be entered)
//   error      the failed call, where there is one
//   interface  where the state is ok: null, or {name, kind, mac, mtu, up, addresses: ["10.42.0.5/32"],
//              routes: [{dst, gw?}]}, the routes of the main table that leave by the interface
// `whole`: addresses and routes too. `allow_own`: CNI_NETNS_OVERRIDE.
std::string look_into_namespace(const std::string& path, const std::string& interface, bool whole,
                                bool allow_own);

}  // namespace weft::cni
