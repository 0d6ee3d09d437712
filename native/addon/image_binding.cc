#include "addon/image_binding.h"

#include <cstring>
#include <memory>

#include "addon/value.h"
#include "policy/image.h"
#include "switch/decide.h"

namespace weft::addon {

namespace {

constexpr size_t kAddressBytes = 16;

struct Judged {
  bool egress = true;
  bool ingress = true;
  RuleIndex egress_rule = kNoRule;
  RuleIndex ingress_rule = kNoRule;
};

// The verdict on a new flow, as the switch reaches it after service translation: the source's egress, the
// destination's ingress, with the exemptions of NetworkPolicy (a pod and itself, a node and its own pods).
Judged judge_flow(const Image& image, const FlowTuple& flow) {
  Judged judged;
  if (flow.source == flow.destination) return judged;
  const Image::Classification source = image.classify(flow.source, flow.family);
  const Image::Classification destination = image.classify(flow.destination, flow.family);
  const bool from_own_node = (source.flags & (kAddressOwnNode | kAddressForwarded)) == kAddressOwnNode;
  const bool to_own_node = (destination.flags & kAddressOwnNode) != 0;
  if (source.program != kNoProgram && (!to_own_node || image.own_node_egress_judged())) {
    const Image::Verdict verdict = image.judge(source.program, Direction::egress, destination.peer_class,
                                               flow.protocol, flow.destination_port);
    judged.egress = verdict.allowed;
    judged.egress_rule = verdict.rule;
  }
  if (destination.program != kNoProgram && !from_own_node) {
    const Image::Verdict verdict = image.judge(destination.program, Direction::ingress, source.peer_class,
                                               flow.protocol, flow.destination_port);
    judged.ingress = verdict.allowed;
    judged.ingress_rule = verdict.rule;
  }
  return judged;
}

Address address_at(const uint8_t* addresses, size_t index) {
  return Address::v6_from(addresses + index * kAddressBytes);
}

class ImageBinding : public Napi::ObjectWrap<ImageBinding> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(
        env, "Image",
        {InstanceAccessor<&ImageBinding::bytes>("bytes"), InstanceMethod<&ImageBinding::classify>("classify"),
         InstanceMethod<&ImageBinding::judge>("judge"), InstanceMethod<&ImageBinding::translate>("translate"),
         InstanceMethod<&ImageBinding::rule_names>("ruleNames"),
         InstanceMethod<&ImageBinding::isolating>("isolatingPolicies")});
  }

  explicit ImageBinding(const Napi::CallbackInfo& info) : ObjectWrap(info) {
    const Napi::Env env = info.Env();
    if (info.Length() < 1 || !info[0].IsTypedArray()) {
      Napi::TypeError::New(env, "Image takes a Uint8Array").ThrowAsJavaScriptException();
      return;
    }
    const auto bytes = info[0].As<Napi::Uint8Array>();
    auto image = Image::load({bytes.Data(), bytes.ByteLength()});
    if (!image.ok()) {
      raise(env, image.error());
      return;
    }
    image_ = std::move(image).value();
  }

 private:
  Napi::Value bytes(const Napi::CallbackInfo& info) { return to_number(info.Env(), image_->size()); }

  Napi::Value classify(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    const auto addresses = info[0].As<Napi::Uint8Array>();
    const auto families = info[1].As<Napi::Uint8Array>();
    const size_t count = families.ElementLength();
    if (addresses.ElementLength() != count * kAddressBytes) return mismatch(env);
    auto classes = Napi::Uint32Array::New(env, count);
    auto programs = Napi::Uint32Array::New(env, count);
    auto flags = Napi::Uint32Array::New(env, count);
    for (size_t i = 0; i < count; ++i) {
      const Image::Classification one = image_->classify(address_at(addresses.Data(), i), families.Data()[i]);
      classes.Data()[i] = one.peer_class;
      programs.Data()[i] = one.program;
      flags.Data()[i] = one.flags;
    }
    Napi::Object answer = Napi::Object::New(env);
    answer.Set("classes", classes);
    answer.Set("programs", programs);
    answer.Set("flags", flags);
    return answer;
  }

