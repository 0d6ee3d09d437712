// Frame and vnet header, both hostile, to a typed Packet or exactly one drop reason.
//
// One pass from the front, no allocation, no virtual call; what an established flow does not need (options,
// quoted packets, neighbour discovery) is reached only by packets that carry it. Every length is compared
// with the bytes that are there before it is used, and the bytes after the IP packet (Ethernet padding) are
// cut off, so that nothing later can see them.
//
// The vnet header (virtio 1.2 section 5.1.6) is a claim, too: a pod can write any of it through a packet
// socket. What it says is compared with the frame, and a new one is built:
//   * no claim: the writer gets flags 0 and the receiver's kernel verifies the checksum. DATA_VALID ("already
//   verified") is
//     never believed nor passed on.
//   * NEEDS_CSUM: must start at this packet's transport header, at TCP's or UDP's checksum field, in a packet
//   that is not a fragment.
//   * GSO: the type must be that of the transport, with NEEDS_CSUM, with a plausible segment size, on a
//   packet that is no fragment and
//     carries neither SYN nor RST. UFO is refused: nothing that weft creates offers it.
//
// Left to the switch: whose MAC and address it is, multicast and broadcast destinations, redirects, MLD.
#pragma once

#include "generated/drop_reason.h"
#include "header/vnet.h"
#include "packet/packet.h"

namespace weft {

// Smallest gso_size taken. TCP: 88 (Linux' smallest TCP_MAXSEG) less 40 bytes of options. UDP: real segments
// are longer, and the number of datagrams is bounded as well (Linux: UDP_MAX_SEGMENTS).
inline constexpr uint16_t kMinTcpGsoSize = 48;
inline constexpr uint16_t kMinUdpGsoSize = 8;
inline constexpr uint32_t kMaxUdpSegments = 128;

// In: packet.frame, length (bytes received) and capacity; all else is overwritten as far as the packet's kind
// has it. A priority tag (VLAN 0) is taken off: `frame` moves 4 bytes forward, length and capacity shrink.
// Out: DropReason::none, or the reason; then the fields are not to be used, except those of the Ethernet
// header.
[[nodiscard]] DropReason parse(Packet& packet, const VnetHeader& hostile);

// Whether a packet may have these addresses at all (RFC 1122 section 3.2.1.3, RFC 4291 section 2.5). parse()
// refuses what may not with `address_invalid`.
[[nodiscard]] bool addresses_valid(const FlowTuple& tuple);

}  // namespace weft
