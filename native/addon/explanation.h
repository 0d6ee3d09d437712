// What the switch would do with a connection, for JavaScript.
#pragma once

#include <napi.h>

#include <functional>

#include "packet/flow.h"
#include "switch/explain.h"

namespace weft::addon {

// {source, destination: 16 bytes each, family, protocol, port}, validated by TypeScript.
FlowTuple read_question(const Napi::Object& question);
// {generation, image, from?, service?, ways}; `port_id` names a port by its index.
Napi::Object to_explanation(Napi::Env env, const Explained& explained, uint8_t protocol,
                            const std::function<const std::string*(PortIndex)>& port_id);

}  // namespace weft::addon
