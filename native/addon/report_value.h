// What the switch says of itself when it is asked, as JavaScript values of the protocol's form.
#pragma once

#include <napi.h>

#include <string>

#include "addon/data_plane.h"

namespace weft::addon {

// {generation, workers, …}: the switch as a whole. `image_bytes`: size of the image in force.
Napi::Object to_figures(Napi::Env env, const DataPlane& plane, size_t image_bytes);
// {ports: [{id, …, drops}], drops}; `drops` are those of ports that are gone. Of one port where `only` is not
// empty.
Napi::Object to_counters(Napi::Env env, const Snapshot& snapshot, const std::string& only);
// [{protocol, family, source, destination, …}], `limit` at the most; of one port where `only` is not empty.
Napi::Array to_connections(Napi::Env env, const DataPlane& plane, uint32_t limit, const std::string& only);
// [{id, code, message}]
Napi::Array to_broken(Napi::Env env, const std::vector<BrokenPort>& ports);

}  // namespace weft::addon
