// How long a connection may be silent, by protocol and state, in nanoseconds. The defaults follow Linux's
// where it has one; the established TCP time is RFC 5382's two hours and some (REQ-5) rather than Linux's
// five days, because a table on a small board is small.
#pragma once

#include <cstdint>

#include "base/time.h"

namespace weft {

struct Timeouts {
  uint64_t tcp_syn_sent = 30 * kSecond;      // a SYN, or SYNs from both ends, without an answer
  uint64_t tcp_syn_received = 30 * kSecond;  // a SYN ACK without the ACK that ends the handshake
  uint64_t tcp_established = 7440 * kSecond;
  uint64_t tcp_picked_up = 300 * kSecond;  // picked up mid-stream, the other end not heard yet
  uint64_t tcp_fin_wait = 120 * kSecond;   // one end has closed
  uint64_t tcp_closing = 30 * kSecond;     // both have, the last ACK is missing
  uint64_t tcp_time_wait = 60 * kSecond;
  uint64_t tcp_closed = 10 * kSecond;  // a reset was seen
  uint64_t udp_unreplied = 30 * kSecond;
  uint64_t udp_replied = 30 * kSecond;  // question and answer (DNS)
  uint64_t udp_stream = 180 * kSecond;  // both ends have talked for two seconds or more
  uint64_t sctp_handshake = 10 * kSecond;
  uint64_t sctp_established = 7440 * kSecond;
  uint64_t sctp_picked_up = 300 * kSecond;
  uint64_t sctp_shutdown = 10 * kSecond;
  uint64_t sctp_closed = 10 * kSecond;
  uint64_t icmp = 30 * kSecond;
  uint64_t other_unreplied = 60 * kSecond;
  uint64_t other_replied = 600 * kSecond;
  // A TCP connection or SCTP association that policy ended, counted from its last packet: longer than an end
  // goes on sending unacknowledged data, and than the two hours until it probes an idle connection (RFC 9293
  // sections 3.8.3 and 3.8.4).
  uint64_t denied = 7440 * kSecond;

  // The longest of them: a recovered deadline that lies further ahead is cut to it.
  [[nodiscard]] uint64_t longest() const;
};

}  // namespace weft
