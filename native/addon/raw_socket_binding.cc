#include "addon/raw_socket_binding.h"

#include <array>
#include <cerrno>
#include <memory>
#include <optional>
#include <string>

#include "addon/value.h"
#include "io/raw_socket.h"

namespace weft::addon {

namespace {

constexpr size_t kLargestFrame = 10 + 14 + 4 + 65535;

class RawSocketBinding : public Napi::ObjectWrap<RawSocketBinding> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "RawSocket",
                       {InstanceMethod<&RawSocketBinding::send>("send"),
                        InstanceMethod<&RawSocketBinding::receive>("receive"),
                        InstanceMethod<&RawSocketBinding::close>("close")});
  }

  // ({netns, ifname, vnetHeader}). Opens on a namespace thread of its own that ends at once: takes a
  // millisecond.
  explicit RawSocketBinding(const Napi::CallbackInfo& info) : ObjectWrap(info) {
    const auto options = info[0].As<Napi::Object>();
    // JavaScript values are read here: on the namespace thread they may not be touched.
    const std::string netns = text_of(options, "netns");
    const std::string ifname = text_of(options, "ifname");
    const bool vnet_header = flag_of(options, "vnetHeader");
    auto thread = io::NamespaceThread::start();
    if (!thread.ok()) {
      raise(info.Env(), thread.error());
      return;
    }
    std::optional<Result<io::RawSocket>> opened;
    thread.value()->run([&](const io::NamespaceContext& context) {
      opened.emplace(io::RawSocket::open(context, netns, ifname, vnet_header));
    });
    if (opened->ok()) {
      socket_.emplace(std::move(*opened).value());
    } else {
      raise(info.Env(), opened->error());
    }
  }

 private:
  Napi::Value send(const Napi::CallbackInfo& info) {
    const auto bytes = info[0].As<Napi::Uint8Array>();
    const int64_t sent = socket_ ? socket_->send({bytes.Data(), bytes.ByteLength()}) : -EBADF;
    return to_number(info.Env(), sent);
  }

  Napi::Value receive(const Napi::CallbackInfo& info) {
    std::array<uint8_t, kLargestFrame> buffer;
    const int64_t length = socket_ ? socket_->receive(buffer) : -EBADF;
    if (length < 0) return info.Env().Null();
    return Napi::Buffer<uint8_t>::Copy(info.Env(), buffer.data(), static_cast<size_t>(length));
  }

  Napi::Value close(const Napi::CallbackInfo& info) {
    socket_.reset();
    return info.Env().Undefined();
  }

  std::optional<io::RawSocket> socket_;
};

}  // namespace

void register_raw_socket(Napi::Env env, Napi::Object exports) {
  exports.Set("RawSocket", RawSocketBinding::define(env));
}

}  // namespace weft::addon
