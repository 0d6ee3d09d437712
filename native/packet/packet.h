// One frame and what the parser learnt of it. The bytes are attacker input; after parse() returned
// DropReason::none every offset below lies inside the frame, every length agrees with the others, and the
// vnet header is one that weft itself made.
//
// A Packet owns nothing: `frame` points into the buffer of whoever received it. Offsets, not pointers, so
// that a packet may be copied to another buffer (held fragments) by copying the bytes and changing `frame`.
// Fields are host order.
#pragma once

#include <cstdint>

#include "header/ethernet.h"
#include "header/vnet.h"
#include "packet/flow.h"

namespace weft {

enum class PacketKind : uint8_t {
  ip,         // IPv4 or IPv6; `tuple` is filled
  arp,        // see packet/neighbour.h; nothing else is filled
  neighbour,  // ICMPv6 neighbour discovery (router and neighbour messages, redirect); as ip, and see
              // packet/neighbour.h
};

enum class Fragment : uint8_t {
  none,   // a whole packet (an IPv6 atomic fragment, RFC 6946, too)
  first,  // offset 0 and more follow; holds the whole transport header
  later,  // any other; has no transport fields: ports are 0
};

// The packet that an ICMP error quotes, as the sender of the error saw it on the wire.
struct QuotedPacket {
  FlowTuple tuple;         // ports 0 where has_ports is false
  uint16_t l3_offset = 0;  // in the frame
  uint16_t l4_offset = 0;
  bool has_transport =
      false;  // its first 8 transport bytes are quoted (not for a later fragment or an unknown protocol)
  bool has_ports = false;  // has_transport, and the protocol has ports or it is an echo
};

struct Packet {
  uint8_t* frame = nullptr;  // Ethernet header first
  uint32_t length = 0;       // of the frame; parse() cuts Ethernet padding off
  uint32_t capacity = 0;     // bytes that may be written at `frame`

  // For the writer, rebuilt by parse(): flags 0, or a checksum that is still to be completed (csum_start is
  // l4_offset), with or without segmentation. Rewriting keeps it right.
  VnetHeader vnet;

  PacketKind kind = PacketKind::ip;
  Fragment fragment = Fragment::none;
  uint8_t ttl = 0;  // or hop limit
  uint8_t tos = 0;  // or traffic class

  uint16_t l3_offset = 0;       // always 14: parse() removes a priority tag
  uint16_t l4_offset = 0;       // first byte after the IP header and its extension headers
  uint16_t payload_offset = 0;  // first byte after the transport header; l4_offset where there is none
  uint32_t payload_length = 0;  // bytes from payload_offset on that the transport counts as its payload

  FlowTuple tuple;

  // Fragments. fragment_offset is in bytes of the IP payload and starts after the fragment header; an IPv6
  // later fragment's tuple.protocol is the fragment header's next header, which can be an extension header
  // (RFC 8200 section 4.5): match fragments of one packet by addresses and id, and for IPv4 by protocol too.
  uint32_t fragment_id = 0;
  uint32_t fragment_offset = 0;
  uint32_t fragment_length = 0;  // bytes of the original IP payload in this fragment
  bool more_fragments = false;
  bool atomic_fragment = false;  // IPv6: a fragment header, but a whole packet
  bool dont_fragment = false;    // IPv4 DF; always true for IPv6

  // TCP; the window scale is that of a SYN's option, 0xff where there is none.
  uint8_t tcp_flags = 0;
  uint8_t tcp_window_scale = 0xff;
  uint16_t tcp_window = 0;
  uint32_t tcp_sequence = 0;
  uint32_t tcp_acknowledgement = 0;

  // SCTP: the common header's tag and the first chunk.
  uint32_t sctp_tag = 0;
  uint32_t sctp_initiate_tag = 0;  // of INIT and INIT ACK, else 0
  uint8_t sctp_chunk = 0;
  uint8_t sctp_chunk_flags = 0;

  // ICMP and ICMPv6.
  uint8_t icmp_type = 0;
  uint8_t icmp_code = 0;
  bool icmp_error = false;  // `quoted` is filled (an IPv4 redirect counts as an error; the switch drops it)
  uint32_t icmp_rest = 0;   // bytes 4 to 7: id and sequence of an echo, MTU of "too big"
  QuotedPacket quoted;      // only where icmp_error

  [[nodiscard]] bool needs_checksum() const { return (vnet.flags & VnetHeader::kNeedsChecksum) != 0; }
  [[nodiscard]] bool is_gso() const { return vnet.gso_type != VnetHeader::kGsoNone; }
  // Bytes of the largest IP packet that this frame becomes on a wire: what an MTU is compared with.
  [[nodiscard]] uint32_t network_length() const {
    return is_gso() ? static_cast<uint32_t>(payload_offset - l3_offset) + vnet.gso_size : length - l3_offset;
  }
  // Packets that this frame becomes on a wire.
  [[nodiscard]] uint32_t segments() const {
    return is_gso() ? (payload_length + vnet.gso_size - 1) / vnet.gso_size : 1;
  }
  [[nodiscard]] EthernetHeader ethernet() const { return EthernetHeader(frame); }
  // TCP sequence numbers that the segment takes: payload, SYN and FIN.
  [[nodiscard]] uint32_t tcp_sequence_length() const {
    return payload_length + ((tcp_flags & 2) != 0 ? 1u : 0u) + ((tcp_flags & 1) != 0 ? 1u : 0u);
  }
};

}  // namespace weft
