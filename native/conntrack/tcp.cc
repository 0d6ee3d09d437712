#include "conntrack/tcp.h"

#include <algorithm>

namespace weft {

namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;
constexpr uint8_t kMaxScale = 14;                          // RFC 7323 section 2.3
constexpr uint32_t kUnknownWindow = 0xffffu << kMaxScale;  // for an end that has not spoken yet
constexpr uint32_t kMinAckWindow = 66000;  // old acknowledgements within this much are plausible, as in Linux

// Sequence numbers compare modulo 2^32 (RFC 9293 section 3.4).
constexpr bool before(uint32_t a, uint32_t b) {
  return static_cast<int32_t>(a - b) < 0;
}
constexpr bool after(uint32_t a, uint32_t b) {
  return before(b, a);
}

constexpr bool has(const TcpSegment& segment, uint8_t flag) {
  return (segment.flags & flag) != 0;
}

uint32_t end_of(const TcpSegment& segment) {
  return segment.sequence + segment.data_length + (has(segment, tcp_flag::kSyn) ? 1 : 0) +
         (has(segment, tcp_flag::kFin) ? 1 : 0);
}

uint8_t scale_of(const TcpSegment& segment) {
  if (segment.scale == kNoScale) return 0;
  return segment.scale == kUnknownScale ? kMaxScale : std::min(segment.scale, kMaxScale);
}

void raise(std::atomic<uint32_t>& field, uint32_t value) {
  if (after(value, field.load(kRelaxed))) field.store(value, kRelaxed);
}

// Without the option from both ends neither scales (RFC 7323 section 2.2). `first` is the side whose SYN came
// first.
void negotiate_scale(Entry& entry, Side answer, const TcpSegment& segment) {
  entry.scale[at(answer)].store(scale_of(segment), kRelaxed);
  if (segment.scale == kNoScale) entry.scale[at(other(answer))].store(0, kRelaxed);
}

// A side's SYN: its windows start here. `limit` holds ISN + 1 until the other end's window is known.
void start_side(Entry& entry, Side side, const TcpSegment& segment) {
  const size_t i = at(side);
  entry.end[i].store(end_of(segment), kRelaxed);
  entry.limit[i].store(segment.sequence + 1, kRelaxed);
  entry.max_window[i].store(std::max<uint32_t>(segment.window, 1), kRelaxed);  // never scaled in a SYN
  entry.seen[i].store(kSeenPacket, kRelaxed);
  entry.acknowledged(side).store(segment.sequence + 1, kRelaxed);
}

bool acknowledges_syn(const Entry& entry, Side of, uint32_t acknowledgement) {
  return !before(acknowledgement, entry.limit[at(of)].load(kRelaxed)) &&
         !after(acknowledgement, entry.end[at(of)].load(kRelaxed));
}

// The last SYN that came within a connection, in one word.
struct LateSyn {
  uint32_t acknowledgement = 0;  // what answers it
  Side side = Side::original;
  bool handshake = false;  // came before the connection was established

