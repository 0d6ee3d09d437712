#include "switch_harness.h"

#include <doctest/doctest.h>

namespace weft::test {

Harness::Harness(Options options) : options_(std::move(options)) {
  options_.table.max_ports = static_cast<uint16_t>(options_.settings.max_ports);
  if (options_.region == nullptr)
    options_.region = std::make_shared<Region>(ConnectionTable::region_size(options_.table));
  open();
}

Harness::~Harness() {
  sw.reset();
}

void Harness::open() {
  Result<ConnectionTable::Opened> opened =
      ConnectionTable::open(options_.region->span(), options_.table, clock.now.load());
  REQUIRE_MESSAGE(opened.ok(), (opened.ok() ? "" : opened.error().message));
  REQUIRE_FALSE(opened.value().refused.has_value());
  recovered = opened.value().recovered;
  table = std::move(std::move(opened).value().table);
  Result<std::unique_ptr<Switch>> made = Switch::create(
      options_.settings, *table,
      [&]() -> Result<std::unique_ptr<Poller>> {
        return std::unique_ptr<Poller>(std::make_unique<MemoryPoller>(bell_));
      },
      clock);
  REQUIRE_MESSAGE(made.ok(), (made.ok() ? "" : made.error().message));
  sw = std::move(made).value();
}

PortHandle Harness::add(const std::string& name, const std::vector<std::string>& addresses,
                        PortOptions options) {
  PortState state;
  state.spec.id = name;
  state.spec.kind = options.kind;
  state.spec.mtu = options.mtu;
  state.spec.mac = {0x02, 0, 0, 0, 0, next_mac_++};
  state.offloads = options.offloads;
  for (const std::string& text : addresses) state.spec.addresses.push_back(address(text));
  auto device = std::make_unique<MemoryDevice>(bell_, options.offloads);
  state.device = device.get();
  Result<PortHandle> added = sw->add_port(state.spec, std::move(device));
  REQUIRE_MESSAGE(added.ok(), (added.ok() ? "" : added.error().message));
  state.handle = added.value();
  ports_[name] = state;
  return state.handle;
}

void Harness::remove(const std::string& name) {
  collect();
  REQUIRE(sw->remove_port(ports_.at(name).handle).ok());
  ports_.erase(name);
  collect();
}

Link Harness::link(const std::string& name) const {
  return {ports_.at(name).spec.mac, options_.settings.gateway_mac};
}

void Harness::work() {
  for (int idle = 0; idle < 2;) {
    uint32_t frames = 0;
    for (uint32_t i = 0; i < options_.settings.workers; ++i) frames += sw->worker(i).round(0);
    idle = frames == 0 ? idle + 1 : 0;
  }
}

std::string Harness::send(const std::string& name, Bytes vnet_and_frame) {
  collect();
  device(name).push(std::move(vnet_and_frame));
  work();
  return collect();
}

std::string Harness::collect() {
  std::string out;
  const auto say = [&](const std::string& text) { out += (out.empty() ? "" : "; ") + text; };
  for (auto& [name, port] : ports_)
    for (const Bytes& frame : port.device->take()) say(name + ": " + describe(frame));
  const Snapshot snapshot = sw->snapshot();
  PortTotals sum = snapshot.removed;
  for (const PortSnapshot& port : snapshot.ports) sum.add(port.totals);
  for (size_t i = 0; i < sum.drops.size(); ++i) {
    for (uint64_t n = seen_drops_[i]; n < sum.drops[i]; ++n)
      say(std::string("drop ") + drop_reason_name(static_cast<DropReason>(i)));
    seen_drops_[i] = sum.drops[i];
  }
  return out;
}

void Harness::play(const std::vector<Step>& steps) {
  for (const Step& step : steps) {
    CAPTURE(step.from);
    CAPTURE(step.sent);
    CHECK_EQ(send(step.from, step.sent), step.expected);
  }
}

PortTotals Harness::totals(const std::string& name) const {
  for (const PortSnapshot& port : sw->snapshot().ports)
    if (port.id == name) return port.totals;
  return {};
}

uint64_t Harness::drops(const std::string& name, DropReason reason) const {
  return totals(name).drops[static_cast<size_t>(reason)];
}

std::vector<FlowEvent> Harness::flows() {
  std::vector<FlowEvent> events;
  sw->drain_flows(100000, [&](const FlowEvent& event) { events.push_back(event); });
  return events;
}

void Harness::restart_without(const std::string& name) {
  ports_.erase(name);
  restart();
}

void Harness::restart() {
  sw.reset();
  table.reset();
  seen_drops_ = {};
  open();
  for (auto& [name, port] : ports_) {
    auto device = std::make_unique<MemoryDevice>(bell_, port.offloads);
    port.device = device.get();
    Result<PortHandle> added = sw->add_port(port.spec, std::move(device));
    REQUIRE(added.ok());
    port.handle = added.value();
  }
}

}  // namespace weft::test
