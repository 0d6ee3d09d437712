// The way of one packet through the switch: parse, checks of its source, connection, service, policy,
// rewriting, transmission. Pure of threads, sleep and clocks: a worker (or a test) hands in a frame, the View
// that is current and the time.
//
// Order, and why. A frame is first made harmless (parse), then tied to its sender (MAC, address, neighbour
// messages), and only then looked up: a connection's entry is a permission, so nobody but the port that it
// belongs to may use it. A miss is translated before it is judged, because policy is about pods and not about
// Services, and an entry is made only for a packet that then goes out: no denied, expired or oversized packet
// takes a slot in the table. What the sender is told (time exceeded, too big, refused) is built from the
// packet before it was rewritten, so that the sender recognises what is quoted.
//
// One Forwarder belongs to one worker. It allocates in its constructor and never after.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "conntrack/fragments.h"
#include "conntrack/table.h"
#include "generated/drop_reason.h"
#include "packet/packet.h"
#include "packet/reply.h"
#include "service/balancer.h"
#include "switch/capture.h"
#include "switch/flow_ring.h"
#include "switch/gather.h"
#include "switch/port.h"
#include "switch/settings.h"
#include "switch/trial.h"
#include "switch/view.h"

namespace weft {

// One packet and what has been found out about it so far.
struct Passage {
  Passage(const View& v, Port& port, uint64_t now) noexcept : view(v), in(port), now_ns(now) {}

  const View& view;
  Port& in;
  uint64_t now_ns;
  Packet packet;
  FlowTuple sent;                    // as the sender sent it; packet.tuple may change when it is rewritten
  std::optional<FlowTuple> backend;  // `sent` with the destination that a Service led to, once that is known
  std::optional<FlowTuple> told;     // what a flow event names if not `sent`: the initiator's tuple where a
                                     // reply was judged again
  const Port* initiator = nullptr;   // the port that `told` came by, if not `in`
  Port* out = nullptr;
  Image::Classification source{};
  Image::Classification destination{};
  RuleIndex egress_rule = kNoRule;
  RuleIndex ingress_rule = kNoRule;
  uint64_t key_hash = 0;  // of the connection's key, where the frames ahead were looked at
  bool hashed = false;
  Found connection;                     // what was found, or made; reset where it turns out to be none
  uint32_t attempts = 0;                // times that the connection changed under this packet
  std::span<const uint8_t> original{};  // the frame as it came, where the port is captured
  bool answered = false;                // the switch itself answered; nothing was forwarded
  bool held = false;                    // a fragment that waits for its first; counted when it goes on
};

// A frame as a worker received it: vnet header first, `length` counts it.
struct Arrived {
  uint8_t* bytes = nullptr;
  uint32_t length = 0;
};

class Forwarder {
 public:
  // Frames that are looked at together, so that their connections are fetched from memory at the same time.
  static constexpr uint32_t kBatch = 16;

  // worker: selects the counters that this forwarder writes.
  Forwarder(const Settings& settings, ConnectionTable& table, Balancer& balancer, uint32_t worker);

  // Takes frames that `in` received, in their order. Their bytes are rewritten, and not used any more when
  // this returns. Datagrams of one flow may be held back, until flush(): the caller owes it before the port's
  // turn ends, while it still holds `view`.
  void forward(const View& view, Port& in, std::span<const Arrived> frames, uint64_t now_ns) noexcept;
  void flush() noexcept;

  // Housekeeping without a packet: lets fragments expire. Cheap; called once a loop.
  void tick(const View& view, uint64_t now_ns) noexcept;

  [[nodiscard]] FlowRing& flows() noexcept { return flows_; }
  // Null until the first capture.
  [[nodiscard]] CaptureRing* captures() noexcept { return captures_.load(std::memory_order_acquire); }
  // Control thread, before the first port is captured.
  void allocate_captures(uint32_t bytes);

  // trial.cc; control thread, while no view has a shadow. trial_log(): null outside of a trial.
  void begin_trial();
  void end_trial() noexcept;
  [[nodiscard]] TrialLog* trial_log() noexcept { return trial_.get(); }
  [[nodiscard]] TrialCounts trial_counts() const noexcept;

