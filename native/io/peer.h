// Who is at the other end of a unix socket, as the kernel knows it.
#pragma once

#include <cstdint>

#include "base/result.h"

namespace weft::io {

struct PeerCredentials {
  int32_t pid = 0;
  uint32_t uid = 0;
  uint32_t gid = 0;
};

// SO_PEERCRED: the credentials of the process that connected, at that time. Error: peer-credentials.
Result<PeerCredentials> peer_credentials(int descriptor);

}  // namespace weft::io
