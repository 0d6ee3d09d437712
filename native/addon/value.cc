#include "addon/value.h"

namespace weft::addon {

Napi::Error to_error(Napi::Env env, const Error& error) {
  Napi::Error value = Napi::Error::New(env, error.message);
  value.Set("code", Napi::String::New(env, error.code));
  value.Set("errno", Napi::Number::New(env, error.errno_value));
  return value;
}

void raise(Napi::Env env, const Error& error) {
  to_error(env, error).ThrowAsJavaScriptException();
}

std::string text_of(const Napi::Object& object, const char* key) {
  const Napi::Value value = object.Get(key);
  return value.IsString() ? value.As<Napi::String>().Utf8Value() : std::string();
}

double number_of(const Napi::Object& object, const char* key, double otherwise) {
  const Napi::Value value = object.Get(key);
  return value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : otherwise;
}

bool flag_of(const Napi::Object& object, const char* key) {
  const Napi::Value value = object.Get(key);
  return value.IsBoolean() && value.As<Napi::Boolean>().Value();
}

namespace {
std::string policy_name(const Image& image, uint32_t policy) {
  const Image::Policy found = image.policy(policy);
  return std::string(found.policy_namespace) + "/" + std::string(found.name);
}
}  // namespace

Napi::Value to_rule(Napi::Env env, const Image* image, RuleIndex index) {
  if (image == nullptr || index >= image->rule_count()) return env.Undefined();
  const Image::Rule rule = image->rule(index);
  Napi::Object value = Napi::Object::New(env);
  value.Set("policy", policy_name(*image, rule.policy));
  value.Set("direction", to_text(rule.direction));
  value.Set("index", to_number(env, rule.index));
  return value;
}

Napi::Array to_policies(Napi::Env env, const Image& image, uint32_t program, Direction direction) {
  Napi::Array list = Napi::Array::New(env);
  if (program >= image.program_count()) return list;
  uint32_t next = 0;
  for (const uint32_t policy : image.isolating(program, direction))
    list.Set(next++, policy_name(image, policy));
  return list;
}

Napi::Object to_end(Napi::Env env, const Address& address, uint16_t port, uint8_t protocol) {
  Napi::Object value = Napi::Object::New(env);
  value.Set("address", to_string(address));
  const auto known = static_cast<Protocol>(protocol);
  if (known == Protocol::tcp || known == Protocol::udp || known == Protocol::sctp)
    value.Set("port", to_number(env, port));
  return value;
}

std::shared_ptr<Settlement> Settlement::create(Napi::Env env) {
  std::shared_ptr<Settlement> self(new Settlement(env));
  self->call_ = Napi::ThreadSafeFunction::New(env, Napi::Function::New(env, [](const Napi::CallbackInfo&) {}),
                                              "weft", 0, 1);
  return self;
}

void Settlement::settle(With with) {
  // The callback holds the settlement: it may outlive every other owner.
  call_.BlockingCall(
      [self = shared_from_this(), with = std::move(with)](Napi::Env env, const Napi::Function&) {
        const Napi::HandleScope scope(env);
        with(env, self->deferred_);
      });
  call_.Release();
}

void settle_status(const std::shared_ptr<Settlement>& settlement, Status status) {
  settlement->settle([status = std::move(status)](Napi::Env env, const Napi::Promise::Deferred& deferred) {
    if (status.ok()) {
      deferred.Resolve(env.Undefined());
    } else {
      deferred.Reject(to_error(env, status.error()).Value());
    }
  });
}

}  // namespace weft::addon
