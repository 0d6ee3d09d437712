#include <algorithm>

#include "header/icmp.h"
#include "header/sctp.h"
#include "packet/parse.h"
#include "switch/forwarder.h"

namespace weft {
namespace {

// One frame and its vnet header, and a little for what a priority tag moves.
constexpr uint32_t kBufferLength = kVnetHeaderLength + kMaxFrameLength + 64;

// Chunks that end an association, or lead to its end.
constexpr uint32_t kSctpEnds = 1u << sctp_chunk::kAbort | 1u << sctp_chunk::kShutdown |
                               1u << sctp_chunk::kShutdownAck | 1u << sctp_chunk::kShutdownComplete;

// The whole fragment table is looked at once in this time.
constexpr uint64_t kFragmentSweepNs = 250'000'000;

FragmentOptions fragment_options(const Settings& settings) {
  FragmentOptions options;
  options.max_datagrams = settings.fragmented_packets;
  options.max_port_datagrams = settings.fragmented_packets_per_port;
  options.max_held = settings.held_fragments;
  options.max_port_held = settings.held_fragments_per_port;
  options.max_ports = static_cast<uint16_t>(settings.max_ports);
  options.seed = {settings.seed_low, settings.seed_high};
  return options;
}

}  // namespace

Forwarder::Forwarder(const Settings& settings, ConnectionTable& table, Balancer& balancer, uint32_t worker)
    : settings_(settings),
      table_(table),
      balancer_(balancer),
      worker_(worker),
      fragments_(fragment_options(settings)),
      fragment_lives_(settings.max_ports),
      flows_(settings.flow_ring),
      scratch_(kBufferLength),
      held_(kBufferLength),
      snapshot_(kBufferLength),
      random_{settings.seed_low ^ worker, settings.seed_high | 1} {
  if (settings.coalesce_udp)
    for (Gathered& held : gathered_) held.buffer = std::make_unique_for_overwrite<uint8_t[]>(kBufferLength);
}

void Forwarder::forward(const View& view, Port& in, std::span<const Arrived> frames,
                        uint64_t now_ns) noexcept {
  // There is one snapshot: a captured port's frames go one by one.
  const bool captured = in.capture.load(std::memory_order_relaxed) != CaptureMode::off;
  const size_t step = captured ? 1 : kBatch;
  for (size_t at = 0; at < frames.size(); at += step)
    forward_batch(view, in, frames.subspan(at, std::min(step, frames.size() - at)), now_ns);
}

void Forwarder::forward_batch(const View& view, Port& in, std::span<const Arrived> frames,
                              uint64_t now_ns) noexcept {
  PortCounters& count = counters(in);
  uint64_t bytes = 0;
  for (size_t i = 0; i < frames.size(); ++i) {
    const Arrived& frame = frames[i];
    const uint32_t length = frame.length < kVnetHeaderLength ? 0 : frame.length - kVnetHeaderLength;
    bytes += length;
    Passage& way = batch_[i].emplace(view, in, now_ns);
    way.packet.frame = frame.bytes + kVnetHeaderLength;
    way.packet.length = way.packet.capacity = length;
    keep_original(way);
    parsed_[i] = frame.length < kVnetHeaderLength ? DropReason::frame_short
                                                  : parse(way.packet, load_vnet(frame.bytes));
  }
  count.rx_packets.add(frames.size());
  count.rx_bytes.add(bytes);
  if (frames.size() > 1 && view.image != nullptr) look_ahead(static_cast<uint32_t>(frames.size()));
  for (size_t i = 0; i < frames.size(); ++i) {
    Passage& way = *batch_[i];
    finish(way, parsed_[i] == DropReason::none ? walk(way) : parsed_[i]);
  }
  settle();
}

// Asks for the cache lines of all connections before the first is looked up.
void Forwarder::look_ahead(uint32_t count) noexcept {
  for (uint32_t i = 0; i < count; ++i) {
    Passage& way = *batch_[i];
    if (parsed_[i] != DropReason::none || way.packet.kind != PacketKind::ip || way.packet.icmp_error ||
        way.packet.fragment == Fragment::later)
      continue;
    const FlowTuple& tuple = way.packet.tuple;
    way.key_hash =
        table_.hash_of(has_identifier(tuple) ? connection_key(tuple, way.packet.icmp_type) : tuple);
    way.hashed = true;
    table_.prefetch_index(way.key_hash);
  }
  for (uint32_t i = 0; i < count; ++i)
    if (batch_[i]->hashed) table_.prefetch_entry(batch_[i]->key_hash);
}

DropReason Forwarder::walk(Passage& way) noexcept {
  way.sent = way.packet.tuple;
  if (const DropReason reason = check_link(way); reason != DropReason::none) return reason;
  switch (way.packet.kind) {
    case PacketKind::arp:
      return answer_arp(way);
    case PacketKind::neighbour:
      return answer_neighbour(way);
    case PacketKind::ip:
      break;
  }
  if (const DropReason reason = check_addresses(way); reason != DropReason::none) return reason;
  if (way.view.image == nullptr && !is_gateway(way.sent.destination)) return DropReason::no_image;
  switch (way.packet.fragment) {
    case Fragment::none:
      return route(way);
    case Fragment::first:
      return route_first_fragment(way);
    case Fragment::later:
      return route_later_fragment(way);
  }
  return DropReason::internal;
}

DropReason Forwarder::route(Passage& way) noexcept {
  const Packet& packet = way.packet;
  if (packet.icmp_error) {
    if (packet.tuple.family == 4 && packet.icmp_type == icmp_type::kRedirect)
      return DropReason::router_advertisement;
    return way.view.image == nullptr ? DropReason::no_image : follow_error(way);
  }
  // Of nearly every packet the tuple itself.
  std::optional<FlowTuple> of_echo;
  if (has_identifier(way.sent)) [[unlikely]]
    of_echo = connection_key(way.sent, packet.icmp_type);
  const FlowTuple& key = of_echo ? *of_echo : way.sent;
  // A connection comes before the gateway: a pod that reaches itself by a Service is answered to the
  // gateway's address.
  if (way.view.image != nullptr) {
    const uint64_t hash = way.hashed ? way.key_hash : table_.hash_of(key);
    if (table_.find(key, hash, way.now_ns, way.connection)) return follow(way, key);
  }
  if (is_gateway(packet.tuple.destination)) return answer_gateway(way);
  return connect(way, key);
}

// Each look goes over as much of the table as time has passed, so that what is held for nothing is let go
// soon after its second on an idle switch too: until then it counts against its port and holds up honest
// fragments.
void Forwarder::tick(const View& view, uint64_t now_ns) noexcept {
  const uint64_t table = fragments_.options().max_datagrams;
  const uint64_t passed = std::min(now_ns - last_fragment_sweep_ns_, kFragmentSweepNs);
  const uint64_t budget = table * passed / kFragmentSweepNs;
  if (budget < std::min<uint64_t>(16, table)) return;
  last_fragment_sweep_ns_ = now_ns;
  fragments_.sweep(static_cast<uint32_t>(budget), now_ns, [&](PortIndex index, uint32_t fragments) {
    if (Port* port = view.port(index))
      counters(*port).drops[static_cast<size_t>(DropReason::fragment_no_first)].add(fragments);
  });
}

// xorshift128+ (Vigna 2017): spreads flows over backends; nothing secret depends on it.
uint64_t Forwarder::next_random() noexcept {
  uint64_t x = random_[0];
  const uint64_t y = random_[1];
  random_[0] = y;
  x ^= x << 23;
  random_[1] = x ^ y ^ (x >> 17) ^ (y >> 26);
  return random_[1] + y;
}

Observed::Observed(const Packet& packet) noexcept
    : bytes(packet.length - packet.l3_offset), packets(packet.segments()) {
  if (packet.fragment == Fragment::later) return;
  if (packet.tuple.protocol == static_cast<uint8_t>(Protocol::tcp)) {
    is_tcp = true;
    tcp.sequence = packet.tcp_sequence;
    tcp.acknowledgement = packet.tcp_acknowledgement;
    tcp.data_length = packet.payload_length;
    tcp.window = packet.tcp_window;
    tcp.flags = packet.tcp_flags;
    tcp.scale = packet.tcp_window_scale == 0xff ? kNoScale : packet.tcp_window_scale;
    // The rest of a fragmented segment may never come, or its checksum be wrong: it ends nothing.
    if (packet.fragment == Fragment::first)
      tcp.flags &= static_cast<uint8_t>(~(tcp_flag::kFin | tcp_flag::kRst));
  } else if (packet.tuple.protocol == static_cast<uint8_t>(Protocol::sctp)) {
    is_sctp = true;
    malformed = !read_sctp(packet.frame + packet.l4_offset, packet.length - packet.l4_offset, sctp);
    if (packet.fragment == Fragment::first) sctp.chunks &= ~kSctpEnds;
  }
}

Observation Observed::observation() const noexcept {
  return {bytes, packets, is_tcp ? &tcp : nullptr, is_sctp ? &sctp : nullptr};
}

bool Observed::ends() const noexcept {
  if (is_tcp) return (tcp.flags & (tcp_flag::kFin | tcp_flag::kRst)) != 0;
  return is_sctp && (sctp.chunks & kSctpEnds) != 0;
}

bool Observed::begins() const noexcept {
  if (is_tcp) return tcp_start(tcp) == TcpStart::begin;
  return is_sctp && sctp_start(sctp) == SctpStart::begin;
}

bool Observed::can_begin(const Packet& packet) const noexcept {
  if (is_tcp) return tcp_start(tcp) != TcpStart::refuse;
  if (is_sctp) return sctp_start(sctp) != SctpStart::refuse;
  if (packet.tuple.protocol == static_cast<uint8_t>(Protocol::icmp) && packet.tuple.family == 4) {
    // Echo, and the timestamp, information and mask requests of RFC 792 and 950. Everything else answers or
    // tells.
    const uint8_t type = packet.icmp_type;
    return type == icmp_type::kEchoRequest || type == 13 || type == 15 || type == 17;
  }
  if (packet.tuple.protocol == static_cast<uint8_t>(Protocol::icmpv6) && packet.tuple.family == 6)
    return packet.icmp_type == icmpv6_type::kEchoRequest;
  return true;
}

}  // namespace weft
