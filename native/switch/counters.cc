#include "switch/counters.h"

namespace weft {

void PortTotals::add(const PortCounters& counters) noexcept {
  rx_packets += counters.rx_packets.value();
  rx_bytes += counters.rx_bytes.value();
  tx_packets += counters.tx_packets.value();
  tx_bytes += counters.tx_bytes.value();
  answers += counters.answers.value();
  connections += counters.connections.value();
  busy_ns += counters.busy_ns.value();
  throttled_ns += counters.throttled_ns.value();
  policed += counters.policed.value();
  for (size_t i = 0; i < drops.size(); ++i) drops[i] += counters.drops[i].value();
}

void PortTotals::add(const PortTotals& totals) noexcept {
  rx_packets += totals.rx_packets;
  rx_bytes += totals.rx_bytes;
  tx_packets += totals.tx_packets;
  tx_bytes += totals.tx_bytes;
  answers += totals.answers;
  connections += totals.connections;
  busy_ns += totals.busy_ns;
  throttled_ns += totals.throttled_ns;
  policed += totals.policed;
  for (size_t i = 0; i < drops.size(); ++i) drops[i] += totals.drops[i];
}

}  // namespace weft
