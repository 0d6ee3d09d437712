// TCP between the ends: each case is a list of segments, one a line, with the verdict and state that each
// must meet.
#include <doctest/doctest.h>

#include "conntrack_fixture.h"

using namespace weft;
using namespace weft::conntrack_test;

namespace {

constexpr uint8_t S = tcp_flag::kSyn, A = tcp_flag::kAck, F = tcp_flag::kFin, R = tcp_flag::kRst;
constexpr Side O = Side::original, P = Side::reply;

struct Line {
  Side side;
  uint8_t flags;
  uint32_t sequence, acknowledgement, data;
  Update update;
  State state;
};

void play(const char* name, const std::vector<Line>& lines) {
  CAPTURE(name);
  Fixture f;
  const FlowTuple original = tuple(Protocol::tcp, 40000, 80);
  size_t number = 0;
  for (const Line& line : lines) {
    CAPTURE(number);
    const TcpSegment seg = segment(line.flags, line.sequence, line.acknowledgement, line.data);
    if (number++ == 0) {
      NewConnection wanted = connection(f, original);
      wanted.tcp = &seg;
      const InsertResult result = f.table->insert(wanted, kStart);
      REQUIRE(result.status == InsertStatus::ok);
      CHECK(result.lookup.state == line.state);
      continue;
    }
    const Lookup lookup = f.table->find(line.side == O ? original : original.reversed(), kStart);
    REQUIRE(lookup.hit());
    REQUIRE(lookup.side == line.side);
    Observation packet;
    packet.tcp = &seg;
    CHECK(static_cast<int>(f.table->update(lookup, packet, kStart)) == static_cast<int>(line.update));
    CHECK(std::string(state_name(f.table->read(lookup.entry)->state)) == state_name(line.state));
    CHECK(f.table->check() == nullptr);
  }
}

constexpr auto pass = Update::pass;
const Line kSyn{O, S, 100, 0, 0, pass, State::tcp_syn_sent};
const Line kSynAck{P, S | A, 500, 101, 0, pass, State::tcp_syn_received};
const Line kAck{O, A, 101, 501, 0, pass, State::tcp_established};

}  // namespace

TEST_CASE("a TCP connection opens, carries data and closes from either end") {
  play("initiator closes first", {kSyn,
                                  kSynAck,
                                  kAck,
                                  {O, A, 101, 501, 1000, pass, State::tcp_established},
                                  {P, A, 501, 1101, 0, pass, State::tcp_established},
                                  {O, F | A, 1101, 501, 0, pass, State::tcp_fin_wait},
                                  {P, A, 501, 1102, 300, pass, State::tcp_fin_wait},
                                  {P, F | A, 801, 1102, 0, pass, State::tcp_closing},
                                  {O, A, 1102, 802, 0, pass, State::tcp_time_wait},
                                  {P, F | A, 801, 1102, 0, pass, State::tcp_time_wait}});
  play("responder closes first", {kSyn,
                                  kSynAck,
                                  kAck,
                                  {P, F | A, 501, 101, 0, pass, State::tcp_fin_wait},
                                  {O, F | A, 101, 502, 0, pass, State::tcp_closing},
                                  {P, A, 502, 102, 0, pass, State::tcp_time_wait}});
  play("both FINs cross", {kSyn,
                           kSynAck,
                           kAck,
                           {O, F | A, 101, 501, 0, pass, State::tcp_fin_wait},
                           {P, F | A, 501, 101, 0, pass, State::tcp_closing},
                           {O, A, 102, 502, 0, pass, State::tcp_closing},
                           {P, A, 502, 102, 0, pass, State::tcp_time_wait}});
  play("data on the wrap of the sequence space",
       {{O, S, 0xfffffff0, 0, 0, pass, State::tcp_syn_sent},
        {P, S | A, 0xffffffff, 0xfffffff1, 0, pass, State::tcp_syn_received},
        {O, A, 0xfffffff1, 0, 100, pass, State::tcp_established},
        {P, A, 0, 85, 0, pass, State::tcp_established},
        {P, R | A, 0, 85, 0, pass, State::tcp_closed}});
}

TEST_CASE("both ends may open at once (RFC 9293 figure 8)") {
  play("simultaneous open", {kSyn,
                             {P, S, 500, 0, 0, pass, State::tcp_simultaneous_open},
                             {O, S | A, 100, 501, 0, pass, State::tcp_syn_received},
                             {P, S | A, 500, 101, 0, pass, State::tcp_syn_received},
                             {O, A, 101, 501, 0, pass, State::tcp_established}});
  play("simultaneous open, responder's SYN ACK first",
       {kSyn,
        {P, S, 500, 0, 0, pass, State::tcp_simultaneous_open},
        {P, S | A, 500, 101, 0, pass, State::tcp_syn_received},
        {O, S | A, 100, 501, 0, pass, State::tcp_established}});
}

