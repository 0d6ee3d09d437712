// SCTP between the ends.
#include <doctest/doctest.h>

#include "conntrack_fixture.h"

using namespace weft;
using namespace weft::conntrack_test;

namespace {

constexpr Side O = Side::original, P = Side::reply;

SctpPacket sctp(uint8_t chunk, uint32_t tag, uint32_t initiate = 0, bool reflected = false) {
  return {tag, initiate, 1u << chunk, reflected};
}

}  // namespace

TEST_CASE("an SCTP association opens with INIT and ends with SHUTDOWN COMPLETE") {
  struct Line {
    Side side;
    SctpPacket packet;
    Update update;
    State state;
  };
  const auto pass = Update::pass;
  const std::vector<std::vector<Line>> cases{
      {{O, sctp(sctp_chunk::kInit, 0, 11), pass, State::sctp_cookie_wait},
       {O, sctp(sctp_chunk::kInit, 0, 11), pass, State::sctp_cookie_wait},
       {P, sctp(sctp_chunk::kInitAck, 99, 22), pass, State::sctp_cookie_wait},  // not the initiator's tag
       {P, sctp(sctp_chunk::kInitAck, 11, 22), pass, State::sctp_cookie_ready},
       {O, sctp(sctp_chunk::kCookieEcho, 22), pass, State::sctp_cookie_echoed},
       {P, sctp(sctp_chunk::kCookieAck, 11), pass, State::sctp_established},
       {O, sctp(sctp_chunk::kData, 22), pass, State::sctp_established},
       {P, sctp(sctp_chunk::kAbort, 77), Update::invalid, State::sctp_established},
       {P, sctp(sctp_chunk::kShutdown, 77), pass, State::sctp_established},
       {O, sctp(sctp_chunk::kInit, 0, 33), pass, State::sctp_established},
       {O, sctp(sctp_chunk::kShutdown, 22), pass, State::sctp_shutdown},
       {P, sctp(sctp_chunk::kShutdownAck, 11), pass, State::sctp_shutdown_ack},
       {O, sctp(sctp_chunk::kShutdownComplete, 22), pass, State::sctp_closed},
       {O, sctp(sctp_chunk::kInit, 0, 44), Update::restart, State::sctp_closed}},
      {{O, sctp(sctp_chunk::kInit, 0, 11), pass, State::sctp_cookie_wait},
       {P, sctp(sctp_chunk::kAbort, 11), pass, State::sctp_closed}},
      {{O, sctp(sctp_chunk::kData, 22), pass, State::sctp_established},  // picked up
       {P, sctp(sctp_chunk::kHeartbeatAck, 11), pass, State::sctp_established},
       {P, sctp(sctp_chunk::kAbort, 22, 0, true), pass, State::sctp_closed}},
  };
  for (size_t c = 0; c < cases.size(); ++c) {
    CAPTURE(c);
    Fixture f;
    const FlowTuple t = tuple(Protocol::sctp, 3000, 3868);
    for (size_t i = 0; i < cases[c].size(); ++i) {
      CAPTURE(i);
      const Line& line = cases[c][i];
      if (i == 0) {
        NewConnection wanted = connection(f, t);
        wanted.sctp = &line.packet;
        REQUIRE(f.table->insert(wanted, kStart).status == InsertStatus::ok);
      }
      const Lookup found = f.table->find(line.side == O ? t : t.reversed(), kStart);
      REQUIRE(found.hit());
      if (i > 0) {
        Observation packet;
        packet.sctp = &line.packet;
        CHECK(static_cast<int>(f.table->update(found, packet, kStart)) == static_cast<int>(line.update));
      }
      CHECK(std::string(state_name(f.table->read(found.entry)->state)) == state_name(line.state));
    }
    CHECK(f.table->check() == nullptr);
  }
  for (const SctpPacket& first :
       {sctp(sctp_chunk::kInit, 5, 11), sctp(sctp_chunk::kInit, 0, 0), sctp(sctp_chunk::kInitAck, 1, 2),
        sctp(sctp_chunk::kAbort, 1), sctp(sctp_chunk::kData, 0)})
    CHECK(sctp_start(first) == SctpStart::refuse);
}

TEST_CASE("SCTP chunks are read within their packet") {
  uint8_t bytes[48] = {0x0b, 0xb8, 0x0f, 0x1c, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 20, 0, 0, 0, 11};
  SctpPacket packet;
  REQUIRE(read_sctp(bytes, 32, packet));
  CHECK(packet.has(sctp_chunk::kInit));
  CHECK(packet.initiate_tag == 11);
  CHECK(sctp_start(packet) == SctpStart::begin);
  CHECK_FALSE(read_sctp(bytes, 31, packet));
  CHECK_FALSE(read_sctp(bytes, 12, packet));
  bytes[15] = 3;
  CHECK_FALSE(read_sctp(bytes, 32, packet));
}
