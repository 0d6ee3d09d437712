#include "addon/data_plane.h"

#include <future>
#include <utility>
#include <vector>

#include "io/poller.h"
#include "io/tap_device.h"

namespace weft::addon {

namespace {
Error stopped() {
  return {"switch-stopped", "the switch has stopped"};
}
}  // namespace

DataPlane::~DataPlane() {
  stop();
}

Result<std::unique_ptr<DataPlane>> DataPlane::open(const DataPlaneOptions& options) {
  std::unique_ptr<DataPlane> self(new DataPlane());
  self->schedule_ = options.schedule;
  auto namespaces = io::NamespaceThread::start();
  if (!namespaces.ok()) return namespaces.error();
  self->namespaces_ = std::move(namespaces).value();

  const size_t size = ConnectionTable::region_size(options.table);
  auto memory = io::SharedMemory::open(options.run_directory + "/connections", size);
  if (!memory.ok()) return memory.error();
  self->memory_.emplace(std::move(memory).value());
  self->report_.on_tmpfs = self->memory_->on_tmpfs();
  TableOptions table_options = options.table;
  table_options.zeroed = self->memory_->fresh();
  auto table = ConnectionTable::open(std::as_writable_bytes(self->memory_->bytes()), table_options,
                                     self->clock_.now_ns());
  if (!table.ok()) return table.error();
  self->memory_->forget_pages();
  self->table_ = std::move(table.value().table);
  self->report_.recovered = table.value().recovered;
  self->report_.dropped = table.value().dropped;
  self->report_.refused = std::move(table.value().refused);
  if (const size_t dropped = self->memory_->dropped_octets(); dropped != 0)
    self->report_.refused =
        Error{"connections-layout",
              "The connection state file has " + std::to_string(dropped) + " bytes instead of " +
                  std::to_string(size) +
                  ": it is cut off, or made for other limits; it was emptied, and every connection is "
                  "judged anew.",
              0};

  auto core = Switch::create(options.settings, *self->table_, io::EpollPoller::open, self->clock_);
  if (!core.ok()) return core.error();
  self->switch_ = std::move(core).value();

  if (options.supervisor_descriptor >= 0) {
    self->namespaces_->run([&](const io::NamespaceContext&) {
      self->handover_ = io::Handover(io::Descriptor(options.supervisor_descriptor));
      auto kept = self->handover_.claim();
      if (kept.ok()) {
        self->kept_ = std::move(kept).value();
      } else {
        self->report_.supervisor = kept.error();
      }
    });
  }
  return self;
}

Status DataPlane::start() {
  std::vector<std::promise<Status>> begun(switch_->snapshot().workers.size());
  Status started = switch_->start(
      [this, &begun](uint32_t worker) { begun[worker].set_value(io::schedule_worker(schedule_, worker)); });
  if (!started.ok()) return started;
  for (std::promise<Status>& each : begun)
    if (Status outcome = each.get_future().get(); !outcome.ok()) report_.schedule = outcome.error();
  return Ok{};
}

void DataPlane::stop() {
  namespaces_.reset();
  if (switch_) switch_->stop();
}

void DataPlane::attach_device(const PortConfig& config, TapCompletion done) {
  if (!namespaces_) {
    done(stopped());
    return;
  }
  namespaces_->post([this, config, done = std::move(done)](const io::NamespaceContext& context) {
    if (auto kept = kept_.extract(config.id); !kept.empty()) {
      auto adopted = io::adopt_tap(config.tap, std::move(kept.mapped()));
      if (adopted.ok()) {
        done(std::move(adopted));
        return;
      }
      // Not what the port means any more; its duplicate would keep the old device busy.
      handover_.forget(config.id);
    }
    auto attached = io::attach_tap(context, config.tap);
    if (attached.ok()) handover_.store(config.id, attached.value().descriptor.get());
    done(std::move(attached));
  });
}

Result<Attached> DataPlane::finish_attach(const PortConfig& config, io::Tap tap) {
  if (!namespaces_) return stopped();
  udp_segmentation_ = tap.udp_segmentation;
  PortSpec spec;
  spec.id = config.id;
  spec.kind = config.kind;
  spec.mac = config.tap.mac;
  spec.mtu = config.tap.mtu;
  spec.bandwidth = config.bandwidth;
  for (const io::NetworkAddress& address : config.tap.addresses) spec.addresses.push_back(address.address);
  LivePort live{config, {}, tap.identity, tap.descriptor.get()};
  auto added = switch_->add_port(
      std::move(spec), std::make_unique<io::TapDevice>(std::move(tap.descriptor), tap.udp_segmentation));
  if (!added.ok()) {
    namespaces_->post([this, config](const io::NamespaceContext& context) {
      handover_.forget(config.id);
      [[maybe_unused]] const Status removed = io::remove_tap(context, config.tap, {});
    });
    return added.error();
  }
  live.handle = added.value();
  ids_[live.handle.index] = config.id;
  const Attached attached{live.handle.instance, tap.origin};
  ports_.insert_or_assign(config.id, std::move(live));
  return attached;
}

void DataPlane::detach(const PortConfig& config, StatusCompletion done) {
  if (!namespaces_) {
    done(stopped());
    return;
  }
  auto descriptor = std::make_shared<io::Descriptor>();
  if (const auto found = ports_.find(config.id); found != ports_.end()) {
    const PortHandle handle = found->second.handle;
    auto device = switch_->remove_port(handle);
    if (device.ok()) *descriptor = static_cast<io::TapDevice&>(*device.value()).take();
    ids_.erase(handle.index);
    ports_.erase(found);
  }
  namespaces_->post([this, config, descriptor, done = std::move(done)](const io::NamespaceContext& context) {
    if (auto kept = kept_.extract(config.id); !kept.empty() && !descriptor->valid())
      *descriptor = std::move(kept.mapped());
    Status removed = io::remove_tap(context, config.tap, std::move(*descriptor));
    handover_.forget(config.id);
    done(std::move(removed));
  });
}

Status DataPlane::update_addresses(const PortConfig& config, StatusCompletion done) {
  if (!namespaces_) return stopped();
  const auto found = ports_.find(config.id);
  if (found == ports_.end()) return Error{"port-unknown", "there is no live port " + config.id};
  std::vector<Address> addresses;
  addresses.reserve(config.tap.addresses.size());
  for (const io::NetworkAddress& address : config.tap.addresses) addresses.push_back(address.address);
  if (Status status = switch_->update_addresses(found->second.handle, addresses); !status.ok()) return status;
  found->second.config = config;
  namespaces_->post([config, done = std::move(done)](const io::NamespaceContext& context) {
    auto configured = io::configure_tap(context, config.tap);
    done(configured.ok() ? Status(Ok{}) : Status(configured.error()));
  });
  return Ok{};
}

void DataPlane::restore(const PortConfig& config, ChangesCompletion done) {
  if (!namespaces_) {
    done(stopped());
    return;
  }
  namespaces_->post([config, done = std::move(done)](const io::NamespaceContext& context) {
    done(io::configure_tap(context, config.tap));
  });
}

Result<int> DataPlane::watch_host() {
  auto watch = io::LinkWatch::open();
  if (!watch.ok()) return watch.error();
  watch_.emplace(std::move(watch).value());
  return watch_->descriptor();
}

bool DataPlane::host_touched() {
  if (!watch_) return false;
  static const io::TapConfig none;
  const io::TapConfig* host = &none;
  for (const auto& [id, port] : ports_)
    if (port.config.tap.host) host = &port.config.tap;
  return watch_->touched(*host) && host != &none;
}

std::vector<BrokenPort> DataPlane::broken_ports() {
  std::vector<BrokenPort> broken;
  for (const auto& [id, port] : ports_) {
    if (Status alive =
            io::tap_alive(port.descriptor, port.config.tap.ifname + " of " + port.config.tap.netns);
        !alive.ok())
      broken.push_back({id, alive.error()});
    // The descriptor holds the namespace: what the device says of it proves nothing.
    else if (!port.config.tap.host && !io::namespace_is_still(port.config.tap.netns, port.identity))
      broken.push_back({id,
                        {"namespace-gone", "the namespace " + port.config.tap.netns +
                                               " is gone; the port's descriptor no longer holds it"}});
  }
  return broken;
}

void DataPlane::release_unclaimed() {
  if (!namespaces_) return;
  switch_->release_unclaimed();
  namespaces_->post([this](const io::NamespaceContext& context) {
    for (auto& [id, descriptor] : kept_) {
      [[maybe_unused]] const Status removed = io::remove_tap(context, {}, std::move(descriptor));
      handover_.forget(id);
    }
    kept_.clear();
  });
}

const std::string* DataPlane::port_id(PortIndex index) const {
  const auto found = ids_.find(index);
  return found == ids_.end() ? nullptr : &found->second;
}

std::optional<PortHandle> DataPlane::port_handle(const std::string& id) const {
  const auto found = ports_.find(id);
  if (found == ports_.end()) return std::nullopt;
  return found->second.handle;
}

Result<uint32_t> DataPlane::start_capture(const std::string& id, bool drops_only, uint32_t snap_length) {
  if (captures_.size() >= kMaximumCaptures)
    return Error{"capture-limit", "8 captures run already; end one of them"};
  const auto handle = port_handle(id);
  if (!handle) return Error{"port-unknown", "there is no live port " + id};
  const uint32_t number = ++last_capture_;
  captures_[number] = {id, *handle, drops_only, snap_length, {}, 0};
  set_capture_mode(*handle);
  return number;
}

void DataPlane::stop_capture(uint32_t capture) {
  const auto found = captures_.find(capture);
  if (found == captures_.end()) return;
  const PortHandle handle = found->second.handle;
  captures_.erase(found);
  set_capture_mode(handle);
}

// A port has one mode: the most that any of its captures asks for.
void DataPlane::set_capture_mode(const PortHandle& handle) {
  CaptureMode mode = CaptureMode::off;
  uint32_t snap_length = 0;
  for (const auto& [number, capture] : captures_) {
    if (capture.handle.index != handle.index || capture.handle.instance != handle.instance) continue;
    mode = std::max(mode, capture.drops_only ? CaptureMode::drops : CaptureMode::all);
    snap_length = std::max(snap_length, capture.snap_length);
  }
  [[maybe_unused]] const Status set = switch_->set_capture(handle, mode, snap_length);
}

void DataPlane::distribute_captures() {
  constexpr size_t kAtOnce = 1024;
  switch_->drain_captures(kAtOnce, [this](const CaptureRecord& record, std::span<const uint8_t> bytes) {
    for (auto& [number, capture] : captures_) {
      if (capture.handle.index != record.port) continue;
      if (capture.drops_only && record.reason == DropReason::none) continue;
      const std::span<const uint8_t> kept = bytes.first(std::min<size_t>(bytes.size(), capture.snap_length));
      capture.queue.push_back({record, {kept.begin(), kept.end()}});
      if (capture.queue.size() <= kCaptureQueue) continue;
      capture.queue.pop_front();
      ++capture.lost;
    }
  });
}

std::vector<Captured> DataPlane::take_capture(uint32_t capture, size_t limit, uint64_t& lost) {
  distribute_captures();
  std::vector<Captured> taken;
  const auto found = captures_.find(capture);
  if (found == captures_.end()) return taken;
  lost = std::exchange(found->second.lost, 0);
  while (!found->second.queue.empty() && taken.size() < limit) {
    taken.push_back(std::move(found->second.queue.front()));
    found->second.queue.pop_front();
  }
  return taken;
}

const std::string* DataPlane::capture_port(uint32_t capture) const {
  const auto found = captures_.find(capture);
  return found == captures_.end() ? nullptr : &found->second.id;
}

}  // namespace weft::addon
