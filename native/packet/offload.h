// The hostile vnet header compared with a parsed packet; see the essay in parse.h.
#pragma once

#include "generated/drop_reason.h"
#include "header/vnet.h"
#include "packet/packet.h"

namespace weft {

// Fills packet.vnet from what `hostile` claims, or says why the claim cannot be. `removed`: bytes taken out
// of the frame in front of the IP header since `hostile` was written.
[[nodiscard]] DropReason rebuild_offload(Packet& packet, const VnetHeader& hostile, uint32_t removed);

}  // namespace weft
