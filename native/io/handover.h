// The switch's end of the supervisor's socket (base/handover_wire.h describes the wire). Losing the
// supervisor is never an error for the switch: ports then survive a restart by namespace path instead. One
// thread: the namespace thread.
#pragma once

#include <map>
#include <string>

#include "base/handover_wire.h"
#include "base/result.h"
#include "io/descriptor.h"

namespace weft::io {

class Handover {
 public:
  Handover() = default;  // without a supervisor: everything is a no-op
  // Takes ownership of the inherited descriptor.
  explicit Handover(Descriptor socket);

  [[nodiscard]] bool connected() const { return socket_.valid(); }
  // All descriptors that were kept, by port id. Errors: handover-version, handover-receive; the socket is
  // closed then.
  Result<std::map<std::string, Descriptor>> claim();
  void store(const std::string& key, int descriptor);
  void forget(const std::string& key);

 private:
  bool send(const handover::Message& message, int descriptor);
  Descriptor socket_;
};

}  // namespace weft::io
