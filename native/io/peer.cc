#include "io/peer.h"

#include <sys/socket.h>

#include "io/descriptor.h"

namespace weft::io {

Result<PeerCredentials> peer_credentials(int descriptor) {
  ucred credentials{};
  socklen_t length = sizeof credentials;
  if (::getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &credentials, &length) != 0)
    return call_failed("peer-credentials", "getsockopt(SO_PEERCRED)",
                       "descriptor " + std::to_string(descriptor));
  return PeerCredentials{credentials.pid, credentials.uid, credentials.gid};
}

}  // namespace weft::io
