// The lab's engines for JavaScript: namespaces, responders, probes. The module's initialiser calls this once.
#pragma once

#include <napi.h>

namespace weft::addon {
void register_lab(Napi::Env env, Napi::Object exports);
}
