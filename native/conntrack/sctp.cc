#include "conntrack/sctp.h"

#include "base/bytes.h"

namespace weft {

namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;

constexpr uint32_t bit(uint8_t type) {
  return 1u << type;
}

bool knows_tag(const Entry& entry, Side side) {
  return (entry.seen[at(side)].load(kRelaxed) & kSeenTag) != 0;
}

void set_tag(Entry& entry, Side side, uint32_t tag) {
  entry.end[at(side)].store(tag, kRelaxed);
  entry.seen[at(side)].fetch_or(kSeenTag, kRelaxed);
}

// A tag that is not known yet is believed; with the T bit the sender reflects the tag it received
// (section 8.5.1).
bool tag_fits(const Entry& entry, Side side, const SctpPacket& packet) {
  const Side whose = packet.reflected ? other(side) : side;
  return !knows_tag(entry, whose) || entry.end[at(whose)].load(kRelaxed) == packet.tag;
}

}  // namespace

bool read_sctp(const uint8_t* transport, size_t length, SctpPacket& out) {
  out = {};
  if (length < 16) return false;
  out.tag = load_be32(transport + 4);
  size_t at = 12;
  for (int i = 0; i < 32 && at + 4 <= length; ++i) {
    const uint8_t type = transport[at];
    const uint8_t chunk_flags = transport[at + 1];
    const size_t size = static_cast<size_t>(transport[at + 2]) << 8 | transport[at + 3];
    if (size < 4) return false;
    if (type < 32) out.chunks |= bit(type);
    if (type == sctp_chunk::kInit || type == sctp_chunk::kInitAck) {
      if (size < 20 || at + 20 > length) return false;
      out.initiate_tag = load_be32(transport + at + 4);
    }
    if ((type == sctp_chunk::kAbort || type == sctp_chunk::kShutdownComplete) && (chunk_flags & 1) != 0)
      out.reflected = true;
    at += (size + 3) & ~size_t{3};
  }
  return true;
}

SctpStart sctp_start(const SctpPacket& packet) {
  if (packet.has(sctp_chunk::kInit)) {
    // Section 8.5.1 A: alone in its packet and with tag 0; its own tag must not be 0 (section 3.3.2).
    const bool proper =
        packet.tag == 0 && packet.chunks == bit(sctp_chunk::kInit) && packet.initiate_tag != 0;
    return proper ? SctpStart::begin : SctpStart::refuse;
  }
  if (packet.has(sctp_chunk::kInitAck) || packet.has(sctp_chunk::kAbort) ||
      packet.has(sctp_chunk::kShutdownComplete))
    return SctpStart::refuse;
  return packet.tag == 0 ? SctpStart::refuse : SctpStart::pick_up;
}

State sctp_open(Entry& entry, const SctpPacket& packet) {
  for (size_t i = 0; i < 2; ++i) {
    entry.end[i].store(0, kRelaxed);
    entry.limit[i].store(0, kRelaxed);
    entry.max_window[i].store(1, kRelaxed);
    entry.scale[i].store(0, kRelaxed);
    entry.seen[i].store(0, kRelaxed);
  }
  if (packet.has(sctp_chunk::kInit)) {
    set_tag(entry, Side::reply, packet.initiate_tag);
    return State::sctp_cookie_wait;
  }
  set_tag(entry, Side::original, packet.tag);
  if (packet.has(sctp_chunk::kShutdownAck)) return State::sctp_shutdown_ack;
  if (packet.has(sctp_chunk::kShutdown)) return State::sctp_shutdown;
  if (packet.has(sctp_chunk::kCookieEcho)) return State::sctp_cookie_echoed;
  return State::sctp_established;
}

SctpStep sctp_advance(Entry& entry, State state, Side side, const SctpPacket& packet) {
  if (packet.has(sctp_chunk::kAbort) || packet.has(sctp_chunk::kShutdownComplete)) {
    if (!tag_fits(entry, side, packet)) return {SctpVerdict::invalid, state, false};
    const bool ends =
        packet.has(sctp_chunk::kAbort) || state == State::sctp_shutdown_ack || state == State::sctp_closed;
    return {SctpVerdict::pass, ends ? State::sctp_closed : state, ends && state != State::sctp_closed};
  }
  if (packet.has(sctp_chunk::kInit)) {
    if (sctp_start(packet) != SctpStart::begin) return {SctpVerdict::invalid, state, false};
    if (state == State::sctp_closed) return {SctpVerdict::restart, state, false};
    // Sent again, or both ends at once (section 5.2.1): the answer will carry the new tag. Within an
    // association it is the restart of an end (section 5.2.2), which the other end proves by its cookie:
    // COOKIE ECHO and COOKIE ACK teach the new tags.
    if (state == State::sctp_cookie_wait) {
      set_tag(entry, other(side), packet.initiate_tag);
      return {SctpVerdict::pass, state, true};
    }
    return {SctpVerdict::pass, state, false};
  }
  if (packet.has(sctp_chunk::kInitAck)) {
    if (state != State::sctp_cookie_wait) return {SctpVerdict::pass, state, false};
    if (!tag_fits(entry, side, packet) || packet.initiate_tag == 0) return {SctpVerdict::pass, state, false};
    set_tag(entry, other(side), packet.initiate_tag);
    return {SctpVerdict::pass, State::sctp_cookie_ready, true};
  }
  if (state == State::sctp_closed) return {SctpVerdict::pass, state, false};
  if (packet.has(sctp_chunk::kCookieEcho) || packet.has(sctp_chunk::kCookieAck)) {
    set_tag(entry, side, packet.tag);
    const bool handshake = state == State::sctp_cookie_wait || state == State::sctp_cookie_ready ||
                           state == State::sctp_cookie_echoed;
    if (packet.has(sctp_chunk::kCookieAck) && state == State::sctp_cookie_echoed)
      return {SctpVerdict::pass, State::sctp_established, true};
    if (packet.has(sctp_chunk::kCookieEcho) && handshake)
      return {SctpVerdict::pass, State::sctp_cookie_echoed, true};
    return {SctpVerdict::pass, state, true};
  }
  if (!knows_tag(entry, side)) set_tag(entry, side, packet.tag);
  if (!tag_fits(entry, side, packet)) return {SctpVerdict::pass, state, false};
  if (packet.has(sctp_chunk::kShutdownAck) &&
      (state == State::sctp_shutdown || state == State::sctp_established))
    return {SctpVerdict::pass, State::sctp_shutdown_ack, true};
  if (packet.has(sctp_chunk::kShutdown) && state == State::sctp_established)
    return {SctpVerdict::pass, State::sctp_shutdown, true};
  // Heartbeats are the only sign of life of an idle association, and they pass in every state.
  return {SctpVerdict::pass, state, true};
}

}  // namespace weft