 private:
  // walk.cc: the order of things. `none`: forwarded, answered, or held.
  void forward_batch(const View& view, Port& in, std::span<const Arrived> frames, uint64_t now_ns) noexcept;
  void look_ahead(uint32_t count) noexcept;
  DropReason walk(Passage& way) noexcept;
  DropReason route(Passage& way) noexcept;

  // fragment.cc
  DropReason route_first_fragment(Passage& way) noexcept;
  DropReason route_later_fragment(Passage& way) noexcept;
  DropReason follow_fragment(Passage& way, const FragmentDecision& decision) noexcept;
  void release_fragment(const View& view, Port& in, std::span<const uint8_t> frame,
                        const FragmentDecision& decision, uint64_t now_ns) noexcept;

  // source_check.cc
  DropReason check_link(const Passage& way) const noexcept;
  DropReason check_addresses(const Passage& way) const noexcept;

  // answer.cc: what the switch says itself.
  DropReason answer_arp(Passage& way) noexcept;
  DropReason answer_neighbour(Passage& way) noexcept;
  DropReason answer_gateway(Passage& way) noexcept;
  [[nodiscard]] bool is_gateway(const Address& address) const noexcept {
    return address == settings_.gateway_v4 || address == settings_.gateway_v6;
  }
  // `build(span)` writes a frame and returns its length, 0 for none; it is sent to the port that the packet
  // came from, within that port's rate. `none`: sent. Else why not: the rate, the device, or `unanswerable`
  // where there was nothing to say.
  template <class Build>
  DropReason answer(Passage& way, DropReason unanswerable, Build&& build) noexcept;
  void refuse(Passage& way, Unreachable what) noexcept;  // TCP reset, else ICMP unreachable
  void end(Passage& way) noexcept;  // the connection that the packet is of: TCP reset, SCTP abort
  void tell_unreachable(Passage& way, Unreachable what) noexcept;
  void tell_too_big(Passage& way, uint32_t mtu) noexcept;
  void tell_time_exceeded(Passage& way) noexcept;
  [[nodiscard]] const Address& gateway(const Passage& way) const noexcept {
    return way.packet.tuple.family == 4 ? settings_.gateway_v4 : settings_.gateway_v6;
  }

  // connect.cc: a packet of no connection.
  DropReason connect(Passage& way, const FlowTuple& key) noexcept;
  DropReason locate(Passage& way) noexcept;  // fills source, destination and out for way.backend; tells
  // follow.cc: a packet of a connection, and an ICMP error about one. way.connection is what was found for
  // `key`, which is not in way.packet.
  DropReason follow(Passage& way, const FlowTuple& key) noexcept;
  DropReason follow_error(Passage& way) noexcept;
  enum class Standing : uint8_t {
    allowed,
    denied,   // way has the reason's rules; the entry stays, and is judged again at its next packet
    changed,  // the ends are other ports now, or the entry is gone: treat as a miss
    ended,    // its Service's endpoint is gone, and the entry
    closed,   // an end's port is gone
  };
  Standing judge_again(Passage& way, const Lookup& found, DropReason& reason) noexcept;

  // What a Service's change does to a flow of a client: nothing, a new beginning, or an end.
  enum class Tie : uint8_t { holds, moves, ends };
  static Tie tie_of(const View& view, const Port& from, const Lookup& found) noexcept;

  // judge.cc: both directions, with the exemptions. judge() asks the image in force and fills the passage's
  // rules.
  static Ruling rule(const Image& image, const Image::Classification& source,
                     const Image::Classification& destination, const Port& from, const Port& to,
                     const FlowTuple& translated) noexcept;
  static DropReason judge(Passage& way, const Port& from, const Port& to,
                          const FlowTuple& translated) noexcept;
  DropReason deny(Passage& way, DropReason reason) noexcept;  // rejects where the image says so

  // trial.cc: only where the view has a shadow.
  void compare(const Passage& way, const Port& from, const Port& to, const FlowTuple& told,
               const FlowTuple& translated, DropReason actual, bool judged_before) noexcept;

  // transmit.cc
  DropReason check_leave(Passage& way, const Port& out) noexcept;  // TTL and MTU; tells the sender
  DropReason transmit(Passage& way, Port& out) noexcept;
  template <class Pieces>
  SendStatus send_pieces(Port& out, Pieces& pieces, uint64_t& bytes) noexcept;
  SendStatus send(Port& out, uint8_t* frame, uint32_t length, const VnetHeader& vnet) noexcept;

