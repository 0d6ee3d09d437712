// Policy for one connection: egress of the source pod, ingress of the destination pod, and who is exempt.
#include "switch/forwarder.h"

namespace weft {

// `from` and `to` are the ports of the initiator and of the (translated) destination; way.source and
// way.destination are what the image knows of their addresses; `translated` has the destination port that
// policy means.
DropReason Forwarder::judge(Passage& way, const Port& from, const Port& to,
                            const FlowTuple& translated) noexcept {
  const Image& image = *way.view.image;
  way.egress_rule = kNoRule;
  way.ingress_rule = kNoRule;
  // A pod is always reachable from itself, whatever policy says, by way of a Service too.
  if (&from == &to && from.spec.kind == PortKind::pod) return DropReason::none;

  if (from.spec.kind == PortKind::pod) {
    if ((way.source.flags & kEndpointLocal) == 0) return DropReason::unknown_port_address;
    const bool to_own_node = (way.destination.flags & kEndpointOwnNode) != 0;
    if (!to_own_node || image.own_node_egress_judged()) {
      const Image::Verdict verdict =
          image.judge(way.source.program, Direction::egress, way.destination.peer_class, translated.protocol,
                      translated.destination_port);
      if (!verdict.allowed) return DropReason::policy_egress;
      way.egress_rule = verdict.rule;
    }
  }
  if (to.spec.kind == PortKind::pod) {
    if ((way.destination.flags & kEndpointLocal) == 0) return DropReason::unknown_port_address;
    // Only the node's own sockets have the node's address on the host port; what the node forwards keeps its
    // client's.
    const bool from_own_node = from.spec.kind == PortKind::host && (way.source.flags & kEndpointOwnNode) != 0;
    if (!from_own_node) {
      const Image::Verdict verdict =
          image.judge(way.destination.program, Direction::ingress, way.source.peer_class, translated.protocol,
                      translated.destination_port);
      if (!verdict.allowed) return DropReason::policy_ingress;
      way.ingress_rule = verdict.rule;
    }
  }
  return DropReason::none;
}

DropReason Forwarder::deny(Passage& way, DropReason reason) noexcept {
  const bool egress = reason == DropReason::policy_egress;
  if ((egress || reason == DropReason::policy_ingress) &&
      way.view.image->deny_action(egress ? Direction::egress : Direction::ingress) == DenyAction::reject)
    refuse(way, Unreachable::admin_prohibited);
  return reason;
}

}  // namespace weft
