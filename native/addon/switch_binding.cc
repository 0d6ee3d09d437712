#include "addon/switch_binding.h"

#include <chrono>
#include <memory>

#include "addon/data_plane.h"
#include "addon/descriptor_watch.h"
#include "addon/explanation.h"
#include "addon/flow_value.h"
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

Napi::Object to_drops(Napi::Env env, const PortTotals& totals) {
  Napi::Object drops = Napi::Object::New(env);
  for (size_t reason = 1; reason < drop_reason_count; ++reason)
    if (totals.drops[reason] != 0)
      drops.Set(std::string(drop_reason_name(static_cast<DropReason>(reason))),
                to_number(env, totals.drops[reason]));
  return drops;
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

  Napi::Value attach(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    auto settlement = Settlement::create(env);
    auto config = read_port(info[0].As<Napi::Object>(), options_);
    if (!config.ok()) {
      settle_status(settlement, config.error());
      return settlement->promise();
    }
    if (plane_->port_handle(config.value().id)) {
      settle_status(settlement, Error{"port-exists", "port " + config.value().id + " is attached already"});
      return settlement->promise();
    }
    plane_->attach_device(
        config.value(), [this, settlement, config = config.value()](Result<io::Tap> result) {
          auto tap = std::make_shared<Result<io::Tap>>(std::move(result));
          settlement->settle([this, tap, config](Napi::Env env_, const Napi::Promise::Deferred& deferred) {
            if (!tap->ok()) {
              deferred.Reject(to_error(env_, tap->error()).Value());
              return;
            }
            auto attached = plane_->finish_attach(config, std::move(*tap).value());
            if (!attached.ok()) {
              deferred.Reject(to_error(env_, attached.error()).Value());
              return;
            }
            Napi::Object answer = Napi::Object::New(env_);
            answer.Set("instance", to_number(env_, attached.value().instance));
            answer.Set("origin", to_text(attached.value().origin));
            deferred.Resolve(answer);
          });
        });
    return settlement->promise();
  }

  Napi::Value detach(const Napi::CallbackInfo& info) {
    auto settlement = Settlement::create(info.Env());
    auto config = read_port(info[0].As<Napi::Object>(), options_);
    if (!config.ok()) {
      settle_status(settlement, config.error());
    } else {
      plane_->detach(config.value(),
                     [settlement](Status status) { settle_status(settlement, std::move(status)); });
    }
    return settlement->promise();
  }

  Napi::Value update_addresses(const Napi::CallbackInfo& info) {
    auto settlement = Settlement::create(info.Env());
    auto config = read_port(info[0].As<Napi::Object>(), options_);
    if (!config.ok()) {
      settle_status(settlement, config.error());
      return settlement->promise();
    }
    Status status = plane_->update_addresses(
        config.value(), [settlement](Status inside) { settle_status(settlement, std::move(inside)); });
    if (!status.ok()) settle_status(settlement, std::move(status));
    return settlement->promise();
  }

  // (spec) → promise of what was not as it should be
  Napi::Value restore(const Napi::CallbackInfo& info) {
    auto settlement = Settlement::create(info.Env());
    auto config = read_port(info[0].As<Napi::Object>(), options_);
    if (!config.ok()) {
      settle_status(settlement, config.error());
      return settlement->promise();
    }
    plane_->restore(config.value(), [settlement](Result<io::Changes> result) {
      settlement->settle(
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
    return settlement->promise();
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
    const Napi::Env env = info.Env();
    Napi::Array list = Napi::Array::New(env);
    uint32_t next = 0;
    for (const BrokenPort& port : plane_->broken_ports()) {
      Napi::Object item = Napi::Object::New(env);
      item.Set("id", port.id);
      item.Set("code", port.error.code);
      item.Set("message", port.error.message);
      list.Set(next++, item);
    }
    return list;
  }

  Napi::Value release_unclaimed(const Napi::CallbackInfo& info) {
    plane_->release_unclaimed();
    return info.Env().Undefined();
  }

  Napi::Value figures(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    const Snapshot snapshot = plane_->core().snapshot();
    Napi::Object answer = Napi::Object::New(env);
    answer.Set("generation", std::to_string(snapshot.generation));
    answer.Set("workers", to_number(env, snapshot.workers.size()));
    answer.Set("trial", to_number(env, plane_->core().trial()));
    answer.Set("connectionsUsed", to_number(env, snapshot.connections.used));
    answer.Set("connectionsCapacity", to_number(env, snapshot.connections.capacity));
    answer.Set("connectionsRecovered", to_number(env, plane_->report().recovered));
    answer.Set("connectionsDiscarded", to_number(env, plane_->report().dropped));
    if (plane_->report().refused) answer.Set("tableRefused", plane_->report().refused->message);
    if (plane_->report().supervisor) answer.Set("supervisorRefused", plane_->report().supervisor->message);
    if (plane_->report().schedule) answer.Set("scheduleRefused", plane_->report().schedule->message);
    answer.Set("onTmpfs", plane_->report().on_tmpfs);
    answer.Set("udpSegmentation", plane_->udp_segmentation());
    uint64_t lost = 0;
    for (const WorkerSnapshot& worker : snapshot.workers) lost += worker.flows_lost + worker.captures_lost;
    answer.Set("lostEvents", to_number(env, lost));
    answer.Set("imageBytes", to_number(env, image_bytes_));
    return answer;
  }

  // {ports: [{id, …, drops}], drops}; of one port when an id is given.
  Napi::Value counters(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    const std::string only = info[0].IsString() ? info[0].As<Napi::String>().Utf8Value() : "";
    const Snapshot snapshot = plane_->core().snapshot();
    Napi::Array ports = Napi::Array::New(env);
    uint32_t next = 0;
    for (const PortSnapshot& port : snapshot.ports) {
      if (!only.empty() && port.id != only) continue;
      const PortTotals& totals = port.totals;
      Napi::Object item = Napi::Object::New(env);
      item.Set("id", port.id);
      item.Set("receivedPackets", to_number(env, totals.rx_packets));
      item.Set("receivedBytes", to_number(env, totals.rx_bytes));
      item.Set("sentPackets", to_number(env, totals.tx_packets));
      item.Set("sentBytes", to_number(env, totals.tx_bytes));
      item.Set("answers", to_number(env, totals.answers));
      item.Set("connections", to_number(env, totals.connections));
      item.Set("workerNanoseconds", to_number(env, totals.busy_ns));
      item.Set("throttledNanoseconds", to_number(env, totals.throttled_ns));
      item.Set("policedPackets", to_number(env, totals.policed));
      item.Set("drops", to_drops(env, totals));
      ports.Set(next++, item);
    }
    Napi::Object answer = Napi::Object::New(env);
    answer.Set("ports", ports);
    answer.Set("drops", to_drops(env, snapshot.removed));
    return answer;
  }

  Napi::Value connections(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    const auto limit = info[0].ToNumber().Uint32Value();
    const std::string only = info[1].IsString() ? info[1].As<Napi::String>().Utf8Value() : "";
    const ConnectionTable& table = plane_->table();
    const uint64_t now = MonotonicClock().now_ns();
    Napi::Array list = Napi::Array::New(env);
    uint32_t next = 0;
    for (uint32_t index = 0; index < table.capacity() && next < limit; ++index) {
      const auto view = table.read(index);
      if (!view || view->deadline_ns <= now) continue;
      const std::string* initiator = plane_->port_id(view->initiator.index);
      const std::string* responder = plane_->port_id(view->responder.index);
      if (!only.empty() && (initiator == nullptr || *initiator != only) &&
          (responder == nullptr || *responder != only))
        continue;
      list.Set(next++, to_connection(env, *view, now));
    }
    return list;
  }

  Napi::Value explain(const Napi::CallbackInfo& info) {
    const FlowTuple question = read_question(info[0].As<Napi::Object>());
    return to_explanation(info.Env(), plane_->core().explain(question), question.protocol,
                          [this](PortIndex index) { return plane_->port_id(index); });
  }

  static Napi::Object to_connection(Napi::Env env, const ConnectionView& view, uint64_t now) {
    Napi::Object item = Napi::Object::New(env);
    const FlowTuple& flow = view.original;
    item.Set("protocol", to_number(env, flow.protocol));
    item.Set("family", to_number(env, flow.family));
    item.Set("source", to_end(env, flow.source, flow.source_port, flow.protocol));
    item.Set("destination", to_end(env, flow.destination, flow.destination_port, flow.protocol));
    if ((view.flags & kDestinationTranslated) != 0)
      item.Set("translated", to_end(env, view.reply.source, view.reply.source_port, flow.protocol));
    item.Set("state", state_name(view.state));
    item.Set("generation", std::to_string(view.generation));
    constexpr double kSecondNs = 1e9;
    item.Set("ageSeconds", to_number(env, static_cast<double>(now - view.created_ns) / kSecondNs));
    item.Set("expiresSeconds", to_number(env, static_cast<double>(view.deadline_ns - now) / kSecondNs));
    item.Set("originalPackets", to_number(env, view.packets[0]));
    item.Set("originalBytes", to_number(env, view.bytes[0]));
    item.Set("replyPackets", to_number(env, view.packets[1]));
    item.Set("replyBytes", to_number(env, view.bytes[1]));
    return item;
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
    for (const Captured& captured : taken) {
      const CaptureRecord& record = captured.record;
      Napi::Object item = Napi::Object::New(env);
      item.Set("time", std::to_string(record.time_ns + static_cast<uint64_t>(offset)));
      item.Set("port", port == nullptr ? std::string() : *port);
      item.Set("direction", record.side == CaptureSide::from_pod ? "egress" : "ingress");
      item.Set("length", to_number(env, record.frame_length));
      item.Set("data", Napi::Buffer<uint8_t>::Copy(env, captured.bytes.data(), captured.bytes.size()));
      if (record.reason != DropReason::none) item.Set("reason", std::string(drop_reason_name(record.reason)));
      if (record.answered) item.Set("answered", true);
      const std::shared_ptr<const Image> image = plane_->core().image_of(record.generation);
      if (const Napi::Value rule = to_rule(env, image.get(), record.egress_rule); !rule.IsUndefined())
        item.Set("egress", rule);
      if (const Napi::Value rule = to_rule(env, image.get(), record.ingress_rule); !rule.IsUndefined())
        item.Set("ingress", rule);
      events.Set(next++, item);
    }
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
