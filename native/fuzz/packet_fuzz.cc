// Fuzz target: hostile vnet header and frame → parse → every rewrite, answer and segmentation.
//
// Input: 1 byte of choices, 10 bytes of vnet header (native order), the frame. Choices: bit 0 repairs the
// IPv4 header checksum first, because damage hardly ever gets past it otherwise; bit 1 repairs the transport
// checksum after a first parse, so that "right before" is reached; bits 2 and 3 pick the tuple to translate
// to.
//
// Each check below is an invariant that the rest of the switch relies on.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "packet/checksum.h"
#include "packet/neighbour.h"
#include "packet/parse.h"
#include "packet/reply.h"
#include "packet/rewrite.h"
#include "packet/segment.h"

namespace {

using namespace weft;
using Bytes = std::vector<uint8_t>;

void require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "violated: %s\n", what);
  std::abort();
}

// A parsed copy of a frame in memory of exactly its size.
struct Copy {
  explicit Copy(const Bytes& source, const VnetHeader& vnet) : bytes(source) {
    packet.frame = bytes.data();
    packet.length = packet.capacity = static_cast<uint32_t>(bytes.size());
    reason = parse(packet, vnet);
  }
  Bytes bytes;
  Packet packet;
  DropReason reason;
};

bool ipv4_checksum_valid(const uint8_t* l3) {
  return fold(sum_bytes(l3, static_cast<size_t>(l3[0] & 15) * 4)) == 0xffff;
}

void check_offsets(const Packet& p) {
  require(p.l3_offset == 14 && p.length >= p.l3_offset && p.length <= p.capacity,
          "network header inside the frame");
  if (p.kind == PacketKind::arp) {
    require(p.length == 42, "ARP length");
    require(p.vnet == VnetHeader{}, "no offload on ARP");
    return;
  }
  require(p.l4_offset > p.l3_offset && p.l4_offset <= p.payload_offset, "transport after network header");
  require(p.payload_offset + p.payload_length <= p.length, "payload inside the frame");
  require(p.tuple.source.is_v4() == (p.tuple.family == 4), "address form is the family's");
  require(p.tuple.destination.is_v4() == (p.tuple.family == 4), "address form is the family's");
  if (p.fragment == Fragment::later)
    require(p.tuple.source_port == 0 && !p.icmp_error, "later fragments have no transport");
  if (p.icmp_error) {
    require(p.quoted.l3_offset > p.l4_offset && p.quoted.l4_offset > p.quoted.l3_offset,
            "quote after ICMP header");
    require(p.quoted.l4_offset + (p.quoted.has_transport ? 8u : 0u) <= p.length, "quote inside the frame");
  }
  require((p.vnet.flags & ~VnetHeader::kNeedsChecksum) == 0, "only NEEDS_CSUM is handed on");
  if (p.needs_checksum()) {
    require(p.fragment == Fragment::none, "no partial checksum on fragments");
    require(
        p.vnet.csum_start == p.l4_offset && p.vnet.csum_start + p.vnet.csum_offset + 2u <= p.payload_offset,
        "checksum inside the transport header");
  }
  if (p.is_gso()) {
    require(p.needs_checksum() && p.vnet.gso_size >= kMinUdpGsoSize && p.vnet.hdr_len == p.payload_offset,
            "GSO");
    require(p.payload_length > p.vnet.gso_size && p.payload_offset + p.payload_length == p.length,
            "GSO payload");
    require(p.segments() >= 2 && p.network_length() <= 0xffff, "segments are IP packets");
  }
}

FlowTuple target(const FlowTuple& from, uint8_t choice) {
  FlowTuple to = choice % 2 == 0 ? from.reversed() : from;
  const uint8_t last = static_cast<uint8_t>(0x51 + choice);
  if (from.family == 4) {
    to.source = Address::v4(0xc0a80000u | last);
  } else {
    to.destination.bytes[15] = last;
    to.destination.bytes[0] = 0xfd;
  }
  if (choice >= 2) to.source_port = static_cast<uint16_t>(40000 + choice);
  return to;
}