  // gather.cc
  [[nodiscard]] bool may_gather(const Passage& way, const Port& out) const noexcept;
  void gather(Passage& way, Port& out) noexcept;
  bool join(Gathered& held, Passage& way) noexcept;  // false: it does not fit
  void let_go_before(const Packet& packet, const Port& out) noexcept;
  void let_go(Gathered& held) noexcept;
  void lose(Gathered& held, uint32_t packets, DropReason reason) noexcept;
  void settle() noexcept;  // lets go what lies where it was received

  // record.cc
  void keep_original(Passage& way) noexcept;              // for a capture, before anything is rewritten
  void finish(Passage& way, DropReason reason) noexcept;  // counts a drop, tells and captures
  void tell_connection(const Passage& way) noexcept;
  void tell(const Passage& way, FlowVerdict verdict, DropReason reason, uint32_t suppressed) noexcept;
  [[nodiscard]] static FlowEvent event_of(const Passage& way, FlowVerdict verdict, DropReason reason,
                                          uint32_t suppressed) noexcept;
  // Whether a drop of this port may be told now; counts one that may not.
  static bool may_tell(Port& in, const LiveSettings& live, uint64_t now_ns) noexcept;
  void capture(const Passage& way, const Port& port, CaptureSide side, DropReason reason, uint32_t length,
               std::span<const uint8_t> bytes) noexcept;
  PortCounters& counters(const Port& port) const noexcept { return port.counters[worker_]; }

  [[nodiscard]] uint64_t next_random() noexcept;

  const Settings& settings_;
  ConnectionTable& table_;
  Balancer& balancer_;
  const uint32_t worker_;
  FragmentTable fragments_;
  uint64_t last_fragment_sweep_ns_ = 0;
  std::vector<PortInstance> fragment_lives_;  // by port index: whose fragments the table holds
  FlowRing flows_;
  std::atomic<CaptureRing*> captures_{nullptr};
  std::unique_ptr<CaptureRing> capture_ring_;
  std::unique_ptr<TrialLog> trial_;
  std::array<std::optional<Passage>, kBatch> batch_;
  std::array<DropReason, kBatch> parsed_{};
  std::array<Gathered, kGatheredFlows> gathered_;
  uint32_t held_flows_ = 0;        // of gathered_
  uint32_t next_gathered_ = 0;     // the next to make room
  std::vector<uint8_t> scratch_;   // vnet header and frame of an answer or a segment
  std::vector<uint8_t> held_;      // vnet header and frame of a fragment that was held
  std::vector<uint8_t> snapshot_;  // a captured frame as it came
  uint32_t sample_ = 0;
  uint64_t random_[2];
};

// The opposite of connection_key(): an echo's identifier in both ports, as packets have it. `side`: the one
// whose packets have this key.
inline bool has_identifier(const FlowTuple& key) noexcept {
  return key.protocol == static_cast<uint8_t>(Protocol::icmp) ||
         key.protocol == static_cast<uint8_t>(Protocol::icmpv6);
}
inline FlowTuple wire_form(FlowTuple key, Side side) noexcept {
  if (has_identifier(key))
    key.source_port = key.destination_port = side == Side::original ? key.source_port : key.destination_port;
  return key;
}

DropReason reason_of(SendStatus status);

// What the connection table looks at in a packet. Points into itself: keep it while the observation is used.
struct Observed {
  explicit Observed(const Packet& packet) noexcept;
  Observation observation() const noexcept;
  [[nodiscard]] bool can_begin(const Packet& packet) const noexcept;
  // A SYN or an INIT: the packet cannot be one of a connection that is under way.
  [[nodiscard]] bool begins() const noexcept;
  // It would end the connection, or one direction of it: FIN, RST, ABORT, SHUTDOWN and what answers it.
  [[nodiscard]] bool ends() const noexcept;

  TcpSegment tcp{};
  SctpPacket sctp{};
  uint32_t bytes = 0;
  uint32_t packets = 1;
  bool is_tcp = false;
  bool is_sctp = false;
  bool malformed = false;  // SCTP chunks do not hold together
};

}  // namespace weft
