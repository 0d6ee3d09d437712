// Network namespaces as the lab uses them. Everything here changes the calling thread's namespace, which is
// per thread, and restores it; call it on a thread of the lab's own, never on the JavaScript thread or one of
// libuv's.
#pragma once

#include <sys/socket.h>

#include <string>

#include "base/address.h"
#include "base/result.h"
#include "io/descriptor.h"

namespace weft::lab {

using io::Descriptor;

// A stay in another network namespace; the destructor returns. A thread that cannot return is of no use to
// anyone: it aborts.
class Visit {
 public:
  // Path of a namespace; empty: the one that the thread is in.
  static Result<Visit> enter(const std::string& path);
  Visit(Visit&&) noexcept = default;
  Visit& operator=(Visit&&) = delete;
  ~Visit();

 private:
  explicit Visit(Descriptor home) : home_(std::move(home)) {}
  Descriptor home_;
};

// Makes a network namespace with its loopback up and keeps it at `path` (created, then bind-mounted over)
// until remove_namespace. Runs on a thread of its own, which ends.
Status create_namespace(const std::string& path);
// Unmounts and removes; what is gone already is fine.
Status remove_namespace(const std::string& path);

// Brings `lo` of the calling thread's namespace up.
Status raise_loopback();

// Makes a TAP in the process's namespace and lets it go: whether a lab can run here. Errors: lab-tap-open
// (/dev/net/tun missing or not permitted), lab-tap-create.
Status prove_tap();

// A bound socket in the namespace at `path`, for servers that are written in JavaScript; TCP listens. On ::
// it serves IPv4 too.
enum class ServerKind : uint8_t { tcp, udp };
Result<int> open_server(const std::string& path, ServerKind kind, uint16_t port);

// A wildcard socket for both families where the kernel has IPv6, else for IPv4. Non-blocking, close-on-exec.
// Caller's namespace.
Result<Descriptor> bind_wildcard(int type, uint16_t port);

// Returns the length of the sockaddr written.
socklen_t to_sockaddr(const Address& address, uint8_t family, uint16_t port, sockaddr_storage& out);

}  // namespace weft::lab
