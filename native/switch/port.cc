#include "switch/port.h"

#include <utility>

namespace weft {

Port::Port(PortSpec port_spec, std::unique_ptr<Device> port_device, PortIndex port_index,
           PortInstance port_instance, uint32_t owner, uint32_t workers)
    : spec(std::move(port_spec)),
      device(std::move(port_device)),
      offloads(device->offloads()),
      index(port_index),
      instance(port_instance),
      worker(owner),
      counters(std::make_unique<PortCounters[]>(workers)) {
  ingress.set(spec.bandwidth.ingress_rate, spec.bandwidth.ingress_burst, RateLimit::kPolicedBurstNs);
  egress.set(spec.bandwidth.egress_rate, spec.bandwidth.egress_burst, RateLimit::kShapedBurstNs);
}

}  // namespace weft
