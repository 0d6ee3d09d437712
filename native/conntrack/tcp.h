// TCP as seen from between the ends (RFC 9293, RFC 5961, RFC 7323).
//
// The switch is not an end: it must neither break what two odd stacks agree on nor let a third party move a
// connection. So windows are lenient (Linux's nf_conntrack_tcp_be_liberal): a segment outside of them passes,
// but teaches nothing and changes no state. The exception is a reset, which must lie in the window (RFC 5961
// section 3 asks the end for an exact match and so decides the rest), or, in answer to a SYN, acknowledge
// exactly it. The safe error is to pass data, which the end checks, and to drop a reset. A reset that is in
// the window but not where the end must believe it passes and changes nothing: a connection that is taken for
// closed while it lives would be forgotten, and then picked up in the other direction, out of the reach of
// the policy that its beginner is under. So does one from just before the window after a FIN, which every
// client that does not wait for the answer sends.
//
// A SYN within a live connection is passed (the end answers with a challenge ACK, RFC 5961 section 4) and
// changes nothing; after both FINs or a reset it begins a new connection, which has to be judged and
// translated anew: TcpVerdict::restart. So it is where an end answers such a SYN with a SYN ACK of another
// place than its window: it has given up the old connection without a word (its peer was out of reach, or
// policy kept the two apart). The SYN ACK goes with the old entry; the SYN, sent again, begins the new one.
// Followed by the old windows, the new connection could never be reset, and one that the other end began
// would never be judged.
//
// All fields are relaxed atomics: the two directions may be two workers. A lost race leaves a window that is
// one segment old.
#pragma once

#include <cstddef>
#include <cstdint>

#include "conntrack/entry.h"
#include "header/tcp.h"

namespace weft {

// Scale value for "not known": the largest that RFC 7323 allows is assumed, which is the lenient error.
inline constexpr uint8_t kUnknownScale = 0xff;
// No option, which is not the same as an option that says 0: without it the other end must not scale either.
inline constexpr uint8_t kNoScale = 0xfe;

struct TcpSegment {
  uint32_t sequence = 0;
  uint32_t acknowledgement = 0;
  uint32_t data_length = 0;       // payload octets; of the whole frame where it is GSO
  uint16_t window = 0;            // as in the header, not scaled
  uint8_t flags = 0;              // tcp_flag::k…
  uint8_t scale = kUnknownScale;  // only looked at with SYN: the option's value, kNoScale where it is absent
};

enum class TcpStart : uint8_t { begin, pick_up, refuse };
// What the first packet of an unknown connection may do: a SYN begins one, a segment with ACK is picked up
// mid-stream (after a restart or an eviction), a SYN ACK, a reset or a segment without ACK belongs to
// nothing.
TcpStart tcp_start(const TcpSegment& segment);

// Fills an entry's windows from its first packet and returns its state. Only for an entry that is being
// written (odd).
State tcp_open(Entry& entry, const TcpSegment& segment);

enum class TcpVerdict : uint8_t { pass, out_of_window, restart };
struct TcpStep {
  TcpVerdict verdict = TcpVerdict::pass;
  State state = State::tcp_established;  // the state after the segment
  bool refresh = true;                   // whether the segment extends the entry's life
};
// One segment of `side` in an entry whose state is `state`; updates windows, leaves the state to the caller's
// compare-and-exchange.
TcpStep tcp_advance(Entry& entry, State state, uint32_t flags, Side side, const TcpSegment& segment);

}  // namespace weft
