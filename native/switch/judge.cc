// Policy for one connection: egress of the source pod, ingress of the destination pod, and who is exempt.
#include "switch/forwarder.h"

namespace weft {

// `from` and `to` are the ports of the initiator and of the (translated) destination; `source` and
// `destination` are what the image knows of their addresses; `translated` has the destination port that
// policy means.
Ruling Forwarder::rule(const Image& image, const Image::Endpoint& source, const Image::Endpoint& destination,
                       const Port& from, const Port& to, const FlowTuple& translated) noexcept {
  Ruling ruling;
  const auto no = [&](DropReason reason) {
    ruling.reason = reason;
    return ruling;
  };
  // A pod is always reachable from itself, whatever policy says, by way of a Service too.
  if (&from == &to && from.spec.kind == PortKind::pod) return ruling;

  if (from.spec.kind == PortKind::pod) {
    if ((source.flags & kEndpointLocal) == 0) return no(DropReason::unknown_port_address);
    const bool to_own_node = (destination.flags & kEndpointOwnNode) != 0;
    if (!to_own_node || image.own_node_egress_judged()) {
      const Image::Verdict verdict = image.judge(source.program, Direction::egress, destination.peer_class,
                                                 translated.protocol, translated.destination_port);
      if (!verdict.allowed) return no(DropReason::policy_egress);
      ruling.egress_rule = verdict.rule;
    }
  }
  if (to.spec.kind == PortKind::pod) {
    if ((destination.flags & kEndpointLocal) == 0) return no(DropReason::unknown_port_address);
    // Only the node's own sockets have the node's address on the host port; what the node forwards keeps its
    // client's, or has the host port's own where the host masquerades it.
    const bool from_own_node = from.spec.kind == PortKind::host &&
                               (source.flags & (kEndpointOwnNode | kEndpointForwarded)) == kEndpointOwnNode;
    if (!from_own_node) {
      const Image::Verdict verdict = image.judge(destination.program, Direction::ingress, source.peer_class,
                                                 translated.protocol, translated.destination_port);
      if (!verdict.allowed) return no(DropReason::policy_ingress);
      ruling.ingress_rule = verdict.rule;
    }
  }
  return ruling;
}

DropReason Forwarder::judge(Passage& way, const Port& from, const Port& to,
                            const FlowTuple& translated) noexcept {
  const Ruling ruling = rule(*way.view.image, way.source, way.destination, from, to, translated);
  way.egress_rule = ruling.egress_rule;
  way.ingress_rule = ruling.ingress_rule;
  return ruling.reason;
}

DropReason Forwarder::deny(Passage& way, DropReason reason) noexcept {
  const bool egress = reason == DropReason::policy_egress;
  if ((egress || reason == DropReason::policy_ingress) &&
      way.view.image->deny_action(egress ? Direction::egress : Direction::ingress) == DenyAction::reject)
    refuse(way, Unreachable::admin_prohibited);
  return reason;
}

}  // namespace weft
