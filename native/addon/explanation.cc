#include "addon/explanation.h"

#include "addon/value.h"

namespace weft::addon {
namespace {

constexpr size_t kAddressBytes = 16;

Address read_address(const Napi::Object& question, const char* key) {
  const Napi::Value value = question.Get(key);
  if (!value.IsTypedArray()) return {};
  const auto bytes = value.As<Napi::Uint8Array>();
  return bytes.ElementLength() == kAddressBytes ? Address::v6_from(bytes.Data()) : Address{};
}

const char* to_text(Basis basis) {
  switch (basis) {
    case Basis::elsewhere:
      return "elsewhere";
    case Basis::self:
      return "self";
    case Basis::own_node:
      return "own-node";
    case Basis::unknown:
      return "unknown";
    case Basis::not_isolated:
      return "not-isolated";
    case Basis::rule:
      return "rule";
    case Basis::isolated:
      return "isolated";
  }
  return "";
}

Napi::Object to_side(Napi::Env env, const Image& image, const Decision& side, uint32_t program,
                     Direction direction) {
  Napi::Object value = Napi::Object::New(env);
  value.Set("basis", to_text(side.basis));
  if (const Napi::Value rule = to_rule(env, &image, side.rule); !rule.IsUndefined()) value.Set("rule", rule);
  const bool asked = side.basis == Basis::rule || side.basis == Basis::isolated;
  value.Set("isolatedBy", asked ? to_policies(env, image, program, direction) : Napi::Array::New(env));
  return value;
}

}  // namespace

FlowTuple read_question(const Napi::Object& question) {
  FlowTuple flow;
  flow.source = read_address(question, "source");
  flow.destination = read_address(question, "destination");
  flow.family = static_cast<uint8_t>(number_of(question, "family"));
  flow.protocol = static_cast<uint8_t>(number_of(question, "protocol"));
  flow.destination_port = static_cast<uint16_t>(number_of(question, "port"));
  return flow;
}

Napi::Object to_explanation(Napi::Env env, const Explained& explained, uint8_t protocol,
                            const std::function<const std::string*(PortIndex)>& port_id) {
  Napi::Object answer = Napi::Object::New(env);
  answer.Set("generation", std::to_string(explained.generation));
  answer.Set("image", explained.image != nullptr);
  const auto set_port = [&](Napi::Object& of, const char* key, const Port* port) {
    if (port == nullptr) return;
    if (const std::string* id = port_id(port->index)) of.Set(key, *id);
  };
  set_port(answer, "from", explained.in);
  if (explained.service) {
    Napi::Object service = Napi::Object::New(env);
    service.Set("name", std::string(explained.service->name));
    service.Set("affinitySeconds", to_number(env, explained.service->affinity_seconds));
    if (explained.service_reason != DropReason::none)
      service.Set("reason", std::string(drop_reason_name(explained.service_reason)));
    answer.Set("service", service);
  }
  Napi::Array ways = Napi::Array::New(env);
  uint32_t next = 0;
  for (const ExplainedWay& way : explained.ways) {
    Napi::Object item = Napi::Object::New(env);
    item.Set("destination", to_end(env, way.address, way.port, protocol));
    if (way.reason != DropReason::none) item.Set("reason", std::string(drop_reason_name(way.reason)));
    if (way.out != nullptr) {
      set_port(item, "to", way.out);
      item.Set("egress", to_side(env, *explained.image, way.egress, way.source_program, Direction::egress));
      item.Set("ingress",
               to_side(env, *explained.image, way.ingress, way.destination_program, Direction::ingress));
    }
    ways.Set(next++, item);
  }
  answer.Set("ways", ways);
  return answer;
}

}  // namespace weft::addon
