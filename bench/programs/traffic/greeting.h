// The flow that acknowledgements take: opened by the sender, so that a policy that allows connections to the
// server allows it. And the window that lives on it.
#pragma once

#include <atomic>
#include <cstdint>

#include "traffic/socket.h"

namespace weft::traffic {

// Sender: a socket to the receiver's acknowledging port that has had an answer; none within one second ends
// the program.
Descriptor greet(const sockaddr_in& to);

// Receiver: waits for a greeting, makes its sender the socket's peer, answers.
void answer_greeting(const Descriptor& acknowledge);

// Sends while the window has room, then waits for acknowledgements. `sender` has `next()`, the sequence of
// its next datagram, and `burst()`, which sends `size` of them. A lost datagram is passed over when a later
// one is acknowledged; where nothing comes for 20 ms, everything on its way is given up. Returns how often
// that was so.
template <class Sender>
uint64_t send_windowed(Sender& sender, const Descriptor& acknowledged, uint64_t window, uint64_t size,
                       const std::atomic<bool>& stop);

// The highest acknowledged sequence of what has come, waiting for the first of it; false: nothing came in
// time.
bool take_acknowledgements(const Descriptor& acknowledged, uint64_t& covered);

inline constexpr int64_t kStallNs = 20'000'000;

template <class Sender>
uint64_t send_windowed(Sender& sender, const Descriptor& acknowledged, uint64_t window, uint64_t size,
                       const std::atomic<bool>& stop) {
  receive_timeout(acknowledged, kStallNs);
  uint64_t covered = sender.next(), stalls = 0;
  while (!stop.load(std::memory_order_relaxed)) {
    while (sender.next() - covered + size <= window) sender.burst();
    if (!take_acknowledgements(acknowledged, covered)) {
      covered = sender.next();
      ++stalls;
    }
  }
  return stalls;
}

}  // namespace weft::traffic
