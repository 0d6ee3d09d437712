// Sequences of frames, clock steps and policy changes through the whole walk. What must hold, whatever is
// sent:
//   * what the switch sends is a well-formed frame from the gateway's MAC to the port's;
//   * the sealed pod c receives nothing but answers to what it sent itself, and reaches nobody but its own
//   node;
//   * no pod receives a packet from an address of another pod that did not send it;
//   * every frame ends once: forwarded, answered, dropped for one reason, or held (a fragment, for a while);
//   * a trial changes nothing: a twin that gets the same frames and changes without one sends the same bytes
//   to the same ports and counts the same.
//
// Input: records of { first byte, length (2 octets), bytes }. First byte: bits 0-1 the port; bit 2: give the
// frame a right Ethernet header; bit 3: and a right IPv4 header checksum; bit 4: the record is a step of the
// clock, bit 5: a policy change, instead; bit 6: the frame waits for the next one, and both are of one turn
// of the port if they are of one port. Of a policy change bit 6 is the image, and its first byte, where it
// has one: bit 0: a trial, whose shadow is image bit 1; bit 2: the end of the trial; bit 3: the port gets the
// bandwidth of the second byte, bits 0-1 the rate, the others the burst.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <utility>

#include "header/vnet.h"
#include "packet/checksum.h"
#include "packet/parse.h"
#include "switch/forwarder.h"
#include "test/image_builder.h"

namespace weft::test {
namespace {

[[noreturn]] void broken(const char* what) {
  std::fprintf(stderr, "broken: %s\n", what);
  std::abort();
}
void require(bool holds, const char* what) {
  if (!holds) broken(what);
}

constexpr PortIndex kA = 0, kSealed = 2, kHost = 3;
constexpr uint32_t kHeld = 4;
const Settings kSettings;

struct World;

class CheckingDevice final : public Device {
 public:
  CheckingDevice(World& world, PortIndex self) : world_(world), self_(self) {}
  Received receive(std::span<uint8_t>) noexcept override { return {}; }
  SendStatus send(std::span<const uint8_t> bytes) noexcept override;
  [[nodiscard]] DeviceOffloads offloads() const noexcept override {
    return self_ == kA ? DeviceOffloads{} : DeviceOffloads{true, true, true, true};
  }
  [[nodiscard]] int descriptor() const noexcept override { return -1; }

 private:
  World& world_;
  const PortIndex self_;
};

struct World {
  TableOptions options = [] {
    TableOptions o;
    o.capacity = 64;
    o.max_ports = 8;
    return o;
  }();
  struct alignas(64) Block {
    std::byte bytes[64];
  };
  size_t size = ConnectionTable::region_size(options);
  std::unique_ptr<Block[]> region{new Block[size / 64 + 1]()};
  std::unique_ptr<ConnectionTable> table;
  AffinityTable affinity{64, {1, 2}};
  Balancer balancer{affinity};
  std::unique_ptr<Forwarder> forwarder;
  View view;
  std::shared_ptr<const Image> images[2];
  PortIndex sender = kNoPort;
  uint64_t now_ns = 1'000'000'000;
  // Of all that was sent: ports and bytes, in their order.
  uint64_t sent_hash = 14695981039346656037ull;

  static MacAddress mac(PortIndex index) { return {2, 0, 0, 0, 0, static_cast<uint8_t>(index + 1)}; }

  World() {
    table = std::move(ConnectionTable::open({region[0].bytes, size}, options, now_ns).value().table);
    Settings settings = kSettings;
    settings.max_ports = 8;
    settings.fragmented_packets = settings.fragmented_packets_per_port = 8;
    settings.held_fragments = settings.held_fragments_per_port = kHeld;
    settings.flow_ring = 16;
    static Settings kept = settings;
    forwarder = std::make_unique<Forwarder>(kept, *table, balancer, 0);
    const char* addresses[4][2] = {{"10.0.0.1", "fd00::1"},
                                   {"10.0.0.2", "fd00::2"},
                                   {"10.0.0.3", "fd00::3"},
                                   {"192.168.0.1", "fd99::1"}};
    ImageBuilder image;
    for (int i = 0; i < 3; ++i) image.pod({addresses[i][0], addresses[i][1]});
    for (const char* own : addresses[kHost]) image.own_node(own);
    image.isolate(kSealed, Direction::ingress, {});
    image.isolate(kSealed, Direction::egress, {});
    image.service("10.96.0.1", 80, 6, {{"10.0.0.2", 8080}});
    image.service("10.96.0.2", 53, 17, {{"10.0.0.1", 53}, {"10.0.0.2", 53}, {"10.0.0.3", 53}});
    image.service("fd96::2", 53, 17, {{"fd00::1", 53}, {"fd00::2", 53}});
    image.service("10.96.0.3", 7, 132, {});
    images[0] = image.load();
    image.isolate(1, Direction::ingress, {{.protocol = 6}});
    image.reject_ingress = image.reject_egress = true;
    images[1] = image.load();
    view.image = images[0];
    view.generation = table->next_generation();
    view.routes = RouteMap(8);
    view.live = kept.live;
    for (PortIndex i = 0; i < 4; ++i) {
      PortSpec spec;
      spec.id = std::string(1, static_cast<char>('a' + i));
      spec.mac = mac(i);
      spec.mtu = i == 1 ? 1280 : 1500;
      spec.kind = i == kHost ? PortKind::host : PortKind::pod;
      const PortLife life = table->open_port(spec.id).value();
      require(life.index == i, "ports are numbered in order");
      view.ports.push_back(std::make_shared<Port>(spec, std::make_unique<CheckingDevice>(*this, i),
                                                  life.index, life.instance, 0, 1));
      for (const char* text : addresses[i]) view.routes.insert(address(text), view.ports.back().get());
    }
    view.host = view.ports[kHost].get();
  }

