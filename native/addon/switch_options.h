// Options, port specifications and settings as JavaScript passes them, to the switch's structs.
#pragma once

#include <napi.h>

#include "addon/data_plane.h"

namespace weft::addon {

DataPlaneOptions read_options(const Napi::Object& object);
// Error spec-invalid: text that TypeScript should have refused.
Result<PortConfig> read_port(const Napi::Object& object, const DataPlaneOptions& options);
// Fields that are absent keep what `live` has.
void read_live_settings(const Napi::Object& object, LiveSettings& live);
void read_timeouts(const Napi::Object& object, Timeouts& timeouts);

}  // namespace weft::addon
