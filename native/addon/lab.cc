// Bindings of the lab's engines. Values arrive validated (src/lab/engine.ts); a failure with a cause outside
// of the program is thrown as an Error with `code` and `errno`. Probes run on a worker of Node's pool, which
// only waits for the engine's own thread; the rest takes microseconds and is called on the JavaScript thread.
#include "addon/lab.h"

#include <memory>
#include <utility>

#include "addon/value.h"
#include "io/lab_netns.h"
#include "io/lab_prober.h"
#include "io/lab_responder.h"

namespace weft::addon {
namespace {

uint32_t number(const Napi::Object& object, const char* key) {
  return static_cast<uint32_t>(number_of(object, key));
}

class ResponderHandle : public Napi::ObjectWrap<ResponderHandle> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(
        env, "LabResponder",
        {InstanceMethod<&ResponderHandle::serve>("serve"), InstanceMethod<&ResponderHandle::remove>("remove"),
         InstanceMethod<&ResponderHandle::close>("close")});
  }

  explicit ResponderHandle(const Napi::CallbackInfo& info) : ObjectWrap(info) {
    auto started = lab::Responder::start();
    if (started) {
      responder_ = std::move(started).value();
    } else {
      raise(info.Env(), started.error());
    }
  }

 private:
  // {key, name, netns, sharesNamespace, ports: [{protocol, port}]} → [{protocol, port, message}] of what
  // could not be opened.
  Napi::Value serve(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    if (!responder_) return env.Undefined();
    const Napi::Object spec = info[0].As<Napi::Object>();
    lab::ServedPod pod;
    pod.key = text_of(spec, "key");
    pod.name = text_of(spec, "name");
    pod.netns = text_of(spec, "netns");
    pod.shares_namespace = spec.Get("sharesNamespace").ToBoolean();
    const Napi::Array ports = spec.Get("ports").As<Napi::Array>();
    for (uint32_t i = 0; i < ports.Length(); ++i) {
      const Napi::Object port = ports.Get(i).As<Napi::Object>();
      pod.ports.push_back({static_cast<lab::Transport>(number(port, "protocol")),
                           static_cast<uint16_t>(number(port, "port"))});
    }
    const auto failures = responder_->serve(pod);
    if (!failures) return raise(env, failures.error()), env.Undefined();
    Napi::Array list = Napi::Array::New(env);
    for (const lab::PortFailure& failure : failures.value()) {
      Napi::Object entry = Napi::Object::New(env);
      entry.Set("protocol", static_cast<uint32_t>(failure.port.transport));
      entry.Set("port", failure.port.port);
      entry.Set("message", failure.message);
      list.Set(list.Length(), entry);
    }
    return list;
  }

  void remove(const Napi::CallbackInfo& info) {
    if (responder_) responder_->remove(info[0].ToString().Utf8Value());
  }

  void close(const Napi::CallbackInfo& /*info*/) { responder_.reset(); }

  std::unique_ptr<lab::Responder> responder_;
};

const char* outcome_name(lab::Outcome outcome) {
  switch (outcome) {
    case lab::Outcome::answered:
      return "answered";
    case lab::Outcome::refused:
      return "refused";
    case lab::Outcome::unreachable:
      return "unreachable";
    case lab::Outcome::timeout:
      return "timeout";
    case lab::Outcome::failed:
      return "failed";
  }
  return "failed";
}

class ProbeWorker : public Napi::AsyncWorker {
 public:
  ProbeWorker(Napi::Env env, lab::ProbeRun run)
      : AsyncWorker(env), deferred_(Napi::Promise::Deferred::New(env)), run_(std::move(run)) {}
  [[nodiscard]] Napi::Promise promise() const { return deferred_.Promise(); }

 private:
  void Execute() override { results_ = lab::run_probes(run_); }

  void OnOK() override {
    const Napi::Env env = Env();
    Napi::Array list = Napi::Array::New(env, results_.size());
    for (uint32_t i = 0; i < results_.size(); ++i) {
      const lab::ProbeResult& result = results_[i];
      Napi::Object entry = Napi::Object::New(env);
      entry.Set("outcome", outcome_name(result.outcome));
      entry.Set("name", result.name);
      entry.Set("message", result.message);
      entry.Set("icmpType", result.icmp_type);
      entry.Set("icmpCode", result.icmp_code);
      entry.Set("sourcePort", result.source_port);
      entry.Set("microseconds", result.microseconds);
      entry.Set("tries", result.tries);
      list.Set(i, entry);
    }
    deferred_.Resolve(list);
  }