// The frame as it is now parses to the same packet: nothing that was written is out of place.
void check_parses_again(const Packet& p, const char* what) {
  const Copy again(Bytes(p.frame, p.frame + p.length), p.vnet);
  if (again.reason == DropReason::address_invalid || again.reason == DropReason::port_zero)
    return;  // by the new tuple
  require(again.reason == DropReason::none, what);
  require(again.packet.tuple == p.tuple, what);
}

void check_rewrite(const Bytes& bytes, const VnetHeader& vnet, uint8_t choice) {
  Copy c(bytes, vnet);
  Packet& p = c.packet;
  const bool right = transport_checksum_valid(p);
  // All zeros and checksum 0: wrong (it would be 0xffff), but equal to a right one in one's complement, so an
  // update may heal it.
  const uint8_t* l4 = p.frame + p.l4_offset;
  const bool zeros =
      std::all_of(l4, static_cast<const uint8_t*>(p.frame + p.length), [](uint8_t b) { return b == 0; });
  const FlowTuple original = p.tuple;
  if (p.icmp_error) {
    const FlowTuple quoted = p.quoted.tuple;
    require(rewrite_quoted(p, target(quoted, choice)) == DropReason::none, "a quoted packet is translated");
    require(transport_checksum_valid(p) == right, "the ICMP checksum follows the quoted packet");
    require(p.quoted.tuple.family == quoted.family, "family stays");
  }
  const DropReason reason = rewrite(p, target(original, choice));
  if (p.kind != PacketKind::ip) {
    require(reason == DropReason::internal, "neighbour discovery is not translated");
    return;
  }
  require(reason == DropReason::none || reason == DropReason::sctp_fragment, "translation");
  check_offsets(p);
  if (p.tuple.family == 4)
    require(ipv4_checksum_valid(p.frame + p.l3_offset), "IPv4 checksum after translation");
  const bool v6_none =
      p.tuple.protocol == 17 && p.tuple.family == 6 && load_be16(p.frame + p.l4_offset + 6) == 0;
  if (p.fragment == Fragment::none && !v6_none && !zeros)
    require(transport_checksum_valid(p) == right, "transport checksum is as right as it was");
  const uint8_t ttl = p.ttl;
  require(decrement_ttl(p) == (ttl > 1) && p.ttl == (ttl > 1 ? ttl - 1 : ttl), "TTL");
  if (p.tuple.family == 4) require(ipv4_checksum_valid(p.frame + p.l3_offset), "IPv4 checksum after TTL");
  set_macs(p, {2, 0, 0, 0, 0, 1}, {2, 0, 0, 0, 0, 2});
  check_parses_again(p, "a translated packet is still the packet");
}

void check_answer(const uint8_t* bytes, uint32_t length, uint32_t limit) {
  if (length == 0) return;
  require(length <= limit, "answer inside its buffer");
  const Copy answer(Bytes(bytes, bytes + length), VnetHeader{});
  if (answer.reason == DropReason::address_invalid || answer.reason == DropReason::icmp_malformed) return;
  require(answer.reason == DropReason::none && answer.packet.length == length,
          "an answer is a well-formed frame");
  require(transport_checksum_valid(answer.packet), "an answer's checksum is right");
}

void check_answers(const Packet& p) {
  constexpr MacAddress mac{2, 0, 0, 0, 0, 1};
  const bool v4 = p.kind != PacketKind::arp && p.tuple.family == 4;
  Address from = Address::v4(0xa9fe0101);
  if (!v4) {
    from = Address{};
    from.bytes[0] = 0xfe;
    from.bytes[1] = 0x80;
    from.bytes[15] = 1;
  }
  const uint32_t room = p.length + kMaxReplyLength;
  Bytes out(room);
  check_answer(out.data(), build_arp_reply(p, mac, out), room);
  if (p.kind == PacketKind::arp) {
    static_cast<void>(arp_message(p));
    return;
  }
  if (p.kind == PacketKind::neighbour) static_cast<void>(neighbour_message(p));
  const std::span<uint8_t> error = std::span(out).first(kMaxReplyLength);
  check_answer(out.data(), build_neighbour_advertisement(p, mac, out), room);
  check_answer(out.data(), build_echo_reply(p, mac, out), room);
  check_answer(out.data(), build_tcp_reset(p, mac, error), kMaxReplyLength);
  check_answer(out.data(), build_sctp_abort(p, mac, error), kMaxReplyLength);
  check_answer(out.data(), build_unreachable(p, Unreachable::port, from, mac, error), kMaxReplyLength);
  check_answer(out.data(), build_time_exceeded(p, from, mac, error), kMaxReplyLength);
  check_answer(out.data(), build_packet_too_big(p, 1280, from, mac, error), kMaxReplyLength);
}

