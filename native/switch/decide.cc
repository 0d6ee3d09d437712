#include "switch/decide.h"

#include "switch/address_kind.h"

namespace weft {
namespace {

// A pod is always reachable from itself, whatever policy says, by way of a Service too.
bool is_self(const Ends& ends) noexcept {
  return &ends.from == &ends.to && ends.from.spec.kind == PortKind::pod;
}

Decision decision_of(const Image::Verdict& verdict, DropReason denied) noexcept {
  if (!verdict.allowed) return {Basis::isolated, denied, kNoRule};
  return {verdict.rule == kNoRule ? Basis::not_isolated : Basis::rule, DropReason::none, verdict.rule};
}

}  // namespace

Decision judge_egress(const Image& image, const Ends& ends, const FlowTuple& flow) noexcept {
  if (ends.from.spec.kind != PortKind::pod) return {};
  if (is_self(ends)) return {Basis::self, DropReason::none, kNoRule};
  if ((ends.source.flags & kAddressLocal) == 0) return {Basis::unknown, DropReason::unknown_port_address};
  if ((ends.destination.flags & kAddressOwnNode) != 0 && !image.own_node_egress_judged())
    return {Basis::own_node, DropReason::none, kNoRule};
  return decision_of(image.judge(ends.source.program, Direction::egress, ends.destination.peer_class,
                                 flow.protocol, flow.destination_port),
                     DropReason::policy_egress);
}

Decision judge_ingress(const Image& image, const Ends& ends, const FlowTuple& flow) noexcept {
  if (ends.to.spec.kind != PortKind::pod) return {};
  if (is_self(ends)) return {Basis::self, DropReason::none, kNoRule};
  if ((ends.destination.flags & kAddressLocal) == 0)
    return {Basis::unknown, DropReason::unknown_port_address};
  // Only the node's own sockets have the node's address on the host port; what the node forwards keeps its
  // client's, or has the host port's own where the host masquerades it.
  if (ends.from.spec.kind == PortKind::host &&
      (ends.source.flags & (kAddressOwnNode | kAddressForwarded)) == kAddressOwnNode)
    return {Basis::own_node, DropReason::none, kNoRule};
  return decision_of(image.judge(ends.destination.program, Direction::ingress, ends.source.peer_class,
                                 flow.protocol, flow.destination_port),
                     DropReason::policy_ingress);
}

Located locate(const View& view, const Port& in, const Image::Classification& source,
               const Image::Classification& destination, const Address& to) noexcept {
  Port* out = view.routes.find(to);
  if (out == nullptr) {
    // A Service's cluster address that has no such port (or protocol): refused, as a host refuses a closed
    // port, and kube-proxy one that it does not know. What comes from the host has been through kube-proxy.
    if ((destination.flags & kAddressService) != 0)
      return {nullptr, in.spec.kind == PortKind::pod ? DropReason::service_port : DropReason::no_route,
              Notice::port_closed};
    // A pod of this node whose port is not there (yet, after a restart): nobody else has it, and the host
    // would only send it back. An ICMP error and not a reset: a connection survives it.
    if ((destination.flags & kAddressLocal) != 0)
      return {nullptr, DropReason::no_route, Notice::address_unreachable};
    if (to.is_v4() && is_link_local(to) && (destination.flags & kAddressOwnNode) == 0)
      return {nullptr, DropReason::link_local, Notice::nothing};
    if (in.spec.kind == PortKind::host || view.host == nullptr)
      return {nullptr, DropReason::no_route, Notice::no_route};
    out = view.host;
  } else if (out == &in && in.spec.kind == PortKind::host) {
    return {out, DropReason::no_route, Notice::no_route};
  }
  // A pod of this node whose address came in by the host port: not its packet.
  if (in.spec.kind == PortKind::host && (source.flags & kAddressLocal) != 0)
    return {out, DropReason::spoof_ip, Notice::nothing};
  return {out, DropReason::none, Notice::nothing};
}

DropReason admit(const Service& service, const Address& client) noexcept {
  if (!service.takes(client)) return DropReason::service_source_range;
  if (!service.backends.empty()) return DropReason::none;
  return service.drops_when_empty ? DropReason::service_no_local_endpoint : DropReason::service_no_endpoint;
}

bool find_service(const View& view, const Port& in, uint8_t protocol, const Address& to, uint16_t port,
                  Service& out) noexcept {
  return in.spec.kind == PortKind::pod && view.image->services().find(protocol, to, port, out);
}

}  // namespace weft
