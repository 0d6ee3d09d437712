// `Image` for JavaScript: a loaded policy image to be asked in bulk, as `weft policy verdict` and the
// property tests do.
#pragma once

#include <napi.h>

namespace weft::addon {
Napi::Function define_image(Napi::Env env);
}
