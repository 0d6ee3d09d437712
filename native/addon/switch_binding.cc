#include "addon/switch_binding.h"

#include <chrono>
#include <memory>

#include "addon/data_plane.h"
#include "addon/descriptor_watch.h"
#include "addon/explanation.h"
#include "addon/flow_value.h"
#include "addon/report_value.h"
#include "addon/switch_options.h"
#include "addon/value.h"

namespace weft::addon {

namespace {

const char* to_text(io::TapOrigin origin) {
  switch (origin) {
    case io::TapOrigin::created:
      return "created";
    case io::TapOrigin::reattached:
      return "re-attached";
    default:
      return "adopted";
  }
}

// Workers stamp events with the monotonic clock; the rest of the world wants the date.
double monotonic_to_realtime_ns() {
  using namespace std::chrono;
  const auto real = duration_cast<nanoseconds>(system_clock::now().time_since_epoch());
  const auto monotonic = duration_cast<nanoseconds>(steady_clock::now().time_since_epoch());
  return static_cast<double>((real - monotonic).count());
}

class SwitchBinding : public Napi::ObjectWrap<SwitchBinding> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "Switch",
                       {InstanceMethod<&SwitchBinding::start>("start"),
                        InstanceMethod<&SwitchBinding::stop>("stop"),
                        InstanceMethod<&SwitchBinding::attach>("attach"),
                        InstanceMethod<&SwitchBinding::detach>("detach"),
                        InstanceMethod<&SwitchBinding::update_addresses>("updateAddresses"),
                        InstanceMethod<&SwitchBinding::restore>("restore"),
                        InstanceMethod<&SwitchBinding::watch_host>("watchHost"),
                        InstanceMethod<&SwitchBinding::set_bandwidth>("setBandwidth"),
                        InstanceMethod<&SwitchBinding::load_image>("loadImage"),
                        InstanceMethod<&SwitchBinding::configure>("configure"),
                        InstanceMethod<&SwitchBinding::broken_ports>("brokenPorts"),
                        InstanceMethod<&SwitchBinding::release_unclaimed>("releaseUnclaimed"),
                        InstanceMethod<&SwitchBinding::figures>("figures"),
                        InstanceMethod<&SwitchBinding::counters>("counters"),
                        InstanceMethod<&SwitchBinding::connections>("connections"),
                        InstanceMethod<&SwitchBinding::explain>("explain"),
                        InstanceMethod<&SwitchBinding::take_flows>("takeFlows"),
                        InstanceMethod<&SwitchBinding::take_trial>("takeTrial"),
                        InstanceMethod<&SwitchBinding::end_trial>("endTrial"),
                        InstanceMethod<&SwitchBinding::start_capture>("startCapture"),
                        InstanceMethod<&SwitchBinding::take_capture>("takeCapture"),
                        InstanceMethod<&SwitchBinding::stop_capture>("stopCapture")});
  }

  explicit SwitchBinding(const Napi::CallbackInfo& info) : ObjectWrap(info) {
    options_ = read_options(info[0].As<Napi::Object>());
    auto opened = DataPlane::open(options_);
    if (!opened.ok()) {
      raise(info.Env(), opened.error());
      return;
    }
    plane_ = std::move(opened).value();
    // Threads call back into this object, so it lives until stop(), whatever JavaScript does with its
    // reference.
    Ref();
  }

 private:
  Napi::Value start(const Napi::CallbackInfo& info) {
    if (Status status = plane_->start(); !status.ok()) raise(info.Env(), status.error());
    return info.Env().Undefined();
  }

  Napi::Value stop(const Napi::CallbackInfo& info) {
    watch_.end();
    if (running_) Unref();
    running_ = false;
    plane_->stop();
    return info.Env().Undefined();
  }

  using Promised = std::shared_ptr<Settlement>;

  // (spec) → promise, which `begin` sees to; rejected where the spec cannot be read.
  Napi::Value with_port(const Napi::CallbackInfo& info, auto begin) {
    const Promised promised = Settlement::create(info.Env());
    const auto config = read_port(info[0].As<Napi::Object>(), options_);
    if (config.ok()) {
      begin(promised, config.value());
    } else {
      settle_status(promised, config.error());
    }
    return promised->promise();
  }

  // (spec) → promise of {instance, origin}
  Napi::Value attach(const Napi::CallbackInfo& info) {
    return with_port(info, [this](const Promised& promised, const PortConfig& config) {
      if (plane_->port_handle(config.id)) {
        settle_status(promised, Error{"port-exists", "port " + config.id + " is attached already"});
        return;
      }
      plane_->attach_device(config, [this, promised, config](Result<io::Tap> result) {
        auto tap = std::make_shared<Result<io::Tap>>(std::move(result));
        promised->settle([this, tap, config](Napi::Env env, const Napi::Promise::Deferred& deferred) {
          finish_attach(env, deferred, config, std::move(*tap));
        });
      });
    });
  }

  void finish_attach(Napi::Env env, const Napi::Promise::Deferred& deferred, const PortConfig& config,
                     Result<io::Tap> tap) {
    auto attached =
        tap.ok() ? plane_->finish_attach(config, std::move(tap).value()) : Result<Attached>(tap.error());
    if (!attached.ok()) {
      deferred.Reject(to_error(env, attached.error()).Value());
      return;
    }
    Napi::Object answer = Napi::Object::New(env);
    answer.Set("instance", to_number(env, attached.value().instance));
    answer.Set("origin", to_text(attached.value().origin));
    deferred.Resolve(answer);
  }

  // (spec) → promise of nothing
  Napi::Value detach(const Napi::CallbackInfo& info) {
    return with_port(info, [this](const Promised& promised, const PortConfig& config) {
      plane_->detach(config, [promised](Status status) { settle_status(promised, std::move(status)); });
    });
  }

  // (spec) → promise of nothing
  Napi::Value update_addresses(const Napi::CallbackInfo& info) {
    return with_port(info, [this](const Promised& promised, const PortConfig& config) {
      Status status = plane_->update_addresses(
          config, [promised](Status inside) { settle_status(promised, std::move(inside)); });
      if (!status.ok()) settle_status(promised, std::move(status));
    });
  }

  // (spec) → promise of what was not as it should be
  Napi::Value restore(const Napi::CallbackInfo& info) {
    return with_port(info, [this](const Promised& promised, const PortConfig& config) {
      plane_->restore(config, [promised](Result<io::Changes> result) {
        promised->settle(
            [result = std::move(result)](Napi::Env env, const Napi::Promise::Deferred& deferred) {
              if (!result.ok()) {
                deferred.Reject(to_error(env, result.error()).Value());
                return;
              }
              Napi::Array list = Napi::Array::New(env);
              uint32_t next = 0;
              for (const std::string& change : result.value()) list.Set(next++, change);
              deferred.Resolve(list);
            });
      });
    });
  }

  // (callback, which must not throw)
  Napi::Value watch_host(const Napi::CallbackInfo& info) {
    watch_.end();
    auto descriptor = plane_->watch_host();
    if (!descriptor.ok()) {
      raise(info.Env(), descriptor.error());
      return info.Env().Undefined();
    }
    host_touched_ = Napi::Persistent(info[0].As<Napi::Function>());
    watch_.begin(info.Env(), descriptor.value(), [this] {
      if (plane_->host_touched()) host_touched_.MakeCallback(Env().Global(), {});
    });
    return info.Env().Undefined();
  }

  // Of a live port; of one that has just gone there is nothing to limit.
  Napi::Value set_bandwidth(const Napi::CallbackInfo& info) {
    const auto config = read_port(info[0].As<Napi::Object>(), options_);
    if (!config.ok()) {
      raise(info.Env(), config.error());
    } else if (const auto handle = plane_->port_handle(config.value().id)) {
      [[maybe_unused]] const Status set = plane_->core().set_bandwidth(*handle, config.value().bandwidth);
    }
    return info.Env().Undefined();
  }

  // (image or null, {trial, bytes} or nothing) → {status, error?, shadow?: {status, error?}}
  Napi::Value load_image(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    Switch& core = plane_->core();
    Napi::Object answer = Napi::Object::New(env);
    auto image = next_image(env, info[0], core.shared_image(), answer);
    if (!image) return answer;
    std::optional<Switch::Shadow> shadow;
    if (info.Length() > 1 && info[1].IsObject()) {
      const auto wanted = info[1].As<Napi::Object>();
      Napi::Object told = Napi::Object::New(env);
      if (auto beside = next_image(env, wanted.Get("bytes"), core.shadow(), told); beside && *beside)
        shadow = {static_cast<uint64_t>(number_of(wanted, "trial")), std::move(*beside)};
      answer.Set("shadow", told);
    }
    if (*image) image_bytes_ = (*image)->size();
    core.set_images(std::move(*image), std::move(shadow));
    return answer;
  }

  // The image of these bytes, which is `current` where they are its own or there are none; `answer` is told
  // which. Nothing where they are refused.
  static std::optional<std::shared_ptr<const Image>> next_image(Napi::Env env, const Napi::Value& given,
                                                                const std::shared_ptr<const Image>& current,
                                                                Napi::Object& answer) {
    answer.Set("status", "unchanged");
    if (!given.IsTypedArray()) return current;
    const auto array = given.As<Napi::Uint8Array>();
    const std::span<const uint8_t> bytes(array.Data(), array.ByteLength());
    if (current != nullptr && current->holds(bytes)) return current;
    auto image = Image::load(bytes);
    if (!image.ok()) {
      answer.Set("status", "refused");
      answer.Set("error", to_error(env, image.error()).Value());
      return std::nullopt;
    }
    answer.Set("status", "loaded");
    return std::shared_ptr<const Image>(std::move(image).value());
  }

  Napi::Value configure(const Napi::CallbackInfo& info) {
    read_live_settings(info[0].As<Napi::Object>(), options_.settings.live);
    plane_->core().configure(options_.settings.live);
    return info.Env().Undefined();
  }

  Napi::Value broken_ports(const Napi::CallbackInfo& info) {
    return to_broken(info.Env(), plane_->broken_ports());
  }

  Napi::Value release_unclaimed(const Napi::CallbackInfo& info) {
    plane_->release_unclaimed();
    return info.Env().Undefined();
  }

  Napi::Value figures(const Napi::CallbackInfo& info) {
    return to_figures(info.Env(), *plane_, image_bytes_);
  }

  // (id, or nothing for all ports)
  Napi::Value counters(const Napi::CallbackInfo& info) {
    return to_counters(info.Env(), plane_->core().snapshot(), port_asked_for(info[0]));
  }

  // (limit, id or nothing for all ports)
  Napi::Value connections(const Napi::CallbackInfo& info) {
    return to_connections(info.Env(), *plane_, info[0].ToNumber().Uint32Value(), port_asked_for(info[1]));
  }

  static std::string port_asked_for(const Napi::Value& given) {
    return given.IsString() ? given.As<Napi::String>().Utf8Value() : std::string();
  }

  Napi::Value explain(const Napi::CallbackInfo& info) {
    const FlowTuple question = read_question(info[0].As<Napi::Object>());
    return to_explanation(info.Env(), plane_->core().explain(question), question.protocol,
                          [this](PortIndex index) { return plane_->port_id(index); });
  }

  Napi::Value take_flows(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    Napi::Array events = Napi::Array::New(env);
    uint32_t next = 0;
    uint64_t suppressed = 0;
    const double offset = monotonic_to_realtime_ns();
    plane_->core().drain_flows(info[0].ToNumber().Uint32Value(), [&](const FlowEvent& event) {
      suppressed += event.suppressed;
      events.Set(next++, to_flow(env, *plane_, event, offset));
    });
    const uint64_t lost = plane_->core().lost_flows();
    Napi::Object answer = Napi::Object::New(env);
    answer.Set("events", events);
    answer.Set("lost", to_number(env, lost - std::exchange(flows_lost_, lost) + suppressed));
    return answer;
  }

  // {events, counts}
  Napi::Value take_trial(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    Napi::Array events = Napi::Array::New(env);
    uint32_t next = 0;
    const double offset = monotonic_to_realtime_ns();
    plane_->core().drain_trial(info[0].ToNumber().Uint32Value(), [&](const TrialEvent& event) {
      events.Set(next++, to_trial(env, *plane_, event, offset));
    });
    const TrialCounts counts = plane_->core().trial_counts();
    Napi::Object sums = Napi::Object::New(env);
    sums.Set("judged", to_number(env, counts.judged));
    sums.Set("denied", to_number(env, counts.denied));
    sums.Set("allowed", to_number(env, counts.allowed));
    sums.Set("unnamed", to_number(env, counts.unnamed));
    Napi::Object answer = Napi::Object::New(env);
    answer.Set("events", events);
    answer.Set("counts", sums);
    return answer;
  }

  Napi::Value end_trial(const Napi::CallbackInfo& info) {
    plane_->core().set_images(plane_->core().shared_image(), std::nullopt);
    return info.Env().Undefined();
  }

  Napi::Value start_capture(const Napi::CallbackInfo& info) {
    const auto filter = info[0].As<Napi::Object>();
    constexpr double kWhole = 65535;
    auto started = plane_->start_capture(text_of(filter, "port"), flag_of(filter, "drops"),
                                         static_cast<uint32_t>(number_of(filter, "snapLength", kWhole)));
    if (started.ok()) return to_number(info.Env(), started.value());
    raise(info.Env(), started.error());
    return info.Env().Undefined();
  }

  Napi::Value take_capture(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    const uint32_t capture = info[0].ToNumber().Uint32Value();
    uint64_t lost = 0;
    const std::vector<Captured> taken = plane_->take_capture(capture, info[1].ToNumber().Uint32Value(), lost);
    const std::string* port = plane_->capture_port(capture);
    const double offset = monotonic_to_realtime_ns();
    Napi::Array events = Napi::Array::New(env, taken.size());
    uint32_t next = 0;
    for (const Captured& captured : taken)
      events.Set(next++,
                 to_captured(env, *plane_, captured, port == nullptr ? std::string() : *port, offset));
    Napi::Object answer = Napi::Object::New(env);
    answer.Set("events", events);
    answer.Set("lost", to_number(env, lost));
    return answer;
  }

  Napi::Value stop_capture(const Napi::CallbackInfo& info) {
    plane_->stop_capture(info[0].ToNumber().Uint32Value());
    return info.Env().Undefined();
  }

  DataPlaneOptions options_;
  std::unique_ptr<DataPlane> plane_;
  bool running_ = true;
  Napi::FunctionReference host_touched_;
  DescriptorWatch watch_;  // after what it calls and reads
  size_t image_bytes_ = 0;
  uint64_t flows_lost_ = 0;
};

}  // namespace

Napi::Function define_switch(Napi::Env env) {
  return SwitchBinding::define(env);
}

}  // namespace weft::addon