TEST_CASE("a window scale of 0 from one end leaves the other end's scale alone; no option ends both") {
  struct Row {
    uint8_t answer;  // the responder's option
    Update reset;    // what its reset far inside of the initiator's scaled window meets
  };
  for (const Row& row : {Row{0, Update::pass}, Row{kNoScale, Update::out_of_window}}) {
    CAPTURE(row.answer);
    Fixture f;
    const FlowTuple original = tuple(Protocol::tcp, 40000, 80);
    const auto say = [&](Side side, const TcpSegment& seg) {
      Observation packet;
      packet.tcp = &seg;
      return f.table->update(f.table->find(side == O ? original : original.reversed(), kStart), packet,
                             kStart);
    };
    const TcpSegment syn = segment(S, 100, 0, 0, 1000, 7);
    NewConnection wanted = connection(f, original);
    wanted.tcp = &syn;
    REQUIRE(f.table->insert(wanted, kStart).status == InsertStatus::ok);
    CHECK(say(P, segment(S | A, 500, 101, 0, 1000, row.answer)) == Update::pass);
    CHECK(say(O, segment(A, 101, 501, 0, 1000)) == Update::pass);
    CHECK(say(P, segment(R, 501 + 100000, 0)) == row.reset);
  }
}

TEST_CASE("a reset counts only where the end could believe it") {
  const auto out = Update::out_of_window;
  play("refused", {kSyn, {P, R | A, 0, 101, 0, pass, State::tcp_closed}});
  play("reset that does not acknowledge the SYN", {kSyn,
                                                   {P, R | A, 0, 77, 0, out, State::tcp_syn_sent},
                                                   {P, R, 0, 0, 0, out, State::tcp_syn_sent},
                                                   kSynAck});
  play("blind reset far from the window", {kSyn,
                                           kSynAck,
                                           kAck,
                                           {P, R, 900000, 0, 0, out, State::tcp_established},
                                           {P, R, 400, 0, 0, out, State::tcp_established},
                                           {O, R, 0x80000000, 0, 0, out, State::tcp_established},
                                           {P, R, 501, 0, 0, pass, State::tcp_closed}});
  // What a client sends that closes before the answer comes: the answer's data and FIN acknowledge all but
  // the client's FIN, the segment behind them that one too, and each of the three draws its reset.
  const State closing = State::tcp_closing;
  play("resets of an end that has closed, for what was on its way",
       {kSyn,
        kSynAck,
        kAck,
        {O, F | A, 101, 501, 0, pass, State::tcp_fin_wait},
        {P, A, 501, 101, 18, pass, State::tcp_fin_wait},
        {P, F | A, 519, 101, 0, pass, closing},
        {P, A, 520, 102, 0, pass, closing},
        {O, R, 101, 0, 0, pass, closing},
        {O, R, 101, 0, 0, pass, closing},
        {O, R, 0xfffc0000, 0, 0, out, closing},
        {O, R, 900000, 0, 0, out, closing},
        {O, R, 102, 0, 0, pass, State::tcp_closed}});
  play("no reset is late before a FIN", {kSyn,
                                         kSynAck,
                                         kAck,
                                         {O, A, 101, 501, 50, pass, State::tcp_established},
                                         {P, A, 501, 151, 0, pass, State::tcp_established},
                                         {O, R, 101, 0, 0, out, State::tcp_established}});
  play("initiator gives up in the handshake", {kSyn, kSynAck, {O, R, 101, 0, 0, pass, State::tcp_closed}});
  play("challenge ACK of an older connection, and the reset it draws",
       {kSyn,
        {P, A, 70000, 9000, 0, pass, State::tcp_syn_sent},
        {O, R, 9000, 0, 0, pass, State::tcp_syn_sent},
        kSyn,
        kSynAck,
        kAck});
}

