// Measures with real packets who reaches whom: many probes at once, each from its own network namespace. A
// probe is answered (by the name that the responder gives), refused (RST, ABORT), unreachable (ICMP error,
// with type and code) or it times out.
//
// A dropped packet and a lost one look the same, so a denial can only be measured as silence. Two things keep
// that both quick and true: all probes run side by side, so that a hundred denials cost the wait of one; and
// what stays silent is tried again from another source port with a longer wait, which is scaled by the
// slowest answer of this run, so that a busy machine gets more time. The error that remains possible (loss
// taken for a denial) shows as a difference to the expectation, never as a false pass of something that was
// expected to be denied and was let through.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/address.h"
#include "base/result.h"

namespace weft::lab {

struct Probe {
  uint32_t netns = 0;    // index into ProbeRun::namespaces
  uint8_t family = 4;    // 4 or 6
  uint8_t protocol = 6;  // TCP 6, UDP 17, SCTP 132
  Address destination;
  uint16_t port = 0;
  uint16_t source_port = 0;  // 0: any; then a retry uses another one
};

struct ProbeRun {
  std::vector<std::string> namespaces;  // paths; empty: the namespace of the process
  std::vector<Probe> probes;
  uint32_t timeout_ms = 250;        // of the first try
  uint32_t retry_timeout_ms = 500;  // of each further try, at least
  uint32_t retries = 1;
  uint32_t window = 1024;  // probes in flight; bounded by the descriptor limit too
};

enum class Outcome : uint8_t { answered, refused, unreachable, timeout, failed };

struct ProbeResult {
  Outcome outcome = Outcome::timeout;
  std::string name;     // answered: what the responder said; empty when it accepted and said nothing
  std::string message;  // failed: which call
  uint8_t icmp_type = 0;
  uint8_t icmp_code = 0;
  uint16_t source_port = 0;   // of the last try
  uint32_t microseconds = 0;  // from first packet to outcome, last try
  uint8_t tries = 0;
};

// Blocks until every probe has its outcome: at most (1 + retries) waits for each window. Makes a thread of
// its own for the namespaces, so any thread may call it. Results are in the order of the probes.
std::vector<ProbeResult> run_probes(const ProbeRun& run);

}  // namespace weft::lab