  [[nodiscard]] uint64_t raw() const {
    return uint64_t{1} << 63 | uint64_t{handshake} << 33 | uint64_t{side == Side::reply} << 32 |
           acknowledgement;
  }
};

constexpr bool in_handshake(State state) {
  return state == State::tcp_syn_received || state == State::tcp_simultaneous_open;
}

void remember_syn(Entry& entry, State state, Side side, const TcpSegment& segment) {
  entry.late_syn.store(LateSyn{segment.sequence + 1, side, in_handshake(state)}.raw(), kRelaxed);
}

// Whether a SYN ACK answers the last such SYN. One from before the connection was established is its own by
// then, sent again: what answers that is late, not new.
bool answers_late_syn(const Entry& entry, State state, Side side, const TcpSegment& segment) {
  return entry.late_syn.load(kRelaxed) ==
         LateSyn{segment.acknowledgement, other(side), in_handshake(state)}.raw();
}

bool reset_in_window(const Entry& entry, Side side, const TcpSegment& segment) {
  // What the other end may accept: from its last acknowledgement to the edge of its window. limit -
  // max_window never lies above that acknowledgement, because no window was larger than max_window.
  const uint32_t limit = entry.limit[at(side)].load(kRelaxed);
  const uint32_t first = limit - entry.max_window[at(other(side))].load(kRelaxed);
  return !before(segment.sequence, first) && !after(segment.sequence, limit);
}

// An end that has closed answers what was still on its way to it with resets. Each has the number that was
// acknowledged there, so where the FIN has been acknowledged since, it comes from just before the window. The
// other end has that number behind it and pays no attention.
bool reset_late(const Entry& entry, Side side, const TcpSegment& segment) {
  if ((entry.seen[at(side)].load(kRelaxed) & kSeenFin) == 0) return false;
  const uint32_t window = entry.max_window[at(other(side))].load(kRelaxed);
  const uint32_t first = entry.limit[at(side)].load(kRelaxed) - window;
  return before(segment.sequence, first) && !before(segment.sequence, first - window);
}

// Whether the end must believe it (RFC 5961 section 3.2: exactly the next sequence number that it expects),
// as far as can be told from between: what it acknowledged last, or what it has been sent since.
bool reset_exact(const Entry& entry, Side side, const TcpSegment& segment) {
  return segment.sequence == entry.acknowledged(side).load(kRelaxed) ||
         segment.sequence == entry.end[at(side)].load(kRelaxed);
}

bool in_window(const Entry& entry, Side side, const TcpSegment& segment) {
  const size_t mine = at(side);
  const size_t theirs = at(other(side));
  const uint32_t end = end_of(segment);
  if (after(segment.sequence, entry.limit[mine].load(kRelaxed))) return false;
  if (before(end, entry.end[mine].load(kRelaxed) - entry.max_window[theirs].load(kRelaxed) - 1)) return false;
  if (has(segment, tcp_flag::kAck)) {
    const uint32_t their_end = entry.end[theirs].load(kRelaxed);
    const uint32_t reach = std::max(entry.max_window[mine].load(kRelaxed), kMinAckWindow);
    if (after(segment.acknowledgement, their_end)) return false;
    if (before(segment.acknowledgement, their_end - reach - 1)) return false;
  }
  return true;
}

// What an in-window segment teaches about both ends.
void learn(Entry& entry, Side side, const TcpSegment& segment) {
  const size_t mine = at(side);
  const size_t theirs = at(other(side));
  const uint32_t shift = has(segment, tcp_flag::kSyn) ? 0 : entry.scale[mine].load(kRelaxed);
  const uint32_t window = std::max<uint32_t>(static_cast<uint32_t>(segment.window) << shift, 1);
  if (window > entry.max_window[mine].load(kRelaxed)) entry.max_window[mine].store(window, kRelaxed);
  raise(entry.end[mine], end_of(segment));
  uint8_t seen = kSeenPacket;
  if (has(segment, tcp_flag::kFin)) seen |= kSeenFin;
  if ((entry.seen[mine].load(kRelaxed) & seen) != seen) entry.seen[mine].fetch_or(seen, kRelaxed);
  if (!has(segment, tcp_flag::kAck)) return;
  raise(entry.limit[theirs], segment.acknowledgement + window);
  raise(entry.acknowledged(other(side)), segment.acknowledgement);
  const uint8_t peer = entry.seen[theirs].load(kRelaxed);
  if ((peer & kSeenFin) != 0 && (peer & kSeenFinAcked) == 0 &&
      !before(segment.acknowledgement, entry.end[theirs].load(kRelaxed)))
    entry.seen[theirs].fetch_or(kSeenFinAcked, kRelaxed);
}

// The state that the FINs seen so far amount to.
State closing_state(const Entry& entry, State state) {
  const uint8_t a = entry.seen[0].load(kRelaxed);
  const uint8_t b = entry.seen[1].load(kRelaxed);
  if ((a & b & kSeenFinAcked) != 0) return State::tcp_time_wait;
  if ((a & b & kSeenFin) != 0) return State::tcp_closing;
  if (((a | b) & kSeenFin) != 0) return State::tcp_fin_wait;
  return state;
}

TcpStep step_reset(Entry& entry, State state, Side side, const TcpSegment& segment) {
  switch (state) {
    case State::tcp_syn_sent:
      // The answer to a SYN must acknowledge it. The initiator itself may reset an older connection of the
      // same ports that answered with a challenge ACK: that reset is in the other end's window, not in ours.
      if (side == Side::original) return {TcpVerdict::pass, state, false};
      if (!has(segment, tcp_flag::kAck) || !acknowledges_syn(entry, Side::original, segment.acknowledgement))
        return {TcpVerdict::out_of_window, state, false};
      return {TcpVerdict::pass, State::tcp_closed, true};
    case State::tcp_closed:
    case State::tcp_time_wait:
      return {TcpVerdict::pass, state, false};
    default:
      break;
  }
  const bool refuses_syn = state == State::tcp_simultaneous_open && has(segment, tcp_flag::kAck) &&
                           acknowledges_syn(entry, other(side), segment.acknowledgement);
  if (!refuses_syn && !reset_in_window(entry, side, segment))
    return {reset_late(entry, side, segment) ? TcpVerdict::pass : TcpVerdict::out_of_window, state, false};
  if (!refuses_syn && !reset_exact(entry, side, segment)) return {TcpVerdict::pass, state, false};
  return {TcpVerdict::pass, State::tcp_closed, true};
}

TcpStep step_syn(Entry& entry, State state, Side side, const TcpSegment& segment) {
  switch (state) {
    case State::tcp_syn_sent:
      if (side == Side::original) {  // sent again, perhaps with another initial sequence number
        start_side(entry, side, segment);
        entry.scale[at(side)].store(scale_of(segment), kRelaxed);
        return {TcpVerdict::pass, state, true};
      }
      start_side(entry, side, segment);
      negotiate_scale(entry, side, segment);
      return {TcpVerdict::pass, State::tcp_simultaneous_open, true};
    case State::tcp_time_wait:
    case State::tcp_closed:
      return {TcpVerdict::restart, state, false};
    default:
      remember_syn(entry, state, side, segment);
      return {TcpVerdict::pass, state, false};
  }
}

TcpStep step_syn_ack(Entry& entry, State state, Side side, const TcpSegment& segment) {
  const bool fits = acknowledges_syn(entry, other(side), segment.acknowledgement);
  const size_t mine = at(side);
  const size_t theirs = at(other(side));
  const auto open_windows = [&] {
    start_side(entry, side, segment);
    entry.limit[mine].store(segment.sequence + 1 + entry.max_window[theirs].load(kRelaxed), kRelaxed);
    raise(entry.limit[theirs], segment.acknowledgement + std::max<uint32_t>(segment.window, 1));
    raise(entry.acknowledged(other(side)), segment.acknowledgement);
  };
  if (state == State::tcp_syn_sent && side == Side::reply && fits) {
    negotiate_scale(entry, side, segment);
    open_windows();
    return {TcpVerdict::pass, State::tcp_syn_received, true};
  }
  if (state == State::tcp_simultaneous_open && fits) {
    open_windows();
    return {TcpVerdict::pass, State::tcp_syn_received, true};
  }
  if (state == State::tcp_syn_received && side == Side::original && in_window(entry, side, segment)) {
    learn(entry, side, segment);  // the second half of a simultaneous open
    return {TcpVerdict::pass, State::tcp_established, true};
  }
  if (answers_late_syn(entry, state, side, segment) && !in_window(entry, side, segment))
    return {TcpVerdict::restart, state, false};
  return {TcpVerdict::pass, state, false};
}

}  // namespace

