// The addon's one entry point.
#include <napi.h>

#include "addon/allocator.h"
#include "addon/image_binding.h"
#include "addon/lab.h"
#include "addon/raw_socket_binding.h"
#include "addon/switch_binding.h"
#include "addon/value.h"
#include "io/control_schedule.h"
#include "io/file_lock.h"
#include "io/nft_table.h"
#include "io/peer.h"
#include "io/writer.h"

namespace weft::addon {

namespace {

// (descriptor) → {pid, uid, gid}
Napi::Value peer_credentials(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const auto peer = io::peer_credentials(info[0].ToNumber().Int32Value());
  if (!peer.ok()) {
    raise(env, peer.error());
    return env.Undefined();
  }
  Napi::Object answer = Napi::Object::New(env);
  answer.Set("pid", to_number(env, peer.value().pid));
  answer.Set("uid", to_number(env, peer.value().uid));
  answer.Set("gid", to_number(env, peer.value().gid));
  return answer;
}

// (path) → true, false, or null where it cannot be told
Napi::Value has_writer(const Napi::CallbackInfo& info) {
  const std::optional<bool> answer = io::has_writer(info[0].ToString().Utf8Value());
  if (!answer) return info.Env().Null();
  return Napi::Boolean::New(info.Env(), *answer);
}

// (milliseconds of processor time, milliseconds in which that is the most): the thread that runs JavaScript
void schedule_control_thread(const Napi::CallbackInfo& info) {
  constexpr int64_t kMillisecond = 1'000'000;
  const io::ControlBudget budget{info[0].ToNumber().Uint32Value() * kMillisecond,
                                 info[1].ToNumber().Uint32Value() * kMillisecond};
  if (const Status outcome = io::schedule_control(budget); !outcome.ok()) raise(info.Env(), outcome.error());
}

// (path) → descriptor, or null where another process has the lock
Napi::Value lock_file(const Napi::CallbackInfo& info) {
  auto locked = io::lock_file(info[0].ToString().Utf8Value());
  if (!locked.ok()) {
    raise(info.Env(), locked.error());
    return info.Env().Undefined();
  }
  if (!locked.value()) return info.Env().Null();
  return to_number(info.Env(), locked.value()->release());
}

// (table, chains) → text
Napi::Value nft_table_mark(const Napi::CallbackInfo& info) {
  std::vector<std::string> chains;
  const auto list = info[1].As<Napi::Array>();
  for (uint32_t i = 0; i < list.Length(); ++i) chains.push_back(list.Get(i).ToString().Utf8Value());
  const auto mark = io::nft_table_mark(info[0].ToString().Utf8Value(), chains);
  if (mark.ok()) return to_text(info.Env(), mark.value());
  raise(info.Env(), mark.error());
  return info.Env().Undefined();
}

}  // namespace

Napi::Object initialise(Napi::Env env, Napi::Object exports) {
  return_free_memory();
  exports.Set("Switch", define_switch(env));
  exports.Set("Image", define_image(env));
  exports.Set("peerCredentials", Napi::Function::New(env, peer_credentials, "peerCredentials"));
  exports.Set("hasWriter", Napi::Function::New(env, has_writer, "hasWriter"));
  exports.Set("scheduleControl", Napi::Function::New(env, schedule_control_thread, "scheduleControl"));
  exports.Set("lockFile", Napi::Function::New(env, lock_file, "lockFile"));
  exports.Set("nftTableMark", Napi::Function::New(env, nft_table_mark, "nftTableMark"));
  register_raw_socket(env, exports);
  register_lab(env, exports);
  return exports;
}

}  // namespace weft::addon

// The macro wants an unqualified name.
static Napi::Object weft_initialise(Napi::Env env, Napi::Object exports) {
  return weft::addon::initialise(env, exports);
}
NODE_API_MODULE(weft, weft_initialise)
