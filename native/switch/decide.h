// What becomes of a new connection, decided without a packet: which Service it means, where it leads, what
// policy says. Reads a View, changes nothing, tells nobody. The forwarder acts on these answers and explain()
// repeats them, so that an explanation cannot say anything else than what would happen.
#pragma once

#include "generated/drop_reason.h"
#include "packet/flow.h"
#include "switch/view.h"

namespace weft {

// Why one direction of a connection was allowed or denied.
enum class Basis : uint8_t {
  elsewhere,     // this end is no pod with a port here: not judged by this switch
  self,          // a pod reaches itself
  own_node,      // a pod and its own node
  unknown,       // the pod has a port, but the image does not know it: denied
  not_isolated,  // no policy isolates the pod in this direction
  rule,          // a rule allows
  isolated,      // policies isolate the pod, none of their rules allows: denied
};

struct Decision {
  Basis basis = Basis::elsewhere;
  DropReason reason = DropReason::none;  // none: allowed
  RuleIndex rule = kNoRule;              // with Basis::rule
};

// The ports of the initiator and of the (translated) destination, and what an image knows of their addresses.
struct Ends {
  const Port& from;
  const Port& to;
  Image::Classification source;
  Image::Classification destination;
};

// `flow` has the destination port that policy means: after translation.
[[nodiscard]] Decision judge_egress(const Image& image, const Ends& ends, const FlowTuple& flow) noexcept;
[[nodiscard]] Decision judge_ingress(const Image& image, const Ends& ends, const FlowTuple& flow) noexcept;

// What the sender of a packet that leads nowhere is told.
enum class Notice : uint8_t { nothing, port_closed, address_unreachable, no_route };

struct Located {
  Port* out = nullptr;  // may be known also where nothing goes there
  DropReason reason = DropReason::none;
  Notice notice = Notice::nothing;
};

// Which port has the (translated) destination of what came in by `in`. Pods' addresses are known by their
// ports; everything else is behind the host port. `view` has an image, which knew these addresses.
[[nodiscard]] Located locate(const View& view, const Port& in, const Image::Classification& source,
                             const Image::Classification& destination, const Address& to) noexcept;

// What a Service does with a new flow of a client before an endpoint is chosen. none: one of the Service's
// backends is to be chosen. Else why not: its load balancer does not take the client's packets, no endpoint
// is where its traffic policy asks for one, or there is none at all (the client is to be refused).
[[nodiscard]] DropReason admit(const Service& service, const Address& client) noexcept;

// The Service that translates what comes in by `in`, or false. Only pods' Services are ours; what starts on
// the host or outside has been through kube-proxy. `port`: the destination's, 0 where the protocol has none.
[[nodiscard]] bool find_service(const View& view, const Port& in, uint8_t protocol, const Address& to,
                                uint16_t port, Service& out) noexcept;

}  // namespace weft