TcpStart tcp_start(const TcpSegment& segment) {
  if (has(segment, tcp_flag::kRst)) return TcpStart::refuse;
  if (has(segment, tcp_flag::kSyn)) return has(segment, tcp_flag::kAck) ? TcpStart::refuse : TcpStart::begin;
  return has(segment, tcp_flag::kAck) ? TcpStart::pick_up : TcpStart::refuse;
}

State tcp_open(Entry& entry, const TcpSegment& segment) {
  for (size_t i = 0; i < 2; ++i) {
    entry.end[i].store(0, kRelaxed);
    entry.limit[i].store(0, kRelaxed);
    entry.max_window[i].store(1, kRelaxed);
    entry.scale[i].store(kMaxScale, kRelaxed);
    entry.seen[i].store(0, kRelaxed);
    entry.half[i].acknowledges.store(0, kRelaxed);
  }
  entry.late_syn.store(0, kRelaxed);
  if (has(segment, tcp_flag::kSyn)) {
    start_side(entry, Side::original, segment);
    entry.scale[0].store(scale_of(segment), kRelaxed);
    return State::tcp_syn_sent;
  }
  // Mid-stream: the scale is unknown, so the largest is assumed; the other end is known by what was
  // acknowledged to it.
  const uint32_t window = std::max<uint32_t>(static_cast<uint32_t>(segment.window) << kMaxScale, 1);
  entry.end[0].store(end_of(segment), kRelaxed);
  entry.limit[0].store(end_of(segment) + kUnknownWindow, kRelaxed);
  entry.max_window[0].store(window, kRelaxed);
  entry.end[1].store(segment.acknowledgement, kRelaxed);
  entry.limit[1].store(segment.acknowledgement + window, kRelaxed);
  entry.max_window[1].store(kUnknownWindow, kRelaxed);
  entry.acknowledged(Side::original).store(segment.sequence, kRelaxed);
  entry.acknowledged(Side::reply).store(segment.acknowledgement, kRelaxed);
  entry.seen[0].store(has(segment, tcp_flag::kFin) ? kSeenPacket | kSeenFin : kSeenPacket, kRelaxed);
  return has(segment, tcp_flag::kFin) ? State::tcp_fin_wait : State::tcp_established;
}

