// Sequences of operations on a small connection table; the table's own consistency check runs after each.
// Every octet of the input drives something: flags and sequence numbers of segments, ports, translation,
// time, restarts with a damaged octet.
#include <cstdlib>
#include <cstring>

#include "conntrack/fragments.h"
#include "conntrack/table.h"

using namespace weft;

namespace {

class Input {
 public:
  Input(const uint8_t* data, size_t size) : data_(data), size_(size) {}
  [[nodiscard]] bool empty() const { return size_ == 0; }
  uint8_t octet() {
    if (size_ == 0) return 0;
    --size_;
    return *data_++;
  }
  uint32_t word() {
    uint32_t value = 0;
    for (int i = 0; i < 4; ++i) value = value << 8 | octet();
    return value;
  }
  // Mostly near a few numbers, so that windows are hit as well as missed.
  uint32_t sequence() {
    const uint8_t how = octet();
    return how < 200 ? 1000 + how : word();
  }

 private:
  const uint8_t* data_;
  size_t size_;
};

struct Heap {
  explicit Heap(size_t octets)
      : size((octets + 63) & ~size_t{63}), bytes(static_cast<std::byte*>(std::aligned_alloc(64, size))) {
    std::memset(bytes, 0, size);
  }
  ~Heap() { std::free(bytes); }
  Heap(const Heap&) = delete;
  Heap& operator=(const Heap&) = delete;
  size_t size;
  std::byte* bytes;
};

void hold(bool invariant) {
  if (!invariant) std::abort();
}

FlowTuple tuple_of(Input& in) {
  const uint8_t a = in.octet();
  const uint8_t b = in.octet();
  static constexpr uint8_t kProtocols[] = {6, 6, 17, 132, 1, 47, 58, 17};
  FlowTuple tuple;
  tuple.source = Address::v4(0x0a000000 + (a & 3));
  tuple.destination = Address::v4(0x0a000000 + (a >> 2 & 3));
  tuple.protocol = kProtocols[a >> 4 & 7];
  if (tuple.protocol != 47) {
    tuple.source_port = static_cast<uint16_t>(1 + (b & 3));
    tuple.destination_port = static_cast<uint16_t>(1 + (b >> 2 & 3));
  }
  return connection_key(tuple, (b & 0x10) != 0 ? 8 : 0);
}

void fragments(Input& in) {
  FragmentOptions options;
  options.max_datagrams = 4;
  options.max_held = 4;
  options.max_held_octets = 4 * 2048;
  options.max_ports = 2;
  FragmentTable table(options);
  uint64_t now = kSecond;
  const std::array<uint8_t, 5000> frame{};
  while (!in.empty()) {
    const uint8_t what = in.octet();
    FragmentKey key;
    key.identification = what & 3;
    key.port = what >> 2 & 3;
    key.protocol = (what & 0x10) != 0 ? 6 : 17;
    const FragmentRange range{in.octet() * 4u, in.octet() * 4u, (what & 0x20) != 0};
    if ((what & 0xc0) == 0) {
      const auto result = table.first(key, range, 8, now);
      uint32_t released = 0;
      const uint32_t before = table.counts().held;
      if (result.outcome == FragmentOutcome::judge)
        table.decide(result.datagram, {}, [&](std::span<uint8_t>) { ++released; });
      hold(released <= before);
    } else if ((what & 0xc0) == 0x40) {
      now += in.octet() * (kSecond / 16);
      table.sweep(2, now, [](PortIndex, uint32_t) {});
    } else {
      (void)table.later(key, range, std::span(frame).subspan(0, 1 + in.octet() * 19u), now);
    }
    hold(table.check() == nullptr);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Input in(data, size < 4096 ? size : 4096);
  if ((in.octet() & 3) == 3) {
    fragments(in);
    return 0;
  }
  TableOptions options;
  options.capacity = 16;
  options.max_ports = 4;
  options.port_quota = 12;
  options.translation_tries = 4;
  Heap region(ConnectionTable::region_size(options));
  uint64_t now = 1000 * kSecond;
  auto table =
      std::move(std::move(ConnectionTable::open({region.bytes, region.size}, options, now)).value().table);
  PortLife ports[2] = {table->open_port("a").value(), table->open_port("b").value()};
  while (!in.empty()) {
    const uint8_t what = in.octet();
    const FlowTuple key = tuple_of(in);
    TcpSegment tcp{in.sequence(), in.sequence(), in.octet() * 16u, in.octet(), in.octet(), in.octet()};
    SctpPacket sctp{tcp.sequence, tcp.acknowledgement, 1u << (tcp.flags & 15), (tcp.flags & 0x80) != 0};
    const Lookup found = table->find(key, now);
    if (found.hit()) {
      hold(found.key == key);
      hold(table->find(found.translated.reversed(), now).entry == found.entry);
      hold(found.judged().protocol == key.protocol);
    }
    switch (what & 7) {
      case 0:
      case 1: {
        NewConnection wanted;
        wanted.original = key;
        wanted.initiator = ports[what >> 3 & 1];
        wanted.responder = ports[what >> 4 & 1];
        wanted.generation = 1;
        wanted.tcp = &tcp;
        wanted.sctp = &sctp;
        if ((what & 0x20) != 0)
          wanted.translation = {true, (what & 0x40) != 0, 2, Address::v4(0x0a000000 + (what >> 6))};
        const InsertResult result = table->insert(wanted, now);
        if (result.status == InsertStatus::ok) hold(table->find(key, now).entry == result.lookup.entry);
        hold((result.status == InsertStatus::exists) >= found.hit() ||
             result.status == InsertStatus::invalid);
        break;
      }
      case 2:
      case 3:
      case 4: {
        Observation packet;
        packet.tcp = &tcp;
        packet.sctp = &sctp;
        if (table->update(found, packet, now) == Update::restart && found.hit()) table->kill(found);
        break;
      }
      case 5:
        now += tcp.data_length * (kSecond / 8);
        break;
      case 6:
        (void)table->sweep(what >> 3, now);
        table->judge(found, what, 1, 2);
        break;
      default:
        if ((what & 8) != 0) {
          PortLife& port = ports[what >> 4 & 1];
          table->release_port(port);
          port = table->open_port((what & 0x10) != 0 ? "b" : "a").value();
        } else {
          table.reset();
          if ((what & 0x10) != 0)
            region.bytes[tcp.sequence % region.size] ^= static_cast<std::byte>(tcp.flags);
          auto opened = std::move(ConnectionTable::open({region.bytes, region.size}, options, now)).value();
          table = std::move(opened.table);
          for (uint32_t i = 0; i < options.capacity; ++i)
            if (const auto view = table->read(i)) hold(view->generation == 0);
          hold(table->check() == nullptr);
          ports[0] = table->open_port("a").value();
          ports[1] = table->open_port("b").value();
          table->release_unclaimed();
        }
    }
    hold(table->check() == nullptr);
  }
  return 0;
}
