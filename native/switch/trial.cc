#include "switch/trial.h"

#include "switch/forwarder.h"

namespace weft {

void Forwarder::begin_trial() {
  trial_ = std::make_unique<TrialLog>(settings_.flow_ring / 4);
}

void Forwarder::end_trial() noexcept {
  trial_.reset();
}

TrialCounts Forwarder::trial_counts() const noexcept {
  if (trial_ == nullptr) return {};
  return {.judged = trial_->judged.value(),
          .denied = trial_->denied.value(),
          .allowed = trial_->allowed.value(),
          .unnamed = trial_->unnamed.value()};
}

// Asks the shadow about what `actual` was just decided for. `told`: as the initiator sent it; `translated`:
// what was judged. `judged_before`: the connection has been judged since the trial began.
void Forwarder::compare(const Passage& way, const Port& from, const Port& to, const FlowTuple& told,
                        const FlowTuple& translated, DropReason actual, bool judged_before) noexcept {
  const Image& shadow = *way.view.shadow;
  const Image::Classification source = shadow.classify(translated.source, translated.family);
  const Image::Classification destination = shadow.classify(translated.destination, translated.family);
  const Ruling ruling = rule(shadow, source, destination, from, to, translated);

  const bool passes = actual == DropReason::none;
  const bool would_pass = ruling.reason == DropReason::none;
  const bool differs = passes != would_pass;
  if (judged_before && !differs) return;
  // A connection that nothing sets apart is known by its generation and needs no place in the memory.
  const uint64_t mark = (passes ? 1u : 0u) | (would_pass ? 2u : 0u) | 4u;
  if ((differs || !passes) && !trial_->note(table_.hash_of(told), mark)) return;
  if (!judged_before) {
    trial_->judged.add(1);
    if (differs) (passes ? trial_->denied : trial_->allowed).add(1);
  }
  if (!differs) return;
  // Rates of their own: a flood neither hides what other pods' flows would meet, nor what the same pod's
  // flows to elsewhere would, nor what is really denied.
  Port& in = way.in;
  FlowTuple kind = told;
  kind.source_port = 0;
  TokenBucket& rate = trial_->note_kind(table_.hash_of(kind), mark) ? in.trial_kinds : in.trials;
  if (!rate.take(way.now_ns, way.view.live.flows_per_second, way.view.live.flow_burst)) {
    trial_->unnamed.add(1);
    return;
  }
  TrialEvent event;
  event.actual = event_of(way, passes ? FlowVerdict::allowed : FlowVerdict::denied, actual, 0);
  event.actual.tuple = told;
  event.actual.backend = translated.destination;
  event.actual.backend_port = translated.destination_port;
  event.actual.in_port = from.index;
  event.actual.out_port = to.index;
  event.shadow = ruling;
  event.source_program = source.program;
  event.destination_program = destination.program;
  if (!trial_->events().push(event)) trial_->unnamed.add(1);
}

}  // namespace weft
