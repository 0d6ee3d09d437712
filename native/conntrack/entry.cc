#include "conntrack/entry.h"

namespace weft {

const char* state_name(State state) {
  switch (state) {
    case State::free:
      return "free";
    case State::tcp_syn_sent:
      return "tcp-syn-sent";
    case State::tcp_simultaneous_open:
      return "tcp-simultaneous-open";
    case State::tcp_syn_received:
      return "tcp-syn-received";
    case State::tcp_established:
      return "tcp-established";
    case State::tcp_fin_wait:
      return "tcp-fin-wait";
    case State::tcp_closing:
      return "tcp-closing";
    case State::tcp_time_wait:
      return "tcp-time-wait";
    case State::tcp_closed:
      return "tcp-closed";
    case State::udp_unreplied:
      return "udp-unreplied";
    case State::udp_replied:
      return "udp-replied";
    case State::udp_stream:
      return "udp-stream";
    case State::sctp_cookie_wait:
      return "sctp-cookie-wait";
    case State::sctp_cookie_ready:
      return "sctp-cookie-ready";
    case State::sctp_cookie_echoed:
      return "sctp-cookie-echoed";
    case State::sctp_established:
      return "sctp-established";
    case State::sctp_shutdown:
      return "sctp-shutdown";
    case State::sctp_shutdown_ack:
      return "sctp-shutdown-ack";
    case State::sctp_closed:
      return "sctp-closed";
    case State::icmp_unreplied:
      return "icmp-unreplied";
    case State::icmp_replied:
      return "icmp-replied";
    case State::other_unreplied:
      return "other-unreplied";
    case State::other_replied:
      return "other-replied";
  }
  return "unknown";
}

bool state_fits(State state, uint8_t protocol) {
  const auto value = static_cast<uint8_t>(state);
  const auto within = [value](State first, State last) {
    return value >= static_cast<uint8_t>(first) && value <= static_cast<uint8_t>(last);
  };
  switch (static_cast<Protocol>(protocol)) {
    case Protocol::tcp:
      return within(State::tcp_syn_sent, State::tcp_closed);
    case Protocol::udp:
      return within(State::udp_unreplied, State::udp_stream);
    case Protocol::sctp:
      return within(State::sctp_cookie_wait, State::sctp_closed);
    case Protocol::icmp:
    case Protocol::icmpv6:
      return within(State::icmp_unreplied, State::icmp_replied);
  }
  return within(State::other_unreplied, State::other_replied);
}

Rank rank_of(State state) {
  switch (state) {
    case State::free:
      return Rank::free;
    case State::tcp_syn_sent:
    case State::tcp_simultaneous_open:
    case State::tcp_syn_received:
    case State::udp_unreplied:
    case State::sctp_cookie_wait:
    case State::sctp_cookie_ready:
    case State::sctp_cookie_echoed:
    case State::icmp_unreplied:
    case State::other_unreplied:
      return Rank::unreplied;
    case State::tcp_time_wait:
    case State::tcp_closed:
    case State::sctp_closed:
      return Rank::finished;
    case State::tcp_closing:
    case State::sctp_shutdown_ack:
      return Rank::closing;
    case State::udp_replied:
    case State::icmp_replied:
    case State::other_replied:
      return Rank::replied;
    case State::tcp_established:
    case State::tcp_fin_wait:  // a half-closed connection still carries data
    case State::udp_stream:
    case State::sctp_established:
    case State::sctp_shutdown:
      return Rank::established;
  }
  return Rank::unreplied;
}

}  // namespace weft