void check_segments(const Packet& p) {
  if (!p.is_gso()) return;
  Bytes out(p.payload_offset + uint32_t{p.vnet.gso_size});
  uint32_t count = 0, payload = 0;
  const bool done = segment(p, out, [&](const uint8_t* bytes, uint32_t length) {
    const Copy s(Bytes(bytes, bytes + length), VnetHeader{});
    // Without FIN or the other flags that only the last has, no segment may become something that the parser
    // refuses.
    require(s.reason == DropReason::none, "a segment is a well-formed frame");
    require(s.packet.length == length && s.packet.tuple == p.tuple, "a segment is of the same flow");
    require(transport_checksum_valid(s.packet), "a segment's checksum is right");
    payload += s.packet.payload_length;
    ++count;
  });
  require(done && payload == p.payload_length && count == p.segments(), "segments hold the whole payload");
}

void check_completion(const Bytes& bytes, const VnetHeader& vnet) {
  Copy c(bytes, vnet);
  const bool partial = c.packet.needs_checksum();
  if (!complete_checksum(c.packet)) {
    require(c.packet.is_gso(), "only GSO packets are not completed");
    return;
  }
  require(c.packet.vnet == VnetHeader{}, "nothing is left to complete");
  if (partial) require(transport_checksum_valid(c.packet), "a completed checksum is right");
}

void repair_ipv4(Bytes& frame) {
  for (const size_t l3 : {size_t{14}, size_t{18}}) {
    if (frame.size() < l3 + 20 || load_be16(frame.data() + l3 - 2) != 0x0800) continue;
    const size_t header = static_cast<size_t>(frame[l3] & 15) * 4;
    if (header < 20 || frame.size() < l3 + header) return;
    store_be16(frame.data() + l3 + 10, 0);
    store_native(frame.data() + l3 + 10, finish_checksum(sum_bytes(frame.data() + l3, header)));
    return;
  }
}

void repair_transport(Bytes& frame) {
  Copy c(frame, VnetHeader{});
  Packet& p = c.packet;
  if (c.reason != DropReason::none || p.kind != PacketKind::ip || p.fragment != Fragment::none) return;
  if (p.tuple.protocol != 6 && p.tuple.protocol != 17) return;
  if (p.payload_offset + p.payload_length != p.length) return;
  p.vnet.flags = VnetHeader::kNeedsChecksum;
  p.vnet.csum_start = p.l4_offset;
  p.vnet.csum_offset = p.tuple.protocol == 6 ? 16 : 6;
  require(complete_checksum(p), "completion");
  frame.assign(p.frame, p.frame + p.length);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 11 || size > 70000) return 0;
  const uint8_t choices = data[0];
  const VnetHeader vnet = load_vnet(data + 1);
  Bytes frame(data + 11, data + size);
  if ((choices & 1) != 0) repair_ipv4(frame);
  if ((choices & 2) != 0) repair_transport(frame);

  const Copy parsed(frame, vnet);
  require(static_cast<size_t>(parsed.reason) < drop_reason_count, "a reason from the list");
  require(parsed.reason != DropReason::internal, "no input is an internal error");
  if (parsed.reason != DropReason::none) return 0;
  check_offsets(parsed.packet);
  check_answers(parsed.packet);
  check_segments(parsed.packet);
  if (parsed.packet.kind == PacketKind::arp) return 0;
  check_rewrite(frame, vnet, (choices >> 2) & 3);
  check_completion(frame, vnet);
  return 0;
}
