#include "scene.h"

#include <arpa/inet.h>

#include <cstring>
#include <fstream>
#include <iterator>
#include <stdexcept>

namespace weft::bench {

Received ScriptDevice::receive(std::span<uint8_t> buffer) noexcept {
  if (left_ == 0) return {};
  --left_;
  const Frame& frame = *frames_++;
  std::memcpy(buffer.data(), frame.header.data(), kHeaderRoom);
  return {ReceiveStatus::frame, frame.length};
}

SendStatus ScriptDevice::send(std::span<const uint8_t> frame) noexcept {
  ++sent;
  sent_bytes += frame.size();
  return SendStatus::sent;
}

class Scene::ScriptPoller final : public Poller {
 public:
  Status add(Device& device, uint64_t token) override {
    devices_.emplace_back(static_cast<ScriptDevice*>(&device), token);
    return Ok{};
  }
  void remove(Device& device) noexcept override {
    std::erase_if(devices_, [&](const auto& entry) { return entry.first == &device; });
  }
  uint32_t wait(std::span<Ready> ready, int64_t) noexcept override {
    uint32_t count = 0;
    for (const auto& [device, token] : devices_)
      if (device->readable() && count < ready.size()) ready[count++] = {token, false};
    return count;
  }
  void wake() noexcept override {}

 private:
  std::vector<std::pair<ScriptDevice*, uint64_t>> devices_;
};

std::shared_ptr<const Image> load_image(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("cannot read " + path);
  const std::vector<char> bytes{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  auto loaded = Image::load({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
  if (!loaded.ok()) throw std::runtime_error(loaded.error().message);
  return std::shared_ptr<const Image>(std::move(loaded).value());
}

Address address_of(const std::string& text) {
  uint8_t bytes[16];
  if (inet_pton(AF_INET, text.c_str(), bytes) == 1) return Address::v4_from(bytes);
  if (inet_pton(AF_INET6, text.c_str(), bytes) == 1) return Address::v6_from(bytes);
  throw std::runtime_error("not an address: " + text);
}

Scene::Scene(const std::string& image, uint32_t connections) {
  settings_.seed_low = 0x0123456789abcdef;
  settings_.seed_high = 0xfedcba9876543210;
  TableOptions options;
  options.capacity = connections;
  options.port_quota = connections;
  options.max_ports = static_cast<uint16_t>(settings_.max_ports);
  options.seed = {settings_.seed_low, settings_.seed_high};
  region_ = std::vector<Line>(ConnectionTable::region_size(options) / sizeof(Line) + 1);
  auto opened = ConnectionTable::open({region_[0].bytes, region_.size() * sizeof(Line)}, options, 1);
  if (!opened.ok()) throw std::runtime_error(opened.error().message);
  table_ = std::move(std::move(opened).value().table);
  auto made = Switch::create(
      settings_, *table_,
      []() -> Result<std::unique_ptr<Poller>> { return std::unique_ptr<Poller>(new ScriptPoller); }, clock_);
  if (!made.ok()) throw std::runtime_error(made.error().message);
  switch_ = std::move(made).value();
  switch_->set_image(load_image(image));
}

Scene::~Scene() {
  switch_.reset();
}

void Scene::add(Pod& pod, const std::string& name, const std::string& v4, const std::string& v6) {
  auto device = std::make_unique<ScriptDevice>();
  pod.device = device.get();
  pod.v4 = address_of(v4);
  pod.v6 = address_of(v6);
  pod.mac = {0x02, 0, 0, 0, 0, static_cast<uint8_t>(name.size())};
  PortSpec spec;
  spec.id = name;
  spec.mac = pod.mac;
  spec.addresses = {pod.v4, pod.v6};
  const auto added = switch_->add_port(std::move(spec), std::move(device));
  if (!added.ok()) throw std::runtime_error(added.error().message);
}

void Scene::run(size_t frames) {
  for (size_t done = 0; done < frames;) {
    const uint32_t moved = switch_->worker(0).round(0);
    if (moved == 0) return;
    done += moved;
  }
}

std::string Scene::drops() const {
  std::string said;
  PortTotals sum;
  for (const PortSnapshot& port : switch_->snapshot().ports) sum.add(port.totals);
  for (size_t i = 0; i < sum.drops.size(); ++i)
    if (sum.drops[i] != 0)
      said += std::string(drop_reason_name(static_cast<DropReason>(i))) + " " + std::to_string(sum.drops[i]) +
              " ";
  return said;
}

}  // namespace weft::bench
