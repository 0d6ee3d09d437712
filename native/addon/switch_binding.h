// `Switch` for JavaScript (src/dataplane/addon.ts describes it).
#pragma once

#include <napi.h>

namespace weft::addon {
Napi::Function define_switch(Napi::Env env);
}