  // As Switch::set_images does it, where the generation of a View is never another's.
  void change_policy(PortIndex port, bool other, std::span<const uint8_t> how, bool trials) {
    const uint8_t what = how.empty() ? 0 : how[0];
    if (trials && (what & 4) != 0) end_trial();
    view.image = images[other ? 1 : 0];
    view.generation = table->next_generation();
    if (trials && (what & 1) != 0) {
      if (view.shadow == nullptr) {
        forwarder->begin_trial();
        view.trial_since = view.generation;
      }
      view.shadow = images[what >> 1 & 1];
    }
    if ((what & 8) != 0 && how.size() > 1) {
      constexpr uint64_t kRates[] = {0, 1, 100'000, 8'000'000'000};
      const uint64_t burst = uint64_t{how[1]} >> 2 << 12;
      view.ports[port]->ingress.set(kRates[how[1] & 3], burst, RateLimit::kPolicedBurstNs);
      view.ports[port]->egress.set(kRates[how[1] & 3], burst, RateLimit::kShapedBurstNs);
    }
  }
  void end_trial() {
    if (view.shadow == nullptr) return;
    check_trial();
    view.shadow = nullptr;
    forwarder->end_trial();
  }
  // What is told of a trial is a difference, and told of no more than were judged.
  void check_trial() {
    if (view.shadow == nullptr) return;
    const TrialCounts counts = forwarder->trial_counts();
    require(counts.denied + counts.allowed <= counts.judged, "a difference was judged");
    require(counts.unnamed <= counts.denied + counts.allowed, "what was not told is a difference");
    TrialEvent event;
    while (forwarder->trial_log()->events().pop(event)) {
      const bool allowed = event.actual.verdict == FlowVerdict::allowed;
      require(allowed == (event.shadow.reason != DropReason::none), "what is told is a difference");
    }
  }
};

SendStatus CheckingDevice::send(std::span<const uint8_t> bytes) noexcept {
  require(bytes.size() >= 10 + 14, "a frame has an Ethernet header");
  const auto told = [&](uint8_t byte) { world_.sent_hash = (world_.sent_hash ^ byte) * 1099511628211ull; };
  told(static_cast<uint8_t>(self_));
  for (const uint8_t byte : bytes) told(byte);
  const MacAddress to = World::mac(self_);
  require(std::memcmp(bytes.data() + 10, to.data(), 6) == 0, "sent to the port's own MAC");
  require(std::memcmp(bytes.data() + 16, kSettings.gateway_mac.data(), 6) == 0,
          "sent from the gateway's MAC");
  if (self_ == kSealed)
    require(world_.sender == kSealed || world_.sender == kHost,
            "the sealed pod hears only its node and the switch");
  if (world_.sender == kSealed)
    require(self_ == kSealed || self_ == kHost, "the sealed pod reaches only its node");
  std::vector<uint8_t> copy(bytes.begin() + 10, bytes.end());
  Packet packet;
  packet.frame = copy.data();
  packet.length = packet.capacity = static_cast<uint32_t>(copy.size());
  const DropReason reason = parse(packet, load_vnet(bytes.data()));
  // A checksum that was wrong before the switch stays wrong behind it; everything else has been checked.
  require(reason == DropReason::none || reason == DropReason::transport_checksum ||
              reason == DropReason::fragment_first_short,
          drop_reason_name(reason));
  if (reason == DropReason::none && packet.kind == PacketKind::ip) {
    const Port* owner = world_.view.routes.find(packet.tuple.source);
    if (owner != nullptr)
      require(owner->index == world_.sender || self_ == world_.sender, "a pod's address is its own");
  }
  return SendStatus::sent;
}

// What became of all frames so far.
struct Account {
  uint64_t received = 0, dropped = 0, sent = 0, answered = 0;

