// The transport part of parse(): TCP, UDP, SCTP, ICMP, ICMPv6 with the quoted packet of an error; anything
// else is an opaque payload.
#pragma once

#include "generated/drop_reason.h"
#include "packet/packet.h"

namespace weft {

// packet has everything of the network layer; fills ports, payload and the protocol's own fields.
[[nodiscard]] DropReason parse_transport(Packet& packet);

// The same for ICMP and ICMPv6, whole packets and first fragments of at least 8 bytes.
[[nodiscard]] DropReason parse_icmp(Packet& packet);

}  // namespace weft
