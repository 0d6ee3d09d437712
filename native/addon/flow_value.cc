#include "addon/flow_value.h"

#include "addon/value.h"

namespace weft::addon {

namespace {

// The rules that allowed.
void tell_rules(Napi::Object& item, const Image* image, RuleIndex egress, RuleIndex ingress) {
  if (const Napi::Value rule = to_rule(item.Env(), image, egress); !rule.IsUndefined())
    item.Set("egress", rule);
  if (const Napi::Value rule = to_rule(item.Env(), image, ingress); !rule.IsUndefined())
    item.Set("ingress", rule);
}

// Who decided: the rules that allowed, or the policies that isolate the end that was denied.
void tell_ruling(Napi::Object& item, const Image* image, const Ruling& ruling, uint32_t source_program,
                 uint32_t destination_program) {
  const Napi::Env env = item.Env();
  tell_rules(item, image, ruling.egress_rule, ruling.ingress_rule);
  if (image == nullptr) return;
  const bool ingress = ruling.reason == DropReason::policy_ingress;
  const uint32_t program = ingress ? destination_program : source_program;
  if ((ingress || ruling.reason == DropReason::policy_egress) && program < image->program_count())
    item.Set("isolatedBy",
             to_policies(env, *image, program, ingress ? Direction::ingress : Direction::egress));
}

// Isolated, and allowed by no rule: a pod and its own node, or a pod and itself.
bool exempt(const Image& image, const FlowEvent& event) {
  const auto without_rule = [&](uint32_t program, Direction direction, RuleIndex rule) {
    return program < image.program_count() && rule == kNoRule && image.isolated(program, direction);
  };
  return without_rule(event.source_program, Direction::egress, event.egress_rule) ||
         without_rule(event.destination_program, Direction::ingress, event.ingress_rule);
}

}  // namespace

Napi::Object to_flow(Napi::Env env, const DataPlane& plane, const FlowEvent& event, double offset) {
  constexpr const char* kVerdicts[] = {"allowed", "denied", "dropped"};
  constexpr double kMillisecondNs = 1e6;
  Napi::Object item = Napi::Object::New(env);
  item.Set("time", to_number(env, (static_cast<double>(event.time_ns) + offset) / kMillisecondNs));
  item.Set("verdict", kVerdicts[static_cast<size_t>(event.verdict)]);
  if (event.reason != DropReason::none) item.Set("reason", std::string(drop_reason_name(event.reason)));
  const FlowTuple& flow = event.tuple;
  item.Set("protocol", to_number(env, flow.protocol));
  item.Set("family", to_number(env, flow.family));
  item.Set("source", to_end(env, flow.source, flow.source_port, flow.protocol));
  item.Set("destination", to_end(env, flow.destination, flow.destination_port, flow.protocol));
  if (event.backend != flow.destination && !event.backend.is_unspecified())
    item.Set("translated", to_end(env, event.backend, event.backend_port, flow.protocol));
  if (const std::string* id = plane.port_id(event.in_port)) item.Set("fromPort", *id);
  if (const std::string* id = plane.port_id(event.out_port)) item.Set("toPort", *id);
  const std::shared_ptr<const Image> image = plane.core().image_of(event.generation);
  if (event.verdict == FlowVerdict::denied && image) item.Set("isolatedBy", Napi::Array::New(env));
  if (event.verdict == FlowVerdict::allowed && image && exempt(*image, event)) item.Set("exempt", true);
  tell_ruling(item, image.get(), {event.reason, event.egress_rule, event.ingress_rule}, event.source_program,
              event.destination_program);
  return item;
}

Napi::Object to_trial(Napi::Env env, const DataPlane& plane, const TrialEvent& event, double offset) {
  Napi::Object shadow = Napi::Object::New(env);
  const bool allowed = event.shadow.reason == DropReason::none;
  shadow.Set("verdict", allowed ? "allowed" : "denied");
  if (!allowed) shadow.Set("reason", std::string(drop_reason_name(event.shadow.reason)));
  tell_ruling(shadow, plane.core().shadow_of(event.actual.generation).get(), event.shadow,
              event.source_program, event.destination_program);
  Napi::Object item = Napi::Object::New(env);
  item.Set("actual", to_flow(env, plane, event.actual, offset));
  item.Set("shadow", shadow);
  return item;
}

Napi::Object to_captured(Napi::Env env, const DataPlane& plane, const Captured& captured,
                         const std::string& port, double offset) {
  const CaptureRecord& record = captured.record;
  Napi::Object item = Napi::Object::New(env);
  item.Set("time", std::to_string(record.time_ns + static_cast<uint64_t>(offset)));
  item.Set("port", port);
  item.Set("direction", record.side == CaptureSide::from_pod ? "egress" : "ingress");
  item.Set("length", to_number(env, record.frame_length));
  item.Set("data", Napi::Buffer<uint8_t>::Copy(env, captured.bytes.data(), captured.bytes.size()));
  if (record.reason != DropReason::none) item.Set("reason", std::string(drop_reason_name(record.reason)));
  if (record.answered) item.Set("answered", true);
  tell_rules(item, plane.core().image_of(record.generation).get(), record.egress_rule, record.ingress_rule);
  return item;
}

}  // namespace weft::addon
