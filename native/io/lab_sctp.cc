#include "io/lab_sctp.h"

#include <array>
#include <cstring>

namespace weft::lab {
namespace {

constexpr size_t kCommonHeader = 12;
constexpr size_t kChunkHeader = 4;
constexpr size_t kInitChunk = 20;  // chunk header, initiate tag, window, two stream counts, initial TSN
constexpr uint16_t kStateCookie = 7;

constexpr std::array<uint32_t, 256> make_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = (value & 1) != 0 ? (value >> 1) ^ 0x82f63b78u : value >> 1;
    table[i] = value;
  }
  return table;
}
constexpr auto kTable = make_table();

uint16_t read16(const uint8_t* at) {
  return static_cast<uint16_t>(at[0] << 8 | at[1]);
}
uint32_t read32(const uint8_t* at) {
  return static_cast<uint32_t>(at[0]) << 24 | static_cast<uint32_t>(at[1]) << 16 |
         static_cast<uint32_t>(at[2]) << 8 | at[3];
}
void write16(uint8_t* at, uint16_t value) {
  at[0] = static_cast<uint8_t>(value >> 8);
  at[1] = static_cast<uint8_t>(value);
}
void write32(uint8_t* at, uint32_t value) {
  write16(at, static_cast<uint16_t>(value >> 16));
  write16(at + 2, static_cast<uint16_t>(value));
}

// The checksum is stored with its least significant byte first, unlike every other field.
uint32_t read_checksum(const uint8_t* at) {
  return static_cast<uint32_t>(at[3]) << 24 | static_cast<uint32_t>(at[2]) << 16 |
         static_cast<uint32_t>(at[1]) << 8 | at[0];
}
void store_checksum(std::vector<uint8_t>& packet) {
  const uint32_t sum = crc32c(packet);
  for (size_t i = 0; i < 4; ++i) packet[8 + i] = static_cast<uint8_t>(sum >> (8 * i));
}

std::vector<uint8_t> start(uint16_t source_port, uint16_t destination_port, uint32_t tag, SctpChunk type,
                           size_t chunk_length) {
  std::vector<uint8_t> packet(kCommonHeader + (chunk_length + 3) / 4 * 4, 0);
  write16(packet.data(), source_port);
  write16(packet.data() + 2, destination_port);
  write32(packet.data() + 4, tag);
  packet[kCommonHeader] = static_cast<uint8_t>(type);
  write16(packet.data() + kCommonHeader + 2, static_cast<uint16_t>(chunk_length));
  return packet;
}

void fill_init(uint8_t* chunk, uint32_t initiate_tag) {
  write32(chunk + 4, initiate_tag);
  write32(chunk + 8, 65536);          // receiver window: at least 1,500 (RFC 9260 section 5.1)
  write16(chunk + 12, 1);             // outbound streams
  write16(chunk + 14, 1);             // inbound streams
  write32(chunk + 16, initiate_tag);  // initial TSN: any value
}

}  // namespace

uint32_t crc32c(std::span<const uint8_t> bytes) {
  uint32_t crc = 0xffffffffu;
  for (uint8_t byte : bytes) crc = kTable[(crc ^ byte) & 0xff] ^ (crc >> 8);
  return ~crc;
}

std::optional<SctpPacket> parse_sctp(std::span<const uint8_t> packet) {
  if (packet.size() < kCommonHeader + kChunkHeader) return std::nullopt;
  SctpPacket parsed;
  parsed.source_port = read16(packet.data());
  parsed.destination_port = read16(packet.data() + 2);
  parsed.verification_tag = read32(packet.data() + 4);

  std::vector<uint8_t> zeroed(packet.begin(), packet.end());
  std::memset(zeroed.data() + 8, 0, 4);
  parsed.checksum_ok = crc32c(zeroed) == read_checksum(packet.data() + 8);

  const uint8_t* chunk = packet.data() + kCommonHeader;
  const size_t room = packet.size() - kCommonHeader;
  parsed.chunk = chunk[0];
  const size_t length = read16(chunk + 2);
  if (length < kChunkHeader || length > room) return std::nullopt;
  const bool has_tag = chunk[0] == static_cast<uint8_t>(SctpChunk::init) ||
                       chunk[0] == static_cast<uint8_t>(SctpChunk::init_ack);
  if (!has_tag) return parsed;
  if (length < kInitChunk) return std::nullopt;
  parsed.initiate_tag = read32(chunk + 4);
  for (size_t at = kInitChunk; at + 4 <= length;) {
    const uint16_t type = read16(chunk + at);
    const size_t size = read16(chunk + at + 2);
    if (size < 4 || at + size > length) break;
    if (type == kStateCookie) parsed.cookie.assign(reinterpret_cast<const char*>(chunk + at + 4), size - 4);
    at += (size + 3) / 4 * 4;
  }
  return parsed;
}

std::vector<uint8_t> build_init(uint16_t source_port, uint16_t destination_port, uint32_t initiate_tag) {
  auto packet = start(source_port, destination_port, 0, SctpChunk::init, kInitChunk);
  fill_init(packet.data() + kCommonHeader, initiate_tag);
  store_checksum(packet);
  return packet;
}

std::vector<uint8_t> build_init_ack(const SctpPacket& init, uint32_t initiate_tag, std::string_view cookie) {
  auto packet = start(init.destination_port, init.source_port, init.initiate_tag, SctpChunk::init_ack,
                      kInitChunk + 4 + cookie.size());
  uint8_t* chunk = packet.data() + kCommonHeader;
  fill_init(chunk, initiate_tag);
  write16(chunk + kInitChunk, kStateCookie);
  write16(chunk + kInitChunk + 2, static_cast<uint16_t>(4 + cookie.size()));
  std::memcpy(chunk + kInitChunk + 4, cookie.data(), cookie.size());
  store_checksum(packet);
  return packet;
}

std::vector<uint8_t> build_abort(uint16_t source_port, uint16_t destination_port, uint32_t verification_tag) {
  auto packet = start(source_port, destination_port, verification_tag, SctpChunk::abort, kChunkHeader);
  store_checksum(packet);
  return packet;
}

}  // namespace weft::lab
