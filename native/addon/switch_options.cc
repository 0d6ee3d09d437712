#include "addon/switch_options.h"

#include <algorithm>
#include <array>
#include <random>
#include <utility>

#include "addon/value.h"
#include "io/address_text.h"

namespace weft::addon {

namespace {

uint64_t random_word() {
  std::random_device device;
  return static_cast<uint64_t>(device()) << 32 | device();
}

uint32_t whole(const Napi::Object& object, const char* key, uint32_t otherwise) {
  return static_cast<uint32_t>(number_of(object, key, otherwise));
}

uint64_t nanoseconds(const Napi::Object& object, const char* key, uint64_t otherwise) {
  constexpr double kMicrosecond = 1000;
  return static_cast<uint64_t>(number_of(object, key, static_cast<double>(otherwise) / kMicrosecond) *
                               kMicrosecond);
}

// The names that the protocol uses, in the order of the struct.
constexpr std::array<std::pair<const char*, uint64_t Timeouts::*>, 19> kTimeouts{{
    {"tcp-syn-sent", &Timeouts::tcp_syn_sent},
    {"tcp-syn-received", &Timeouts::tcp_syn_received},
    {"tcp-established", &Timeouts::tcp_established},
    {"tcp-picked-up", &Timeouts::tcp_picked_up},
    {"tcp-fin-wait", &Timeouts::tcp_fin_wait},
    {"tcp-closing", &Timeouts::tcp_closing},
    {"tcp-time-wait", &Timeouts::tcp_time_wait},
    {"tcp-closed", &Timeouts::tcp_closed},
    {"udp-unreplied", &Timeouts::udp_unreplied},
    {"udp-replied", &Timeouts::udp_replied},
    {"udp-stream", &Timeouts::udp_stream},
    {"sctp-handshake", &Timeouts::sctp_handshake},
    {"sctp-established", &Timeouts::sctp_established},
    {"sctp-picked-up", &Timeouts::sctp_picked_up},
    {"sctp-shutdown", &Timeouts::sctp_shutdown},
    {"sctp-closed", &Timeouts::sctp_closed},
    {"icmp", &Timeouts::icmp},
    {"other-unreplied", &Timeouts::other_unreplied},
    {"other-replied", &Timeouts::other_replied},
}};

Error invalid(const std::string& id, const char* field, const std::string& found) {
  return {"spec-invalid", "port " + id + ": " + field + " is '" + found + "'"};
}

}  // namespace

void read_timeouts(const Napi::Object& object, Timeouts& timeouts) {
  constexpr double kNanoseconds = 1e9;
  for (const auto& [name, member] : kTimeouts)
    if (const double seconds = number_of(object, name); seconds > 0)
      timeouts.*member = static_cast<uint64_t>(seconds * kNanoseconds);
}

void read_live_settings(const Napi::Object& object, LiveSettings& live) {
  live.connections_per_port = whole(object, "connectionsPerPort", live.connections_per_port);
  live.answers_per_second = whole(object, "answersPerSecond", live.answers_per_second);
  live.flow_sample = whole(object, "flowSampling", live.flow_sample);
  live.flows_per_second = whole(object, "flowEventsPerSecond", live.flows_per_second);
  // A burst is a fifth of a second's worth, yet never so little that a single handshake is cut.
  constexpr uint32_t kLeastBurst = 20;
  live.answer_burst = std::max(kLeastBurst, live.answers_per_second / 5);
  live.flow_burst = std::max(kLeastBurst, live.flows_per_second / 2);
}

DataPlaneOptions read_options(const Napi::Object& object) {
  DataPlaneOptions options;
  options.run_directory = text_of(object, "runDirectory");
  options.supervisor_descriptor = static_cast<int>(number_of(object, "supervisorDescriptor", -1));
  Settings& settings = options.settings;
  settings.workers = whole(object, "workers", settings.workers);
  settings.max_ports = whole(object, "maximumPorts", settings.max_ports);
  settings.poll_ns = nanoseconds(object, "busyPollMicroseconds", settings.poll_ns);
  settings.drain_frames = whole(object, "drainFrames", settings.drain_frames);
  settings.drain_ns = nanoseconds(object, "drainMicroseconds", settings.drain_ns);
  settings.coalesce_udp = flag_of(object, "coalesceUdp");
  settings.fragmented_packets = whole(object, "fragmentedPackets", settings.fragmented_packets);
  settings.fragmented_packets_per_port =
      whole(object, "fragmentedPacketsPerPort", settings.fragmented_packets_per_port);
  settings.held_fragments = whole(object, "heldFragments", settings.held_fragments);
  settings.held_fragments_per_port = whole(object, "heldFragmentsPerPort", settings.held_fragments_per_port);
  settings.affinity_clients = whole(object, "affinityClients", settings.affinity_clients);
  settings.flow_ring = whole(object, "flowRing", settings.flow_ring);
  options.queue_length = whole(object, "queueLength", options.queue_length);
  if (const std::string kind = text_of(object, "queueDiscipline"); !kind.empty())
    options.queue_discipline = kind;
  if (const std::string folder = text_of(object, "sysctl"); !folder.empty()) options.sysctl = folder;
  io::ThreadSchedule& schedule = options.schedule;
  const std::string scheduling = text_of(object, "scheduling");
  if (scheduling == "fifo") schedule.scheduling = io::ScheduleClass::fifo;
  if (scheduling == "prompt") schedule.scheduling = io::ScheduleClass::prompt;
  schedule.nice = static_cast<int>(number_of(object, "nice", 0));
  if (const Napi::Value cores = object.Get("cores"); cores.IsArray())
    for (uint32_t i = 0; i < cores.As<Napi::Array>().Length(); ++i)
      schedule.cores.push_back(cores.As<Napi::Array>().Get(i).ToNumber().Uint32Value());
  settings.seed_low = random_word();
  settings.seed_high = random_word();
  TableOptions& table = options.table;
  table.capacity = whole(object, "maximumConnections", table.capacity);
  table.max_ports = static_cast<uint16_t>(settings.max_ports);
  table.seed = {random_word(), random_word()};
  if (const Napi::Value live = object.Get("settings"); live.IsObject()) {
    read_live_settings(live.As<Napi::Object>(), settings.live);
    if (const Napi::Value timeouts = live.As<Napi::Object>().Get("timeouts"); timeouts.IsObject())
      read_timeouts(timeouts.As<Napi::Object>(), table.timeouts);
  }
  return options;
}

Result<PortConfig> read_port(const Napi::Object& object, const DataPlaneOptions& options) {
  PortConfig config;
  config.id = text_of(object, "id");
  config.kind = text_of(object, "kind") == "host" ? PortKind::host : PortKind::pod;
  config.tap.host = config.kind == PortKind::host;
  config.tap.netns = text_of(object, "netns");
  config.tap.ifname = text_of(object, "ifname");
  config.tap.mtu = whole(object, "mtu", 1500);
  config.tap.gateway_mac = options.settings.gateway_mac;
  config.tap.queue_length = options.queue_length;
  config.tap.queue_discipline = options.queue_discipline;
  config.tap.sysctl = options.sysctl;
  const std::string mac = text_of(object, "mac");
  const auto parsed_mac = io::parse_mac(mac);
  if (!parsed_mac) return invalid(config.id, "mac", mac);
  config.tap.mac = *parsed_mac;
  for (auto [key, into] : {std::pair{"addresses", &config.tap.addresses}, {"sources", &config.tap.sources}}) {
    const Napi::Value list = object.Get(key);
    if (!list.IsArray()) continue;
    const auto addresses = list.As<Napi::Array>();
    for (uint32_t i = 0; i < addresses.Length(); ++i) {
      const std::string text = addresses.Get(i).ToString().Utf8Value();
      const auto address = io::parse_address(text);
      if (!address) return invalid(config.id, "an address", text);
      into->push_back(*address);
    }
  }
  if (const Napi::Value list = object.Get("routes"); list.IsArray()) {
    const auto routes = list.As<Napi::Array>();
    for (uint32_t i = 0; i < routes.Length(); ++i) {
      const auto item = routes.Get(i).As<Napi::Object>();
      const std::string destination = text_of(item, "destination");
      const auto network = io::parse_network(destination);
      if (!network) return invalid(config.id, "a route", destination);
      io::Route route{*network, {}, {}};
      if (const std::string source = text_of(item, "source"); !source.empty()) {
        route.source = io::parse_address(source);
        if (!route.source) return invalid(config.id, "a route's source", source);
      }
      config.tap.routes.push_back(route);
    }
  }
  if (const Napi::Value limits = object.Get("bandwidth"); limits.IsObject()) {
    const auto bits = [&](const char* key) {
      return static_cast<uint64_t>(number_of(limits.As<Napi::Object>(), key, 0));
    };
    config.bandwidth = {bits("ingressRate"), bits("ingressBurst"), bits("egressRate"), bits("egressBurst")};
  }
  return config;
}

}  // namespace weft::addon