  static Account of(const World& world) {
    Account sum;
    for (const auto& port : world.view.ports) {
      const PortCounters& count = port->counters[0];
      sum.received += count.rx_packets.value();
      sum.sent += count.tx_packets.value();
      sum.answered += count.answers.value();
      for (const Counter& reason : count.drops) sum.dropped += reason.value();
    }
    return sum;
  }
};

// Frames that met an answer and nothing else. What is dropped may be answered as well, so that of several
// frames of one turn only the most is known.
struct Answered {
  uint64_t least = 0, most = 0;
};

// Frames that have not ended: those that are held.
void check_account(const World& world, const Answered& answered, uint32_t held) {
  const Account now = Account::of(world);
  const uint64_t ended = now.dropped + now.sent;
  require(ended + answered.least <= now.received, "a frame ends once");
  require(now.received <= ended + answered.most + held, "a frame that does not end is held");
}

// The frames of one turn. Each lies in memory of its own length, so that a byte too far is found.
struct Turn {
  Port* in = nullptr;
  std::vector<std::unique_ptr<uint8_t[]>> bytes;
  std::vector<Arrived> frames;

  void add(Port& port, std::span<const uint8_t> frame, uint8_t head) {
    in = &port;
    auto copy = std::make_unique<uint8_t[]>(std::max<size_t>(frame.size(), kVnetHeaderLength));
    std::memcpy(copy.get(), frame.data(), frame.size());
    if ((head & 4) != 0 && frame.size() >= 24) {
      std::memcpy(copy.get() + 10, kSettings.gateway_mac.data(), 6);
      std::memcpy(copy.get() + 16, port.spec.mac.data(), 6);
    }
    if ((head & 8) != 0 && frame.size() >= 44) {
      uint8_t* ip = copy.get() + 24;
      store_native<uint16_t>(ip + 10, 0);
      const size_t header = std::min<size_t>(static_cast<size_t>(ip[0] & 15) * 4, frame.size() - 24);
      store_native<uint16_t>(ip + 10, finish_checksum(sum_bytes(ip, header)));
    }
    frames.push_back({copy.get(), static_cast<uint32_t>(frame.size())});
    bytes.push_back(std::move(copy));
  }
  void end(World& world, Answered& answered) {
    if (frames.empty()) return;
    world.sender = in->index;
    const Account before = Account::of(world);
    world.forwarder->forward(world.view, *in, frames, world.now_ns);
    world.forwarder->flush();
    const Account after = Account::of(world);
    const bool answers_only = after.dropped == before.dropped && after.sent == before.sent;
    if (after.answered != before.answered) {
      if (frames.size() == 1) answered.least += answers_only ? 1 : 0;
      answered.most += frames.size() > 1 ? after.answered - before.answered : answers_only ? 1 : 0;
    }
    frames.clear();
    bytes.clear();
    check_account(world, answered, kHeld);
  }
};

// A world and what is under way in it.
struct Side {
  const bool trials;
  World world;
  Answered answered;
  Turn turn;

  explicit Side(bool with_trials) : trials(with_trials) {}
  void end_turn() { turn.end(world, answered); }
  void record(uint8_t head, std::span<const uint8_t> bytes) {
    Port* const port = world.view.ports[head & 3].get();
    if ((head & (16 | 32)) != 0 || turn.in != port) end_turn();
    if ((head & 16) != 0) {
      world.now_ns += uint64_t{head} << 25;
      world.forwarder->tick(world.view, world.now_ns);
      world.table->sweep(64, world.now_ns);
    } else if ((head & 32) != 0) {
      world.change_policy(head & 3, (head & 64) != 0, bytes, trials);
    } else {
      turn.add(*port, bytes, head);
      if ((head & 64) == 0) end_turn();
    }
  }
  void finish() {
    end_turn();
    for (int i = 0; i < 20; ++i) {
      world.now_ns += 500'000'000;
      world.forwarder->tick(world.view, world.now_ns);
    }
    world.check_trial();
    check_account(world, answered, 0);
    if (const char* wrong = world.table->check()) broken(wrong);
  }
};

void compare(const World& tried, const World& twin) {
  require(tried.sent_hash == twin.sent_hash, "a trial changes nothing that is sent");
  for (size_t i = 0; i < tried.view.ports.size(); ++i) {
    const PortCounters& one = tried.view.ports[i]->counters[0];
    const PortCounters& other = twin.view.ports[i]->counters[0];
    require(one.rx_packets.value() == other.rx_packets.value(), "a trial changes nothing that is received");
    require(one.answers.value() == other.answers.value(), "a trial changes no answer");
    for (size_t reason = 0; reason < std::size(one.drops); ++reason)
      require(one.drops[reason].value() == other.drops[reason].value(), "a trial drops nothing");
  }
}

}  // namespace
}  // namespace weft::test

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace weft::test;
  Side tried(true), twin(false);
  for (size_t at = 0; at + 3 <= size;) {
    const uint8_t head = data[at];
    const size_t length =
        std::min<size_t>(static_cast<size_t>(data[at + 1] | data[at + 2] << 8), size - at - 3);
    const std::span<const uint8_t> bytes(data + at + 3, length);
    at += 3 + length;
    tried.record(head, bytes);
    twin.record(head, bytes);
  }
  tried.finish();
  twin.finish();
  compare(tried.world, twin.world);
  return 0;
}
