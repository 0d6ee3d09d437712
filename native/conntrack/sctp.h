// SCTP associations as seen from between the ends (RFC 9260 section 4; the state table is that of Linux's
// nf_conntrack_proto_sctp, reduced to what the two ends' chunks prove). Verification tags (section 8.5) are
// learnt from INIT and INIT ACK and are checked leniently: a wrong tag passes without effect, except on
// chunks that end the association, which are refused.
#pragma once

#include <cstddef>
#include <cstdint>

#include "conntrack/entry.h"
#include "header/sctp.h"

namespace weft {

struct SctpPacket {
  uint32_t tag = 0;           // verification tag of the common header
  uint32_t initiate_tag = 0;  // of INIT and INIT ACK
  uint32_t chunks = 0;        // bit n: a chunk of type n (n < 32) is in the packet
  bool reflected = false;     // T bit of ABORT or SHUTDOWN COMPLETE: the tag is the sender's own
  [[nodiscard]] bool has(uint8_t type) const { return (chunks >> type & 1) != 0; }  // sctp_chunk::k…
};

// Reads common header and chunks, at most 32 of them; `transport` begins at the SCTP header. False: truncated
// or a chunk length under 4.
bool read_sctp(const uint8_t* transport, size_t length, SctpPacket& out);

enum class SctpStart : uint8_t { begin, pick_up, refuse };
SctpStart sctp_start(const SctpPacket& packet);
// Fills the tags of an entry that is being written (odd) and returns its state.
State sctp_open(Entry& entry, const SctpPacket& packet);

enum class SctpVerdict : uint8_t { pass, invalid, restart };
struct SctpStep {
  SctpVerdict verdict = SctpVerdict::pass;
  State state = State::sctp_established;
  bool refresh = true;
};
SctpStep sctp_advance(Entry& entry, State state, Side side, const SctpPacket& packet);

}  // namespace weft
