// JavaScript values from and to the switch's. Values arrive validated (TypeScript parses the protocol), so a
// missing or mistyped field is a bug of ours: reading one gives an empty value, and what the switch cannot
// run with it refuses itself.
#pragma once

#include <napi.h>

#include <functional>
#include <memory>
#include <string>

#include "base/result.h"
#include "generated/drop_reason.h"
#include "packet/flow.h"
#include "policy/image.h"

namespace weft::addon {

// An Error object with `code` and `errno`.
Napi::Error to_error(Napi::Env env, const Error& error);
// Throws it into JavaScript; the caller returns at once.
void raise(Napi::Env env, const Error& error);

std::string text_of(const Napi::Object& object, const char* key);
// `otherwise` where the field is absent.
double number_of(const Napi::Object& object, const char* key, double otherwise = 0);
bool flag_of(const Napi::Object& object, const char* key);

// {policy, direction, index}; undefined for kNoRule and for rules of an image that is gone.
Napi::Value to_rule(Napi::Env env, const Image* image, RuleIndex rule);
Napi::Array to_policies(Napi::Env env, const Image& image, uint32_t program, Direction direction);
// {address, port?}; protocols without ports have none.
Napi::Object to_end(Napi::Env env, const Address& address, uint16_t port, uint8_t protocol);

inline Napi::Value to_number(Napi::Env env, auto value) {
  return Napi::Number::New(env, static_cast<double>(value));
}
inline Napi::Value to_text(Napi::Env env, const std::string& value) {
  return Napi::String::New(env, value);
}
inline const char* to_text(Direction direction) {
  return direction == Direction::egress ? "egress" : "ingress";
}

// A promise that another thread settles. Made on the JavaScript thread; settle() may be called once, from any
// thread, and runs `with` on the JavaScript thread. The process stays alive until then.
class Settlement : public std::enable_shared_from_this<Settlement> {
 public:
  using With = std::function<void(Napi::Env, const Napi::Promise::Deferred&)>;
  static std::shared_ptr<Settlement> create(Napi::Env env);
  [[nodiscard]] Napi::Promise promise() const { return deferred_.Promise(); }
  void settle(With with);

 private:
  explicit Settlement(Napi::Env env) : deferred_(Napi::Promise::Deferred::New(env)) {}
  Napi::Promise::Deferred deferred_;
  Napi::ThreadSafeFunction call_;
};

// Resolves with undefined or rejects.
void settle_status(const std::shared_ptr<Settlement>& settlement, Status status);

}  // namespace weft::addon