TEST_CASE("SYNs within a connection change nothing, and begin a new one after its end") {
  play("SYN in an established connection (RFC 5961 section 4)",
       {kSyn,
        kSynAck,
        kAck,
        {O, S, 7777, 0, 0, pass, State::tcp_established},
        {P, S, 7777, 0, 0, pass, State::tcp_established},
        {P, A, 501, 101, 0, pass, State::tcp_established}});
  const State established = State::tcp_established;
  play("an end that gave up answers a SYN",
       {kSyn,
        kSynAck,
        kAck,
        {O, S, 900000, 0, 0, pass, established},
        {P, S | A, 0x50000000, 900001, 0, Update::restart, established}});
  play("an end that gave up answers the other end's SYN",
       {kSyn,
        kSynAck,
        kAck,
        {P, S, 900000, 0, 0, pass, established},
        {O, S | A, 0x50000000, 900001, 0, Update::restart, established}});
  play("an end that forgot the handshake begins it anew",
       {kSyn,
        kSynAck,
        {O, S, 100, 0, 0, pass, State::tcp_syn_received},
        {P, S | A, 0x50000000, 101, 0, Update::restart, State::tcp_syn_received}});
  play("a SYN ACK that answers nothing that was asked", {kSyn,
                                                         kSynAck,
                                                         kAck,
                                                         {O, S, 900000, 0, 0, pass, established},
                                                         {O, S | A, 0x50000000, 900001, 0, pass, established},
                                                         {P, S | A, 0x50000000, 7, 0, pass, established}});
  play("the answer to a SYN that was sent again in the handshake comes late",
       {kSyn,
        kSynAck,
        {O, S, 100, 0, 0, pass, State::tcp_syn_received},
        kAck,
        {P, A, 501, 101, 60000, pass, established},
        {O, A, 101, 60501, 0, pass, established},
        {P, A, 60501, 101, 60000, pass, established},
        {O, A, 101, 120501, 0, pass, established},
        {P, S | A, 500, 101, 0, pass, established},
        {P, R, 120501, 0, 0, pass, State::tcp_closed}});
  play("SYN sent again with another number", {kSyn,
                                              {O, S, 9000, 0, 0, pass, State::tcp_syn_sent},
                                              {P, S | A, 500, 101, 0, pass, State::tcp_syn_sent},
                                              {P, S | A, 500, 9001, 0, pass, State::tcp_syn_received}});
  play("port reused in TIME_WAIT", {kSyn,
                                    kSynAck,
                                    kAck,
                                    {O, F | A, 101, 501, 0, pass, State::tcp_fin_wait},
                                    {P, F | A, 501, 102, 0, pass, State::tcp_closing},
                                    {O, A, 102, 502, 0, pass, State::tcp_time_wait},
                                    {O, S, 4000000, 0, 0, Update::restart, State::tcp_time_wait}});
  play("port reused after a reset", {kSyn,
                                     {P, R | A, 0, 101, 0, pass, State::tcp_closed},
                                     {O, S, 3000, 0, 0, Update::restart, State::tcp_closed}});
}

TEST_CASE("segments outside of the window pass but teach nothing") {
  play("far ahead, then a FIN out of window", {kSyn,
                                               kSynAck,
                                               kAck,
                                               {P, A, 0x70000000, 101, 10, pass, State::tcp_established},
                                               {P, F | A, 0x70000000, 101, 0, pass, State::tcp_established},
                                               {P, R, 501, 0, 0, pass, State::tcp_closed}});
}

TEST_CASE("a connection is picked up mid-stream, flagged, in the packet's own direction") {
  play("data both ways, then reset by the other end",
       {{O, A, 7000, 900, 100, pass, State::tcp_established},
        {P, A, 900, 7100, 5000, pass, State::tcp_established},
        {P, R, 1, 0, 0, Update::out_of_window, State::tcp_established},
        {P, R, 5900, 0, 0, pass, State::tcp_closed}});
  play("picked up by its FIN", {{O, F | A, 7000, 900, 0, pass, State::tcp_fin_wait},
                                {P, F | A, 900, 7001, 0, pass, State::tcp_closing},
                                {O, A, 7001, 901, 0, pass, State::tcp_time_wait}});
  Fixture f;
  const TcpSegment seg = segment(A, 5, 6);
  NewConnection wanted = connection(f, tuple(Protocol::tcp, 1, 2));
  wanted.tcp = &seg;
  const InsertResult result = f.table->insert(wanted, kStart);
  CHECK((result.lookup.flags & kPickedUp) != 0);
}

TEST_CASE("what cannot begin a TCP connection does not") {
  for (const uint8_t flags : {uint8_t(S | A), R, uint8_t(R | A), F, uint8_t(0)}) {
    CAPTURE(static_cast<int>(flags));
    Fixture f;
    const TcpSegment seg = segment(flags, 1, 1);
    NewConnection wanted = connection(f, tuple(Protocol::tcp, 1, 2));
    wanted.tcp = &seg;
    CHECK(f.table->insert(wanted, kStart).status == InsertStatus::invalid);
    CHECK(f.table->counts().used == 0);
  }
}

TEST_CASE("an established segment writes its side's line and the shared one, not the cold one") {
  Fixture f;
  const FlowTuple flow = tuple(Protocol::tcp, 1, 80);
  const auto take = [&](const FlowTuple& key, const TcpSegment& seg) {
    const Lookup found = f.table->find(key, kStart);
    REQUIRE(found.hit());
    REQUIRE(f.table->update(found, {100, 1, &seg}, kStart) == Update::pass);
  };
  const TcpSegment syn = segment(S, 1000);
  NewConnection wanted = connection(f, flow);
  wanted.tcp = &syn;
  REQUIRE(f.table->insert(wanted, kStart).status == InsertStatus::ok);
  take(flow.reversed(), segment(S | A, 7000, 1001));
  take(flow, segment(A, 1001, 7001));
  for (uint32_t i = 0; i < 4; ++i) {
    const Region before = f.region;
    const bool back = i % 2 == 1;
    const uint32_t mine = (back ? 7001 : 1001) + i / 2 * 100;
    const uint32_t theirs = (back ? 1101 : 7001) + i / 2 * 100;
    take(back ? flow.reversed() : flow, segment(A, mine, theirs, 100));
    size_t written = 0;
    for (size_t at = 0; at < before.size; at += 64)
      written += std::memcmp(before.bytes + at, f.region.bytes + at, 64) != 0;
    CHECK(written == 2);
  }
}
