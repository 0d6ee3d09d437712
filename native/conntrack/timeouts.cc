#include "conntrack/timeouts.h"

#include <algorithm>

namespace weft {

uint64_t Timeouts::longest() const {
  return std::max({tcp_syn_sent,
                   tcp_syn_received,
                   tcp_established,
                   tcp_picked_up,
                   tcp_fin_wait,
                   tcp_closing,
                   tcp_time_wait,
                   tcp_closed,
                   udp_unreplied,
                   udp_replied,
                   udp_stream,
                   sctp_handshake,
                   sctp_established,
                   sctp_picked_up,
                   sctp_shutdown,
                   sctp_closed,
                   icmp,
                   other_unreplied,
                   other_replied,
                   denied});
}

}  // namespace weft
