// Packet sockets for JavaScript: probing and capture outside of the switch.
#pragma once

#include <napi.h>

namespace weft::addon {
void register_raw_socket(Napi::Env env, Napi::Object exports);
}