  Napi::Value judge(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    const auto queries = info[0].As<Napi::Object>();
    const auto sources = queries.Get("sources").As<Napi::Uint8Array>();
    const auto destinations = queries.Get("destinations").As<Napi::Uint8Array>();
    const auto families = queries.Get("families").As<Napi::Uint8Array>();
    const auto protocols = queries.Get("protocols").As<Napi::Uint8Array>();
    const auto ports = queries.Get("ports").As<Napi::Uint16Array>();
    const size_t count = families.ElementLength();
    if (sources.ElementLength() != count * kAddressBytes ||
        destinations.ElementLength() != count * kAddressBytes || protocols.ElementLength() != count ||
        ports.ElementLength() != count)
      return mismatch(env);
    auto allowed = Napi::Uint8Array::New(env, count);
    auto egress_rules = Napi::Uint32Array::New(env, count);
    auto ingress_rules = Napi::Uint32Array::New(env, count);
    for (size_t i = 0; i < count; ++i) {
      FlowTuple flow;
      flow.source = address_at(sources.Data(), i);
      flow.destination = address_at(destinations.Data(), i);
      flow.destination_port = ports.Data()[i];
      flow.protocol = protocols.Data()[i];
      flow.family = families.Data()[i];
      const Judged judged = judge_flow(*image_, flow);
      allowed.Data()[i] = static_cast<uint8_t>((judged.egress ? 1 : 0) | (judged.ingress ? 2 : 0));
      egress_rules.Data()[i] = judged.egress_rule;
      ingress_rules.Data()[i] = judged.ingress_rule;
    }
    Napi::Object answer = Napi::Object::New(env);
    answer.Set("allowed", allowed);
    answer.Set("egressRules", egress_rules);
    answer.Set("ingressRules", ingress_rules);
    return answer;
  }

  // (client, protocol, address, port) of a pod's new flow → why no endpoint is chosen (a drop reason), or the
  // Service's name and endpoints; undefined: no Service's.
  Napi::Value translate(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    const auto addresses = info[0].As<Napi::Uint8Array>();
    if (addresses.ElementLength() != 2 * kAddressBytes) return mismatch(env);
    const Address client = address_at(addresses.Data(), 0), to = address_at(addresses.Data(), 1);
    const auto family = static_cast<uint8_t>(client.is_v4() ? 4 : 6);
    Service service;
    if (!image_->services().find(static_cast<uint8_t>(info[1].ToNumber().Uint32Value()), to,
                                 static_cast<uint16_t>(info[2].ToNumber().Uint32Value()), service))
      return (image_->classify(to, family).flags & kAddressService) != 0
                 ? Napi::String::New(env, drop_reason_name(DropReason::service_port))
                 : env.Undefined();
    if (const DropReason reason = admit(service, client); reason != DropReason::none)
      return Napi::String::New(env, drop_reason_name(reason));
    const auto list = [&](std::span<const Backend> backends) {
      auto bytes = Napi::Uint8Array::New(env, backends.size() * (kAddressBytes + 2));
      uint8_t* out = bytes.Data();
      for (const Backend& one : backends) {
        std::memcpy(out, one.address.bytes.data(), kAddressBytes);
        out[kAddressBytes] = static_cast<uint8_t>(one.port >> 8);
        out[kAddressBytes + 1] = static_cast<uint8_t>(one.port);
        out += kAddressBytes + 2;
      }
      return bytes;
    };
    Napi::Object answer = Napi::Object::New(env);
    answer.Set("name", std::string(service.name));
    answer.Set("affinitySeconds", to_number(env, service.affinity_seconds));
    answer.Set("backends", list(service.backends));
    answer.Set("kept", list(service.kept));
    return answer;
  }

  Napi::Value rule_names(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    Napi::Array names = Napi::Array::New(env, image_->rule_count());
    for (uint32_t i = 0; i < image_->rule_count(); ++i) names.Set(i, to_rule(env, image_.get(), i));
    return names;
  }

  Napi::Value isolating(const Napi::CallbackInfo& info) {
    const uint32_t program = info[0].ToNumber().Uint32Value();
    const Direction direction =
        info[1].ToString().Utf8Value() == "egress" ? Direction::egress : Direction::ingress;
    return to_policies(info.Env(), *image_, program, direction);
  }

  static Napi::Value mismatch(Napi::Env env) {
    Napi::TypeError::New(env, "the columns differ in length").ThrowAsJavaScriptException();
    return env.Undefined();
  }

  std::unique_ptr<Image> image_;
};

}  // namespace

Napi::Function define_image(Napi::Env env) {
  return ImageBinding::define(env);
}

}  // namespace weft::addon