  Napi::Promise::Deferred deferred_;
  lab::ProbeRun run_;
  std::vector<lab::ProbeResult> results_;
};

// {namespaces: [path], netns: Uint32Array, families, protocols: Uint8Array, destinations: Uint8Array (16
// bytes each), ports, sourcePorts: Uint16Array, timeout, retryTimeout, retries, window} → Promise of one
// result a probe.
Napi::Value probe(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Napi::Object spec = info[0].As<Napi::Object>();
  lab::ProbeRun run;
  const Napi::Array namespaces = spec.Get("namespaces").As<Napi::Array>();
  for (uint32_t i = 0; i < namespaces.Length(); ++i) {
    run.namespaces.push_back(namespaces.Get(i).ToString().Utf8Value());
  }
  const auto netns = spec.Get("netns").As<Napi::Uint32Array>();
  const auto families = spec.Get("families").As<Napi::Uint8Array>();
  const auto protocols = spec.Get("protocols").As<Napi::Uint8Array>();
  const auto destinations = spec.Get("destinations").As<Napi::Uint8Array>();
  const auto ports = spec.Get("ports").As<Napi::Uint16Array>();
  const auto source_ports = spec.Get("sourcePorts").As<Napi::Uint16Array>();
  const size_t count = netns.ElementLength();
  if (families.ElementLength() != count || protocols.ElementLength() != count ||
      ports.ElementLength() != count || source_ports.ElementLength() != count ||
      destinations.ElementLength() != count * 16) {
    Napi::TypeError::New(env, "probe: columns of different lengths").ThrowAsJavaScriptException();
    return env.Undefined();
  }
  for (size_t i = 0; i < count; ++i) {
    lab::Probe one;
    one.netns = netns[i];
    one.family = families[i];
    one.protocol = protocols[i];
    one.destination =
        Address::v6_from(destinations.Data() + i * 16);  // both families in the one 16-byte form
    one.port = ports[i];
    one.source_port = source_ports[i];
    run.probes.push_back(one);
  }
  run.timeout_ms = number(spec, "timeout");
  run.retry_timeout_ms = number(spec, "retryTimeout");
  run.retries = number(spec, "retries");
  run.window = number(spec, "window");
  auto* worker = new ProbeWorker(env, std::move(run));  // deletes itself when done
  worker->Queue();
  return worker->promise();
}

void create_namespace(const Napi::CallbackInfo& info) {
  if (const Status status = lab::create_namespace(info[0].ToString().Utf8Value()); !status) {
    raise(info.Env(), status.error());
  }
}

void remove_namespace(const Napi::CallbackInfo& info) {
  if (const Status status = lab::remove_namespace(info[0].ToString().Utf8Value()); !status) {
    raise(info.Env(), status.error());
  }
}

void raise_loopback(const Napi::CallbackInfo& info) {
  if (const Status status = lab::raise_loopback(); !status) raise(info.Env(), status.error());
}

void prove_tap(const Napi::CallbackInfo& info) {
  if (const Status status = lab::prove_tap(); !status) raise(info.Env(), status.error());
}

// (netns path, 'udp' | 'tcp', port) → descriptor, owned by the caller.
Napi::Value open_server(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const auto kind = info[1].ToString().Utf8Value() == "tcp" ? lab::ServerKind::tcp : lab::ServerKind::udp;
  const auto fd = lab::open_server(info[0].ToString().Utf8Value(), kind,
                                   static_cast<uint16_t>(info[2].ToNumber().Uint32Value()));
  if (!fd) return raise(env, fd.error()), env.Undefined();
  return Napi::Number::New(env, fd.value());
}

}  // namespace

void register_lab(Napi::Env env, Napi::Object exports) {
  exports.Set("LabResponder", ResponderHandle::define(env));
  exports.Set("labProbe", Napi::Function::New(env, probe, "labProbe"));
  exports.Set("labCreateNamespace", Napi::Function::New(env, create_namespace, "labCreateNamespace"));
  exports.Set("labRemoveNamespace", Napi::Function::New(env, remove_namespace, "labRemoveNamespace"));
  exports.Set("labRaiseLoopback", Napi::Function::New(env, raise_loopback, "labRaiseLoopback"));
  exports.Set("labProveTap", Napi::Function::New(env, prove_tap, "labProveTap"));
  exports.Set("labOpenServer", Napi::Function::New(env, open_server, "labOpenServer"));
}

}  // namespace weft::addon
