// What the switch tells of flows and captured frames, as JavaScript values of the protocol's form.
#pragma once

#include <napi.h>

#include "addon/data_plane.h"

namespace weft::addon {

// `offset`: nanoseconds from the workers' clock to 1970. Rules are named by the image that judged, if it is
// still known.
Napi::Object to_flow(Napi::Env env, const DataPlane& plane, const FlowEvent& event, double offset);
// {actual, shadow}
Napi::Object to_trial(Napi::Env env, const DataPlane& plane, const TrialEvent& event, double offset);
// {time: nanoseconds since 1970 as text, port, direction, length, data, …}; `port`: id of the one captured
// on.
Napi::Object to_captured(Napi::Env env, const DataPlane& plane, const Captured& captured,
                         const std::string& port, double offset);

}  // namespace weft::addon
