#include "frame_text.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <sstream>

#include "base/address.h"
#include "base/crc32c.h"
#include "image_builder.h"

namespace weft::test {
namespace {

void be16(uint8_t* p, unsigned v) {
  p[0] = static_cast<uint8_t>(v >> 8);
  p[1] = static_cast<uint8_t>(v);
}
void be32(uint8_t* p, uint32_t v) {
  be16(p, v >> 16);
  be16(p + 2, v & 0xffff);
}
unsigned get16(const uint8_t* p) {
  return static_cast<unsigned>(p[0] << 8 | p[1]);
}
uint32_t get32(const uint8_t* p) {
  return static_cast<uint32_t>(get16(p)) << 16 | get16(p + 2);
}

uint32_t add_up(const uint8_t* p, size_t n, uint32_t sum = 0) {
  for (size_t i = 0; i < n; ++i) sum += i % 2 == 0 ? static_cast<uint32_t>(p[i] << 8) : p[i];
  return sum;
}
unsigned folded(uint32_t sum) {
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return sum;
}

struct End {
  Address address;
  unsigned port = 0;
};
End end_of(const std::string& text) {
  if (text[0] == '[') {
    const size_t close = text.find(']');
    return {address(text.substr(1, close - 1)), static_cast<unsigned>(std::stoul(text.substr(close + 2)))};
  }
  if (std::count(text.begin(), text.end(), ':') == 1) {
    const size_t colon = text.find(':');
    return {address(text.substr(0, colon)), static_cast<unsigned>(std::stoul(text.substr(colon + 1)))};
  }
  return {address(text), 0};
}
std::string text_of(const Address& a, unsigned port, bool with_port) {
  if (!with_port) return to_string(a);
  return (a.is_v4() ? to_string(a) : "[" + to_string(a) + "]") + ":" + std::to_string(port);
}

struct Line {
  std::string kind;
  End from, to;
  unsigned ttl = 64, length = 0, protocol = 0, id = 0, type = 0, code = 0, mtu = 0, fragment_id = 0,
           offset = 0;
  uint32_t seq = 1000, ack = 0;
  uint8_t flags = 0;
  bool df = false, fragment = false, more = false, echo = false, reply = false, error = false;
  std::string chunk, quoted;
};

Line read(std::string_view text) {
  Line line;
  std::istringstream in{std::string(text)};
  std::string word, source, arrow, destination;
  in >> line.kind;
  if (line.kind == "proto") in >> line.protocol;
  in >> source >> arrow >> destination;
  REQUIRE_MESSAGE(!destination.empty(), "cannot read: " << text);
  line.from = end_of(source);
  line.to = end_of(destination);
  if (arrow != ">") line.chunk = arrow;
  if (line.kind == "tcp") line.protocol = 6;
  if (line.kind == "udp") line.protocol = 17;
  if (line.kind == "sctp") line.protocol = 132;
  if (line.kind == "mld") line.protocol = 58;
  if (line.kind == "icmp" || line.kind == "nd") line.protocol = line.from.address.is_v4() ? 1 : 58;
  while (in >> word) {
    if (word == "ttl")
      in >> line.ttl;
    else if (word == "len")
      in >> line.length;
    else if (word == "seq")
      in >> line.seq;
    else if (word == "ack")
      in >> line.ack;
    else if (word == "mtu")
      in >> line.mtu;
    else if (word == "df")
      line.df = true;
    else if (word == "echo")
      line.echo = true, in >> line.id;
    else if (word == "reply")
      line.reply = true, in >> line.id;
    else if (word == "error") {
      line.error = true;
      in >> word;
      line.type = static_cast<unsigned>(std::stoul(word));
      line.code = static_cast<unsigned>(std::stoul(word.substr(word.find('/') + 1)));
    } else if (word == "quoting") {
      std::getline(in, line.quoted);
    } else if (word == "frag") {
      line.fragment = true;
      in >> word;
      line.fragment_id = static_cast<unsigned>(std::stoul(word));
      line.offset = static_cast<unsigned>(std::stoul(word.substr(word.find('@') + 1)));
      line.more = word.back() == '+';
    } else if (line.kind == "tcp") {
      for (char c : word) {
        const size_t bit = std::string_view("FSRPAU").find(c);
        REQUIRE_MESSAGE(bit != std::string_view::npos, "cannot read '" << word << "' in: " << text);
        line.flags |= static_cast<uint8_t>(1 << bit);
      }
    } else if (line.kind == "sctp") {
      line.chunk = word;
    } else {
      FAIL("cannot read '" << word << "' in: " << text);
    }
  }
  return line;
}

constexpr std::pair<const char*, uint8_t> kChunks[] = {
    {"DATA", 0},         {"INIT", 1},        {"INIT_ACK", 2}, {"ABORT", 6},
    {"COOKIE_ECHO", 10}, {"COOKIE_ACK", 11}, {"SHUTDOWN", 7}};

Bytes ip_packet(const Line& line);

Bytes transport(const Line& line) {
  Bytes out;
  if (line.fragment && line.offset != 0) return Bytes(line.length, 0x55);
  const auto payload = [&] {
    for (unsigned i = 0; i < line.length; ++i) out.push_back(static_cast<uint8_t>(i * 7 + 3));
  };
  if (line.kind == "tcp") {
    out.resize(20);
    be16(&out[0], line.from.port), be16(&out[2], line.to.port);
    be32(&out[4], line.seq), be32(&out[8], line.ack);
    out[12] = 5 << 4, out[13] = line.flags;
    be16(&out[14], 64000);
    payload();
  } else if (line.kind == "udp") {
    out.resize(8);
    be16(&out[0], line.from.port), be16(&out[2], line.to.port);
    payload();
    be16(&out[4], static_cast<unsigned>(out.size()));
  } else if (line.kind == "sctp") {
    const auto* chunk =
        std::find_if(std::begin(kChunks), std::end(kChunks), [&](auto& c) { return line.chunk == c.first; });
    REQUIRE_MESSAGE(chunk != std::end(kChunks), "unknown chunk " << line.chunk);
    const unsigned length = chunk->second == 1 || chunk->second == 2 ? 20 : chunk->second == 0 ? 20 : 4;
    out.resize(12 + length);
    be16(&out[0], line.from.port), be16(&out[2], line.to.port);
    be32(&out[4], chunk->second == 1 ? 0 : 77);
    out[12] = chunk->second, out[13] = chunk->second == 0 ? 3 : 0;
    be16(&out[14], length);
    if (length == 20)
      be32(&out[16], 77), be32(&out[20], 65536), be16(&out[24], 10), be16(&out[26], 10), be32(&out[28], 1);
  } else if (line.protocol == 1 || line.protocol == 58) {
    const bool v4 = line.protocol == 1;
    out.resize(8);
    if (line.error) {
      out[0] = static_cast<uint8_t>(line.type), out[1] = static_cast<uint8_t>(line.code);
      be32(&out[4], line.mtu);
      const Bytes inner = ip_packet(read(line.quoted));
      out.insert(out.end(), inner.begin(),
                 inner.begin() + static_cast<ptrdiff_t>(std::min<size_t>(inner.size(), 128)));
    } else if (line.kind == "nd" && (line.chunk == "solicits-router" || line.chunk == "is-router")) {
      out.resize(line.chunk == "is-router" ? 16 : 8);
      out[0] = line.chunk == "is-router" ? 134 : 133;
    } else if (line.kind == "mld") {
      out.resize(24);
      out[0] = 131;
      std::memcpy(&out[8], line.to.address.bytes.data(), 16);
    } else if (line.kind == "nd") {
      out.resize(32);
      out[0] = line.chunk == "solicits" ? 135 : 136;
      if (out[0] == 136) out[4] = 0x60;
      std::memcpy(&out[8], line.to.address.bytes.data(), 16);
      out[24] = out[0] == 135 ? 1 : 2, out[25] = 1;  // link-layer address option, filled by frame()
    } else {
      out[0] = v4 ? (line.reply ? 0 : 8) : (line.reply ? 129 : 128);
      be16(&out[4], line.id), be16(&out[6], 1);
      payload();
    }
  } else {
    payload();
  }
  return out;
}

// Offset of the checksum field in the transport header, or 0.
size_t checksum_at(unsigned protocol) {
  return protocol == 6 ? 16 : protocol == 17 ? 6 : protocol == 1 || protocol == 58 ? 2 : 0;
}

uint32_t pseudo(const uint8_t* ip, bool v4, unsigned protocol, size_t length) {
  uint32_t sum = v4 ? add_up(ip + 12, 8) : add_up(ip + 8, 32);
  return sum + protocol + static_cast<uint32_t>(length);
}

void complete(Bytes& packet, size_t at, bool v4, unsigned protocol) {
  uint8_t* l4 = packet.data() + at;
  const size_t length = packet.size() - at;
  if (protocol == 132) {
    const uint32_t crc = crc32c(l4, length);
    std::memcpy(l4 + 8, &crc, 4);
    return;
  }
  const size_t field = checksum_at(protocol);
  if (field == 0 || length < field + 2) return;
  be16(l4 + field, 0);
  const uint32_t start = protocol == 1 ? 0 : pseudo(packet.data(), v4, protocol, length);
  const unsigned sum = ~folded(add_up(l4, length, start)) & 0xffff;
  be16(l4 + field, sum == 0 && protocol == 17 ? 0xffff : sum);
}

Bytes ip_packet(const Line& line) {
  const bool v4 = line.from.address.is_v4();
  const Bytes l4 = transport(line);
  Bytes out;
  size_t at = 0;
  if (v4) {
    out.resize(20);
    out[0] = 0x45, out[8] = static_cast<uint8_t>(line.ttl), out[9] = static_cast<uint8_t>(line.protocol);
    be16(&out[2], static_cast<unsigned>(20 + l4.size()));
    be16(&out[4], line.fragment_id);
    be16(&out[6], line.offset / 8 | (line.more ? 0x2000u : 0u) | (line.df ? 0x4000u : 0u));
    std::memcpy(&out[12], &line.from.address.bytes[12], 4);
    std::memcpy(&out[16], &line.to.address.bytes[12], 4);
    be16(&out[10], ~folded(add_up(out.data(), 20)) & 0xffff);
    at = 20;
  } else {
    const size_t extension = line.fragment ? 8 : 0;
    out.resize(40 + extension);
    out[0] = 0x60, out[7] = static_cast<uint8_t>(line.ttl);
    out[6] = static_cast<uint8_t>(line.fragment ? 44 : line.protocol);
    be16(&out[4], static_cast<unsigned>(l4.size() + extension));
    std::memcpy(&out[8], line.from.address.bytes.data(), 16);
    std::memcpy(&out[24], line.to.address.bytes.data(), 16);
    if (line.fragment) {
      out[40] = static_cast<uint8_t>(line.protocol);
      be16(&out[42], (line.offset & ~7u) | (line.more ? 1u : 0u));
      be32(&out[44], line.fragment_id);
    }
    at = 40 + extension;
  }
  out.insert(out.end(), l4.begin(), l4.end());
  if (!line.fragment) complete(out, at, v4, line.protocol);
  return out;
}

std::string describe_ip(const uint8_t* ip, size_t length, bool quoted, bool partial) {
  const bool v4 = ip[0] >> 4 == 4;
  const Address from = v4 ? Address::v4_from(ip + 12) : Address::v6_from(ip + 8);
  const Address to = v4 ? Address::v4_from(ip + 16) : Address::v6_from(ip + 24);
  unsigned protocol = v4 ? ip[9] : ip[6];
  size_t at = v4 ? 20 : 40;
  unsigned offset = v4 ? (get16(ip + 6) & 0x1fff) * 8 : 0, id = v4 ? get16(ip + 4) : 0;
  bool more = v4 && (get16(ip + 6) & 0x2000) != 0, fragment = more || offset != 0;
  const size_t total = v4 ? get16(ip + 2) : 40 + get16(ip + 4);
  if (!v4 && protocol == 44) {
    protocol = ip[40];
    offset = get16(ip + 42) & ~7u, more = (ip[43] & 1) != 0, id = get32(ip + 44), fragment = true;
    at = 48;
  }
  bool good = quoted || total == length;
  if (v4 && folded(add_up(ip, 20)) != 0xffff) good = false;
  const uint8_t* l4 = ip + at;
  const size_t l4_length = length - at;
  const bool whole = !fragment && !quoted;
  if (whole && partial) {
    good = good && get16(l4 + checksum_at(protocol)) == folded(pseudo(ip, v4, protocol, l4_length));
  } else if (whole && protocol == 132) {
    Bytes copy(l4, l4 + l4_length);
    std::memset(&copy[8], 0, 4);
    const uint32_t crc = crc32c(copy.data(), copy.size());
    good = good && std::memcmp(&crc, l4 + 8, 4) == 0;
  } else if (whole && checksum_at(protocol) != 0) {
    const uint32_t start = protocol == 1 ? 0 : pseudo(ip, v4, protocol, l4_length);
    good = good && folded(add_up(l4, l4_length, start)) == 0xffff;
  }
  std::ostringstream out;
  const bool ports = (protocol == 6 || protocol == 17 || protocol == 132) && offset == 0;
  const std::string ends =
      text_of(from, ports ? get16(l4) : 0, ports) + " > " + text_of(to, ports ? get16(l4 + 2) : 0, ports);
  size_t payload = 0;
  if (protocol == 6) {
    out << "tcp " << ends;
    if (offset == 0 && !quoted) {
      std::string flags;
      for (size_t bit : {1u, 0u, 2u, 3u, 5u, 4u})
        if ((l4[13] >> bit & 1) != 0) flags += "FSRPAU"[bit];
      out << " " << flags;
      payload = l4_length - static_cast<size_t>(l4[12] >> 4) * 4;
    }
  } else if (protocol == 17) {
    out << "udp " << ends;
    payload = offset == 0 ? l4_length - 8 : 0;
  } else if (protocol == 132) {
    out << "sctp " << ends;
    if (offset == 0 && !quoted)
      for (auto& [name, number] : kChunks)
        if (number == l4[12]) out << " " << name;
  } else if (protocol == 1 || protocol == 58) {
    if (protocol == 58 && (l4[0] == 135 || l4[0] == 136)) {
      out << "nd " << to_string(from) << (l4[0] == 135 ? " solicits " : " advertises ")
          << to_string(Address::v6_from(l4 + 8));
    } else {
      out << "icmp " << ends;
      if (l4[0] == (v4 ? 8 : 128))
        out << " echo " << get16(l4 + 4);
      else if (l4[0] == (v4 ? 0 : 129))
        out << " reply " << get16(l4 + 4);
      else {
        out << " error " << int{l4[0]} << "/" << int{l4[1]};
        if (get32(l4 + 4) != 0) out << " mtu " << get32(l4 + 4);
        out << " quoting " << describe_ip(l4 + 8, l4_length - 8, true, false);
      }
    }
  } else {
    out << "proto " << protocol << " " << ends;
    payload = l4_length;
  }
  if (offset != 0) payload = l4_length;
  if (payload != 0 && !quoted) out << " len " << payload;
  if (fragment) out << " frag " << id << "@" << offset << (more ? "+" : "");
  if (!good) out << " BAD CHECKSUM";
  return out.str();
}

}  // namespace

Bytes frame(const Link& link, std::string_view text) {
  Bytes out(10 + 14);
  std::memcpy(&out[10], link.destination.data(), 6);
  std::memcpy(&out[16], link.source.data(), 6);
  const Line line = read(text);
  if (line.kind == "arp") {
    be16(&out[22], 0x0806);
    out.resize(10 + 14 + 28);
    uint8_t* arp = &out[24];
    be16(arp, 1), be16(arp + 2, 0x0800), arp[4] = 6, arp[5] = 4;
    be16(arp + 6, line.chunk == "asks" ? 1 : 2);
    std::memcpy(arp + 8, link.source.data(), 6);
    std::memcpy(arp + 14, &line.from.address.bytes[12], 4);
    std::memcpy(arp + 24, &line.to.address.bytes[12], 4);
    return out;
  }
  be16(&out[22], line.from.address.is_v4() ? 0x0800 : 0x86dd);
  Line adjusted = line;
  if (line.kind == "nd") adjusted.ttl = 255;
  if (line.kind == "mld") adjusted.ttl = 1;
  Bytes packet = ip_packet(adjusted);
  if (line.kind == "nd" && packet.size() == 40 + 32) {
    if (line.from.address.is_unspecified()) {
      // A DAD probe has no link-layer option and goes to the solicited-node group (RFC 4862 section 5.4.2).
      packet.resize(40 + 24), be16(&packet[4], 24);
      const uint8_t group[13] = {0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff};
      std::memcpy(&packet[24], group, 13);
    } else {
      std::memcpy(&packet[40 + 26], link.source.data(), 6);
    }
    complete(packet, 40, false, 58);
  }
  out.insert(out.end(), packet.begin(), packet.end());
  return out;
}

std::string describe(const Bytes& bytes) {
  if (bytes.size() < 24) return "short";
  const uint8_t* p = bytes.data() + 24;
  const unsigned type = get16(&bytes[22]);
  const bool partial = (bytes[0] & 1) != 0;
  if (type == 0x0806) {
    char mac[24];
    std::snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", p[8], p[9], p[10], p[11], p[12], p[13]);
    return "arp " + to_string(Address::v4_from(p + 14)) +
           (get16(p + 6) == 1 ? " asks " : std::string(" is-at ") + mac + " tells ") +
           to_string(Address::v4_from(p + 24));
  }
  const VnetHeader vnet = load_vnet(bytes.data());
  std::string text = describe_ip(p, bytes.size() - 24, false, partial);
  if (vnet.gso_size != 0) text += " gso " + std::to_string(vnet.gso_size);
  return text;
}

uint8_t ttl_of(const Bytes& bytes) {
  return bytes[24] >> 4 == 4 ? bytes[24 + 8] : bytes[24 + 7];
}

void make_partial(Bytes& bytes, uint16_t gso_size) {
  uint8_t* ip = ip_of(bytes);
  const bool v4 = ip[0] >> 4 == 4;
  const unsigned protocol = v4 ? ip[9] : ip[6];
  const size_t at = v4 ? 20 : 40;
  const size_t length = bytes.size() - 24 - at;
  be16(ip + at + checksum_at(protocol), folded(pseudo(ip, v4, protocol, length)));
  VnetHeader vnet;
  vnet.flags = VnetHeader::kNeedsChecksum;
  vnet.csum_start = static_cast<uint16_t>(14 + at);
  vnet.csum_offset = static_cast<uint16_t>(checksum_at(protocol));
  if (gso_size != 0) {
    vnet.gso_type = protocol == 17 ? VnetHeader::kGsoUdp : v4 ? VnetHeader::kGsoTcp4 : VnetHeader::kGsoTcp6;
    vnet.gso_size = gso_size;
    vnet.hdr_len = static_cast<uint16_t>(14 + at + (protocol == 17 ? 8 : 20));
  }
  store_vnet(bytes.data(), vnet);
}

}  // namespace weft::test