TcpStep tcp_advance(Entry& entry, State state, uint32_t flags, Side side, const TcpSegment& segment) {
  if (has(segment, tcp_flag::kRst)) return step_reset(entry, state, side, segment);
  if (has(segment, tcp_flag::kSyn))
    return has(segment, tcp_flag::kAck) ? step_syn_ack(entry, state, side, segment)
                                        : step_syn(entry, state, side, segment);
  if (state == State::tcp_closed) return {TcpVerdict::pass, state, false};
  // Before both SYNs are known there is no window to compare with: a stray ACK passes and teaches nothing.
  if (state == State::tcp_syn_sent) return {TcpVerdict::pass, state, false};
  if ((flags & kPickedUp) != 0 && (entry.seen[at(side)].load(kRelaxed) & kSeenPacket) == 0 &&
      after(end_of(segment), entry.end[at(side)].load(kRelaxed))) {
    // The other end of a picked-up connection may be ahead of what had been acknowledged to it.
    raise(entry.limit[at(side)], end_of(segment));
  }
  if (!in_window(entry, side, segment)) return {TcpVerdict::pass, state, true};
  learn(entry, side, segment);
  if (state == State::tcp_simultaneous_open) return {TcpVerdict::pass, state, true};
  if (state == State::tcp_syn_received && !has(segment, tcp_flag::kAck))
    return {TcpVerdict::pass, state, true};
  if (state == State::tcp_syn_received) state = State::tcp_established;
  return {TcpVerdict::pass, closing_state(entry, state), true};
}

}  // namespace weft
