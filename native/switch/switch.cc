#include "switch/switch.h"

#include <algorithm>
#include <utility>

#include "switch/worker.h"

namespace weft {

Switch::Switch(const Settings& settings, ConnectionTable& table)
    : settings_(settings),
      table_(table),
      affinity_(settings.affinity_clients, {settings.seed_low, settings.seed_high}),
      balancer_(affinity_) {
  auto first = std::make_unique<View>();
  first->ports.resize(settings.max_ports);
  first->live = settings.live;
  first->generation = table.generation();
  publish(std::move(first));
}

Switch::~Switch() {
  stop();
  workers_.clear();
  delete view_.current();
}

Result<std::unique_ptr<Switch>> Switch::create(const Settings& settings, ConnectionTable& table,
                                               const PollerFactory& make_poller, Clock& clock) {
  if (Status status = check(settings); !status) return status.error();
  std::unique_ptr<Switch> made(new Switch(settings, table));
  for (uint32_t i = 0; i < settings.workers; ++i) {
    Result<std::unique_ptr<Poller>> poller = make_poller();
    if (!poller) return poller.error();
    made->workers_.push_back(std::make_unique<Worker>(made->settings_, table, made->balancer_, made->view_,
                                                      clock, std::move(poller).value(), i));
  }
  return made;
}

Status Switch::start(const ThreadBegin& begin) {
  if (running_) return Ok{};
  for (const auto& worker : workers_) worker->start(begin);
  running_ = true;
  return Ok{};
}

void Switch::stop() {
  for (const auto& worker : workers_) worker->stop();
  running_ = false;
}

std::unique_ptr<View> Switch::next_view() const {
  return std::make_unique<View>(*view_.current());
}

void Switch::publish(std::unique_ptr<View> next) {
  size_t count = 0;
  for (const auto& [index, addresses] : addresses_) count += addresses.size();
  next->routes = RouteMap(count);
  for (const auto& [index, addresses] : addresses_)
    for (const Address& address : addresses) next->routes.insert(address, next->ports[index].get());
  delete view_.replace(next.release());
}

Port* Switch::find(PortHandle handle) const {
  return view_.current()->port(handle.index, handle.instance);
}

Status Switch::addresses_free(PortIndex self, std::span<const Address> addresses) const {
  for (size_t i = 0; i < addresses.size(); ++i) {
    const Port* owner = view_.current()->routes.find(addresses[i]);
    const bool twice = std::find(addresses.begin(), addresses.begin() + static_cast<ptrdiff_t>(i),
                                 addresses[i]) != addresses.begin() + static_cast<ptrdiff_t>(i);
    if (twice || (owner != nullptr && owner->index != self))
      return Error{"address-taken", "The address " + to_string(addresses[i]) + " belongs to the port " +
                                        (twice ? "twice" : owner->spec.id) +
                                        "; give each port its own addresses."};
  }
  return Ok{};
}

Result<PortHandle> Switch::add_port(PortSpec spec, std::unique_ptr<Device> device) {
  const View& current = *view_.current();
  if ((spec.mac[0] & 1) != 0 || spec.mac == MacAddress{} || spec.mac == settings_.gateway_mac)
    return Error{"mac-invalid",
                 "The MAC address of port " + spec.id +
                     " is a group address, all zeros or the gateway's; give it a unicast address."};
  if (spec.mtu < 576 || spec.mtu > 65535)
    return Error{"mtu-invalid", "The MTU of port " + spec.id + " is " + std::to_string(spec.mtu) +
                                    "; it must be from 576 to 65535."};
  if (spec.kind == PortKind::host && current.host != nullptr)
    return Error{"host-exists",
                 "There is a host port already (" + current.host->spec.id + "); remove it first."};
  if (Status status = addresses_free(kNoPort, spec.addresses); !status) return status.error();

  const uint32_t quota = spec.kind == PortKind::host ? table_.capacity() : current.live.connections_per_port;
  Result<PortLife> life = table_.open_port(spec.id, quota);
  if (!life) return life.error();
  const PortIndex index = life.value().index;
  if (index >= current.ports.size()) {
    table_.release_port(life.value());
    return Error{"port-limit", "The switch is configured for " + std::to_string(settings_.max_ports) +
                                   " ports and has them; raise the limit or remove ports."};
  }

  std::vector<uint32_t> load(workers_.size());
  for (const auto& port : current.ports)
    if (port != nullptr) ++load[port->worker];
  const auto owner = static_cast<uint32_t>(std::min_element(load.begin(), load.end()) - load.begin());

  auto port = std::make_shared<Port>(std::move(spec), std::move(device), index, life.value().instance, owner,
                                     static_cast<uint32_t>(workers_.size()));
  addresses_[index] = port->spec.addresses;
  std::unique_ptr<View> next = next_view();
  next->ports[index] = port;
  if (port->spec.kind == PortKind::host) next->host = port.get();
  publish(std::move(next));
  const PortHandle handle{index, port->instance};
  if (Status status = workers_[owner]->poller().add(*port->device, Worker::token(*port)); !status) {
    port.reset();
    (void)remove_port(handle);
    return status.error();
  }
  return handle;
}

Result<std::unique_ptr<Device>> Switch::remove_port(PortHandle handle) {
  if (find(handle) == nullptr)
    return Error{"port-unknown", "There is no port " + std::to_string(handle.index) + " of instance " +
                                     std::to_string(handle.instance) + "; it may have been removed already."};
  std::unique_ptr<View> next = next_view();
  const std::shared_ptr<Port> port = std::exchange(next->ports[handle.index], nullptr);
  if (next->host == port.get()) next->host = nullptr;
  addresses_.erase(handle.index);
  workers_[port->worker]->poller().remove(*port->device);
  publish(std::move(next));
  // Once more: a worker may have asked for it anew, when a pause of the port was over.
  workers_[port->worker]->poller().remove(*port->device);
  // No worker knows the port any more: nothing can be inserted for it behind this.
  table_.release_port({handle.index, handle.instance});
  for (size_t i = 0; i < workers_.size(); ++i) removed_.add(port->counters[i]);
  return std::move(port->device);
}

uint32_t Switch::release_unclaimed() {
  return table_.release_unclaimed();
}

Status Switch::update_addresses(PortHandle handle, std::span<const Address> addresses) {
  if (find(handle) == nullptr)
    return Error{"port-unknown", "There is no such port; it may have been removed already."};
  if (Status status = addresses_free(handle.index, addresses); !status) return status;
  addresses_[handle.index].assign(addresses.begin(), addresses.end());
  // A new generation: every connection is judged again at its next packet, which ends those whose ends are
  // other ports now.
  std::unique_ptr<View> next = next_view();
  begin_generation(*next);
  publish(std::move(next));
  return Ok{};
}

Status Switch::set_bandwidth(PortHandle handle, const Bandwidth& bandwidth) {
  Port* port = find(handle);
  if (port == nullptr)
    return Error{"port-unknown", "There is no such port; it may have been removed already."};
  port->ingress.set(bandwidth.ingress_rate, bandwidth.ingress_burst, RateLimit::kPolicedBurstNs);
  port->egress.set(bandwidth.egress_rate, bandwidth.egress_burst, RateLimit::kShapedBurstNs);
  return Ok{};
}

void Switch::configure(const LiveSettings& live) {
  std::unique_ptr<View> next = next_view();
  next->live = live;
  publish(std::move(next));
}

void Switch::begin_generation(View& next) {
  previous_image_ = next.image;
  previous_shadow_ = next.shadow;
  previous_generation_ = next.generation;
  next.generation = table_.next_generation();
}

uint64_t Switch::set_image(std::shared_ptr<const Image> image) {
  end_trial();
  std::unique_ptr<View> next = next_view();
  begin_generation(*next);
  next->image = std::move(image);
  publish(std::move(next));
  return generation();
}

uint64_t Switch::set_images(std::shared_ptr<const Image> image, std::optional<Shadow> shadow) {
  if (!shadow || shadow->trial != trial_) end_trial();
  const View& current = *view_.current();
  const std::shared_ptr<const Image> beside = shadow ? shadow->image : nullptr;
  if (image == current.image && beside == current.shadow) return current.generation;
  std::unique_ptr<View> next = next_view();
  begin_generation(*next);
  if (shadow && trial_ == 0) {
    for (const auto& worker : workers_) worker->forwarder().begin_trial();
    trial_ = shadow->trial;
    next->trial_since = next->generation;
  }
  next->image = std::move(image);
  next->shadow = beside;
  publish(std::move(next));
  return generation();
}

// The verdicts are those of the same image before and after, so no connection has to be judged again.
void Switch::end_trial() {
  if (trial_ == 0) return;
  std::unique_ptr<View> next = next_view();
  next->shadow = nullptr;
  publish(std::move(next));
  // No worker knows the shadow any more, so none writes to its log.
  for (const auto& worker : workers_) worker->forwarder().end_trial();
  previous_shadow_ = nullptr;
  trial_ = 0;
}

std::shared_ptr<const Image> Switch::shadow_of(uint64_t generation) const {
  const View& current = *view_.current();
  if (generation == current.generation) return current.shadow;
  return generation == previous_generation_ ? previous_shadow_ : nullptr;
}

TrialCounts Switch::trial_counts() const {
  TrialCounts sum;
  for (const auto& worker : workers_) {
    const TrialCounts counts = worker->forwarder().trial_counts();
    sum.judged += counts.judged;
    sum.denied += counts.denied;
    sum.allowed += counts.allowed;
    sum.unnamed += counts.unnamed;
  }
  return sum;
}

size_t Switch::drain_trial(size_t limit, const std::function<void(const TrialEvent&)>& take) {
  size_t taken = 0;
  TrialEvent event;
  for (const auto& worker : workers_) {
    TrialLog* log = worker->forwarder().trial_log();
    if (log == nullptr) continue;
    for (; taken < limit && log->events().pop(event); ++taken) take(event);
  }
  return taken;
}

const Image* Switch::image() const noexcept {
  return view_.current()->image.get();
}

uint64_t Switch::generation() const noexcept {
  return view_.current()->generation;
}

Explained Switch::explain(const FlowTuple& sent) const {
  return weft::explain(*view_.current(), sent);
}

std::shared_ptr<const Image> Switch::image_of(uint64_t generation) const {
  const View& current = *view_.current();
  if (generation == current.generation) return current.image;
  return generation == previous_generation_ ? previous_image_ : nullptr;
}

uint64_t Switch::lost_flows() const {
  uint64_t lost = 0;
  for (const auto& worker : workers_) lost += worker->forwarder().flows().lost();
  return lost;
}

Snapshot Switch::snapshot() const {
  const View& current = *view_.current();
  Snapshot snapshot;
  snapshot.generation = current.generation;
  snapshot.has_image = current.image != nullptr;
  snapshot.removed = removed_;
  snapshot.connections = table_.counts();
  for (const auto& port : current.ports) {
    if (port == nullptr) continue;
    PortSnapshot one;
    one.id = port->spec.id;
    one.handle = {port->index, port->instance};
    one.kind = port->spec.kind;
    one.status = port->status.load(std::memory_order_relaxed);
    one.worker = port->worker;
    for (size_t i = 0; i < workers_.size(); ++i) one.totals.add(port->counters[i]);
    snapshot.ports.push_back(std::move(one));
  }
  for (const auto& worker : workers_) {
    Forwarder& forwarder = worker->forwarder();
    const CaptureRing* captures = forwarder.captures();
    snapshot.workers.push_back({worker->wakeups(), worker->turns(), forwarder.flows().lost(),
                                captures == nullptr ? 0 : captures->lost()});
  }
  return snapshot;
}

size_t Switch::drain_flows(size_t limit, const std::function<void(const FlowEvent&)>& take) {
  size_t taken = 0;
  FlowEvent event;
  for (const auto& worker : workers_)
    while (taken < limit && worker->forwarder().flows().pop(event)) {
      take(event);
      ++taken;
    }
  return taken;
}

Status Switch::set_capture(PortHandle handle, CaptureMode mode, uint32_t snap_length) {
  Port* port = find(handle);
  if (port == nullptr)
    return Error{"port-unknown", "There is no such port; it may have been removed already."};
  if (mode != CaptureMode::off)
    for (const auto& worker : workers_) worker->forwarder().allocate_captures(settings_.capture_ring);
  port->snap_length.store(snap_length, std::memory_order_relaxed);
  port->capture.store(mode, std::memory_order_relaxed);
  return Ok{};
}

size_t Switch::drain_captures(
    size_t limit, const std::function<void(const CaptureRecord&, std::span<const uint8_t>)>& take) {
  size_t taken = 0;
  CaptureRecord record;
  std::vector<uint8_t> bytes;
  for (const auto& worker : workers_) {
    CaptureRing* ring = worker->forwarder().captures();
    while (ring != nullptr && taken < limit && ring->pop(record, bytes)) {
      take(record, bytes);
      ++taken;
    }
  }
  return taken;
}

}  // namespace weft
