// Policy for one connection: egress of the source pod, ingress of the destination pod.
#include "switch/decide.h"
#include "switch/forwarder.h"

namespace weft {

// `from` and `to` are the ports of the initiator and of the (translated) destination; `source` and
// `destination` are what the image knows of their addresses; `translated` has the destination port that
// policy means.
Ruling Forwarder::rule(const Image& image, const Image::Classification& source,
                       const Image::Classification& destination, const Port& from, const Port& to,
                       const FlowTuple& translated) noexcept {
  const Ends ends{from, to, source, destination};
  Ruling ruling;
  const Decision egress = judge_egress(image, ends, translated);
  ruling.egress_rule = egress.rule;
  ruling.reason = egress.reason;
  if (egress.reason != DropReason::none) return ruling;
  const Decision ingress = judge_ingress(image, ends, translated);
  ruling.ingress_rule = ingress.rule;
  ruling.reason = ingress.reason;
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
