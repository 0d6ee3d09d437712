// Datagrams that leave as one frame: which, in what order, and how they are counted.
#include <doctest/doctest.h>

#include "packet/parse.h"
#include "packet/segment.h"
#include "switch_harness.h"

namespace weft::test {
namespace {

// Test frames have identification 0, which without DF keeps them apart; descriptions leave DF out.
std::string with_df(const std::string& text) {
  return text.starts_with("udp 10") && text.find(" frag ") == std::string::npos ? text + " df" : text;
}

struct World : Harness {
  explicit World(Options options = {}) : Harness(std::move(options)) {
    add("a", {"10.0.0.1", "fd00::1"});
    add("b", {"10.0.0.2", "fd00::2"});
    add("c", {"10.0.0.3", "fd00::3"}, {.offloads = {true, true, true, false}});
    image.pod({"10.0.0.1", "fd00::1"});
    image.pod({"10.0.0.2", "fd00::2"});
    image.pod({"10.0.0.3", "fd00::3"});
    image.service("10.96.0.1", 53, 17, {{"10.0.0.2", 5353}});
    sw->set_image(image.load());
  }
  // All in one turn of `from`; what came out at `to`.
  std::vector<Bytes> turn(const std::vector<Bytes>& frames, const std::string& to = "b",
                          const std::string& from = "a") {
    collect();
    for (const Bytes& bytes : frames) device(from).push(bytes);
    sw->worker(0).round(0);
    return device(to).take();
  }
  std::vector<Bytes> turn_of(const std::vector<std::string>& texts, const std::string& to = "b") {
    std::vector<Bytes> frames;
    for (const std::string& text : texts) frames.push_back(frame(link("a"), with_df(text)));
    return turn(frames, to);
  }
  ImageBuilder image;
};

// "3 x 10": a merged frame of three datagrams of 10 octets; else the frame in words.
std::string summary(const Bytes& bytes) {
  const VnetHeader vnet = load_vnet(bytes.data());
  if (vnet.gso_type != VnetHeader::kGsoUdp) return describe(bytes);
  const size_t payload = bytes.size() - kVnetHeaderLength - vnet.hdr_len;
  return std::to_string((payload + vnet.gso_size - 1) / vnet.gso_size) + " x " +
         std::to_string(vnet.gso_size);
}
std::string summary(const std::vector<Bytes>& frames) {
  std::string out;
  for (const Bytes& bytes : frames) out += (out.empty() ? "" : "; ") + summary(bytes);
  return out;
}
std::vector<std::string> repeat(size_t count, const std::string& text) {
  return std::vector<std::string>(count, text);
}

const std::string kTen = "udp 10.0.0.1:7 > 10.0.0.2:9 len 10";
const std::string kTenSix = "udp [fd00::1]:7 > [fd00::2]:9 len 10";

TEST_CASE("datagrams of one flow and one turn leave as one frame") {
  World world;
  CHECK(summary(world.turn_of(repeat(3, kTen))) == "3 x 10");
  CHECK(summary(world.turn_of(repeat(40, kTenSix))) == "40 x 10");
  CHECK(summary(world.turn_of({kTen})) == kTen);
  const PortTotals a = world.totals("a"), b = world.totals("b");
  CHECK(a.rx_packets == 44);
  CHECK(b.tx_packets == 44);
  CHECK(b.tx_bytes == a.rx_bytes);
}

TEST_CASE("nothing waits for the next turn") {
  World world;
  CHECK(summary(world.turn_of(repeat(70, kTen))) == "64 x 10");
  world.sw->worker(0).round(0);
  CHECK(summary(world.device("b").take()) == "6 x 10");
}

TEST_CASE("order within a flow is kept, whatever comes between") {
  struct Row {
    const char* what;
    std::vector<std::string> sent;
    std::string received;
  };
  const std::string eleven = "udp 10.0.0.1:7 > 10.0.0.2:9 len 11";
  const std::string nine = "udp 10.0.0.1:7 > 10.0.0.2:9 len 9";
  const std::string empty = "udp 10.0.0.1:7 > 10.0.0.2:9";
  const std::string other = "udp 10.0.0.1:8 > 10.0.0.2:9 len 10";
  const std::string fragment = "udp 10.0.0.1:7 > 10.0.0.2:9 len 8 frag 5@0+";
  const std::vector<Row> rows = {
      {"a longer one begins anew", {kTen, kTen, eleven, eleven}, "2 x 10; 2 x 11"},
      {"a shorter one ends it", {kTen, kTen, nine, kTen}, "3 x 10; " + kTen},
      {"an empty one goes by itself", {kTen, kTen, empty, kTen, kTen}, "2 x 10; " + empty + "; 2 x 10"},
      {"another TTL", {kTen, kTen, kTen + " ttl 9", kTen}, "2 x 10; " + kTen + "; " + kTen},
      {"two flows, one within the other", {kTen, other, kTen, other, kTen}, "3 x 10; 2 x 10"},
      {"a fragment", {kTen, kTen, fragment, kTen}, "2 x 10; " + fragment + "; " + kTen},
      {"TCP between", {kTen, "tcp 10.0.0.1:7 > 10.0.0.2:9 S", kTen}, "tcp 10.0.0.1:7 > 10.0.0.2:9 S; 2 x 10"},
      {"both families", {kTen, kTenSix, kTen, kTenSix}, "2 x 10; 2 x 10"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.what);
    World world;
    CHECK(summary(world.turn_of(row.sent)) == row.received);
  }
}

TEST_CASE("a flow with no room among the gathered makes room, in order") {
  World world;
  std::vector<std::string> texts;
  for (int round = 0; round < 3; ++round)
    for (int flow = 0; flow < 12; ++flow)
      texts.push_back("udp 10.0.0.1:" + std::to_string(100 + flow) + " > 10.0.0.2:9 len " +
                      std::to_string(10 + round));
  std::map<uint32_t, uint32_t> last;
  size_t datagrams = 0;
  for (const Bytes& bytes : world.turn_of(texts)) {
    REQUIRE(load_vnet(bytes.data()).gso_type == VnetHeader::kGsoNone);
    const uint32_t port = static_cast<uint32_t>(bytes[44] << 8 | bytes[45]);
    const auto length = static_cast<uint32_t>(bytes.size());
    CHECK(last[port] < length);
    last[port] = length;
    ++datagrams;
  }
  CHECK(datagrams == texts.size());
}

TEST_CASE("a damaged datagram is not repaired") {
  World world;
  const Bytes good = frame(world.link("a"), with_df(kTen));
  Bytes bad = good;
  bad.back() ^= 1;
  CHECK(summary(world.turn({good, good, bad, good, good})) == "2 x 10; " + kTen + " BAD CHECKSUM; 2 x 10");
  CHECK(summary(world.turn({bad, good, good})) == kTen + " BAD CHECKSUM; 2 x 10");
  CHECK(summary(world.turn({bad, bad})) == kTen + " BAD CHECKSUM; " + kTen + " BAD CHECKSUM");
  // The sender's kernel has left the checksum to us: there is none yet that could be wrong.
  Bytes partial = good;
  make_partial(partial, 0);
  CHECK(summary(world.turn({partial, partial, good})) == "3 x 10");
}

TEST_CASE("without USO at the receiver, or with the option off, datagrams stay apart") {
  World world;
  CHECK(world.turn_of(repeat(5, "udp 10.0.0.1:7 > 10.0.0.3:9 len 10"), "c").size() == 5);
  Harness::Options options;
  options.settings.coalesce_udp = false;
  World without(std::move(options));
  CHECK(without.turn_of(repeat(5, kTen)).size() == 5);
}

TEST_CASE("datagrams that are too large for the way out are answered one by one") {
  World world;
  world.add("small", {"10.0.0.4"}, {.mtu = 1280});
  world.image.pod({"10.0.0.4"});
  world.sw->set_image(world.image.load());
  CHECK(world.turn_of(repeat(3, "udp 10.0.0.1:7 > 10.0.0.4:9 len 1400"), "small").empty());
  CHECK(world.drops("a", DropReason::packet_too_big) == 3);
  const Bytes splittable = frame(world.link("a"), "udp 10.0.0.1:7 > 10.0.0.4:9 len 1400");
  CHECK(world.turn({splittable, splittable, splittable}, "small").size() == 6);
  CHECK(summary(world.turn_of(repeat(3, "udp 10.0.0.1:7 > 10.0.0.4:9 len 1252"), "small")) == "3 x 1252");
}

TEST_CASE("translated datagrams are gathered by what they are when they leave") {
  World world;
  const std::vector<Bytes> out = world.turn_of(repeat(4, "udp 10.0.0.1:7 > 10.96.0.1:53 len 20"));
  REQUIRE(out.size() == 1);
  CHECK(summary(out[0]) == "4 x 20");
  Bytes copy(out[0].begin() + kVnetHeaderLength, out[0].end());
  Packet packet;
  packet.frame = copy.data();
  packet.length = packet.capacity = static_cast<uint32_t>(copy.size());
  REQUIRE(parse(packet, load_vnet(out[0].data())) == DropReason::none);
  Bytes buffer(kMaxFrameLength);
  size_t pieces = 0;
  CHECK(segment(packet, buffer, [&](const uint8_t* data, uint32_t length) {
    Bytes piece(kVnetHeaderLength + size_t{length});
    std::memcpy(piece.data() + kVnetHeaderLength, data, length);
    CHECK(describe(piece) == "udp 10.0.0.1:7 > 10.0.0.2:5353 len 20");
    CHECK(ttl_of(piece) == 63);
    ++pieces;
  }));
  CHECK(pieces == 4);
  // A flow to the same socket by its own address is another flow to the switch, and the same to the receiver.
  CHECK(summary(world.turn_of(
            {"udp 10.0.0.1:8 > 10.96.0.1:53 len 20", "udp 10.0.0.1:9 > 10.0.0.2:5353 len 20"})) ==
        "udp 10.0.0.1:8 > 10.0.0.2:5353 len 20; udp 10.0.0.1:9 > 10.0.0.2:5353 len 20");
}

TEST_CASE("a write that fails drops each datagram for one reason, and tells of each within the rate") {
  struct Row {
    SendStatus status;
    DropReason reason;
  };
  for (const Row& row :
       {Row{SendStatus::full, DropReason::tx_full}, Row{SendStatus::down, DropReason::port_closed},
        Row{SendStatus::refused, DropReason::tx_error}}) {
    CAPTURE(drop_reason_name(row.reason));
    World world;
    world.turn_of({kTen});
    world.flows();
    world.device("b").send_status = row.status;
    world.turn_of(repeat(5, kTen));
    CHECK(world.drops("a", row.reason) == 5);
    world.turn_of({kTen});
    CHECK(world.drops("a", row.reason) == 6);
    CHECK(world.totals("b").tx_packets == 1);
    const std::vector<FlowEvent> events = world.flows();
    REQUIRE(events.size() == 6);
    for (const FlowEvent& event : events) {
      CHECK(event.verdict == FlowVerdict::dropped);
      CHECK(event.reason == row.reason);
      CHECK(event.tuple.destination_port == 9);
    }
  }
}

TEST_CASE("a capture shows each datagram, at the sender and at the receiver") {
  for (const char* captured : {"a", "b"}) {
    CAPTURE(captured);
    World world;
    world.turn_of({kTen});
    REQUIRE(world.sw->set_capture(world.handle(captured), CaptureMode::all, 2000).ok());
    world.turn_of(repeat(5, kTen));
    size_t records = 0;
    world.sw->drain_captures(100, [&](const CaptureRecord& record, std::span<const uint8_t> bytes) {
      ++records;
      CHECK(record.reason == DropReason::none);
      CHECK(record.frame_length == 14 + 28 + 10);
      CHECK(bytes.size() == 14 + 28 + 10);
    });
    CHECK(records == 5);
    CHECK(world.totals("b").tx_packets == 6);
  }
}

TEST_CASE("each datagram is counted in its connection") {
  World world;
  world.turn_of(repeat(9, kTen));
  uint64_t packets = 0;
  for (uint32_t i = 0; i < world.table->capacity(); ++i)
    if (const auto entry = world.table->read(i)) packets += entry->packets[0];
  CHECK(packets == 9);
}

}  // namespace
}  // namespace weft::test
