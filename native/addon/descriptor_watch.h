// Hears on the JavaScript thread that a descriptor is readable.
#pragma once

#include <napi.h>
#include <uv.h>

#include <functional>
#include <utility>

namespace weft::addon {

class DescriptorWatch {
 public:
  DescriptorWatch() = default;
  DescriptorWatch(const DescriptorWatch&) = delete;
  DescriptorWatch& operator=(const DescriptorWatch&) = delete;
  ~DescriptorWatch() { end(); }

  // Calls `readable` within a handle scope as long as there is something to read, until end(), before which
  // the descriptor must not be closed. Keeps no process alive.
  void begin(Napi::Env env, int descriptor, std::function<void()> readable) {
    end();
    uv_loop_s* loop = nullptr;
    if (napi_get_uv_event_loop(env, &loop) != napi_ok) return;
    state_ = new State{{}, env, std::move(readable)};
    state_->poll.data = state_;
    uv_poll_init(loop, &state_->poll, descriptor);
    uv_unref(reinterpret_cast<uv_handle_t*>(&state_->poll));
    uv_poll_start(&state_->poll, UV_READABLE, [](uv_poll_t* poll, int, int) {
      const auto* state = static_cast<State*>(poll->data);
      const Napi::HandleScope scope(state->env);
      state->readable();
    });
  }

  void end() {
    if (state_ == nullptr) return;
    // The loop holds the handle until it says that it is closed.
    uv_close(reinterpret_cast<uv_handle_t*>(&std::exchange(state_, nullptr)->poll),
             [](uv_handle_t* handle) { delete static_cast<State*>(handle->data); });
  }

 private:
  struct State {
    uv_poll_t poll;
    Napi::Env env;
    std::function<void()> readable;
  };
  State* state_ = nullptr;
};

}  // namespace weft::addon
