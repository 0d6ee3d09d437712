// One record of the hand-over (base/handover_wire.h) with the descriptor that travels with it, for both ends:
// the switch's (io/handover) and the supervisor's, which shares nothing else with the switch.
#pragma once

#include <sys/types.h>

#include "base/handover_wire.h"

namespace weft::handover {

struct Record {
  Message message;
  int descriptor = -1;      // the receiver's to close, also where the message is not understood
  bool understood = false;  // a whole message of our version
};

// A negative descriptor sends none. False when the record could not be sent whole.
bool send_record(int socket, const Message& message, int descriptor);

// Bytes received, 0 when the other end has closed, negative with errno otherwise. `flags` as recvmsg has
// them; descriptors always come with close-on-exec.
ssize_t receive_record(int socket, int flags, Record& record);

}  // namespace weft::handover
