// The switch as a whole: ports, the current image, workers, and what can be read from them.
//
// Threads. One control thread makes all calls here. Workers read one immutable View (ports, routes, image,
// generation) through an atomic pointer and never wait for the control thread; the control thread waits until
// every worker has passed a quiescent point before it frees what an old View held (see quiescence.h). Such a
// wait is as long as one port's turn, at most some milliseconds.
//
// Closed first: without an image every packet is dropped with `no-image`; only ARP and neighbour
// solicitations are answered.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "conntrack/table.h"
#include "packet/flow.h"
#include "policy/image.h"
#include "service/affinity.h"
#include "service/balancer.h"
#include "switch/capture.h"
#include "switch/counters.h"
#include "switch/device.h"
#include "switch/explain.h"
#include "switch/flow_ring.h"
#include "switch/poller.h"
#include "switch/port.h"
#include "switch/quiescence.h"
#include "switch/settings.h"
#include "switch/thread_begin.h"
#include "switch/trial.h"
#include "switch/view.h"
#include "switch/worker_clock.h"

namespace weft {

class Worker;

struct PortHandle {
  PortIndex index = kNoPort;
  PortInstance instance = 0;  // tells apart the lives of one index
};

struct PortSnapshot {
  std::string id;
  PortHandle handle;
  PortKind kind = PortKind::pod;
  PortStatus status = PortStatus::live;
  uint32_t worker = 0;
  PortTotals totals;
};

struct WorkerSnapshot {
  uint64_t wakeups = 0;     // times that it woke from sleep
  uint64_t turns = 0;       // ports drained
  uint64_t flows_lost = 0;  // flow events refused by a full ring
  uint64_t captures_lost = 0;
};

struct Snapshot {
  uint64_t generation = 0;  // 0: no image has ever been set
  bool has_image = false;
  std::vector<PortSnapshot> ports;
  std::vector<WorkerSnapshot> workers;
  PortTotals removed;  // what ports that are gone had counted, so that sums never go back
  TableCounts connections;
};

class Switch {
 public:
  // Takes over the connections in `table` (already opened or recovered over its memory); every one of them is
  // judged again at its next packet. `table` and `clock` outlive the switch. Errors: a setting out of range,
  // a poller that cannot be made.
  static Result<std::unique_ptr<Switch>> create(const Settings& settings, ConnectionTable& table,
                                                const PollerFactory& make_poller, Clock& clock);
  ~Switch();  // stops the workers
  Switch(const Switch&) = delete;
  Switch& operator=(const Switch&) = delete;

  // Starts the worker threads; each calls `begin` first. stop() joins them, drains nothing, and may be
  // followed by start().
  Status start(const ThreadBegin& begin = {});
  void stop();

  // A port whose id the connection table knows from a former process gets its index, instance and connections
  // back. Errors: "connections-ports" (as many as the table holds), "connections-port-open" (same id),
  // "address-taken" (another port has one of the addresses), "host-exists" (there is a host port already),
  // "mac-invalid", "mtu-invalid", "poller". The device is destroyed on error.
  Result<PortHandle> add_port(PortSpec spec, std::unique_ptr<Device> device);

  // Ends the port's connections. Returns its device, for a caller that wants to keep it open; dropping it
  // closes it. Errors: "port-unknown".
  Result<std::unique_ptr<Device>> remove_port(PortHandle handle);

  // After the first desired state: ends connections of ports of the former process that nobody added again.
  // Returns how many ports.
  uint32_t release_unclaimed();

  // Which addresses the port has from now on. Connections of those it loses end.
  // Errors: "port-unknown", "address-taken".
  Status update_addresses(PortHandle handle, std::span<const Address> addresses);

  // From the next packet on. Errors: "port-unknown".
  Status set_bandwidth(PortHandle handle, const Bandwidth& bandwidth);

  // Takes effect at each port's next turn.
  void configure(const LiveSettings& live);

  // From the return on every packet is judged by `image`, connections at their next packet. Null: back to
  // `no-image`. Returns the generation, which grows with each call, also over restarts that kept the
  // connection table.
  uint64_t set_image(std::shared_ptr<const Image> image);
  // The same, and a shadow that judges beside it (trial.h), both from the same moment on. A trial has a
  // number of the caller's; another one begins with counters at 0. Without a shadow the trial is over; what
  // has not been drained of it is gone. Where nothing but the end of a trial changes, the generation stays.
  struct Shadow {
    uint64_t trial = 0;
    std::shared_ptr<const Image> image;  // never null
  };
  uint64_t set_images(std::shared_ptr<const Image> image, std::optional<Shadow> shadow);
  // 0: none runs.
  [[nodiscard]] uint64_t trial() const noexcept { return trial_; }
  [[nodiscard]] std::shared_ptr<const Image> shadow() const { return view_.current()->shadow; }
  // As image_of, for a trial's events.
  [[nodiscard]] std::shared_ptr<const Image> shadow_of(uint64_t generation) const;
  [[nodiscard]] TrialCounts trial_counts() const;
  size_t drain_trial(size_t limit, const std::function<void(const TrialEvent&)>& take);

  // The one in force, or null. Valid until the next set_image().
  [[nodiscard]] const Image* image() const noexcept;
  [[nodiscard]] std::shared_ptr<const Image> shared_image() const { return view_.current()->image; }
  [[nodiscard]] uint64_t generation() const noexcept;
  // The image of that generation if it is the current one or the one before; for naming what events refer to.
  [[nodiscard]] std::shared_ptr<const Image> image_of(uint64_t generation) const;

  [[nodiscard]] Snapshot snapshot() const;
  // Flow events refused by full rings, of all workers: asked many times a second, which a snapshot is not
  // for.
  [[nodiscard]] uint64_t lost_flows() const;

  // What would become of a new connection now; of the same structure that the workers use.
  [[nodiscard]] Explained explain(const FlowTuple& sent) const;

  // For listings: ConnectionTable::read.
  [[nodiscard]] const ConnectionTable& connections() const noexcept { return table_; }

  // Takes up to `limit` flow events out of the workers' rings, each worker's oldest first. Returns how many.
  size_t drain_flows(size_t limit, const std::function<void(const FlowEvent&)>& take);

  // snap_length: bytes copied of each frame. The first call allocates the rings. Errors: "port-unknown".
  Status set_capture(PortHandle handle, CaptureMode mode, uint32_t snap_length);
  size_t drain_captures(size_t limit,
                        const std::function<void(const CaptureRecord&, std::span<const uint8_t>)>& take);

  // Workers by number, for tests that drive them without threads.
  [[nodiscard]] Worker& worker(uint32_t index) noexcept { return *workers_[index]; }
  [[nodiscard]] const Settings& settings() const noexcept { return settings_; }

 private:
  Switch(const Settings& settings, ConnectionTable& table);
  // A copy of the current View to change.
  [[nodiscard]] std::unique_ptr<View> next_view() const;
  // Makes `next` current, with routes from addresses_, and destroys the View before it when no worker can
  // hold it any more.
  void publish(std::unique_ptr<View> next);
  [[nodiscard]] Port* find(PortHandle handle) const;
  // Gives `next` the next generation and keeps what events of the one before refer to.
  void begin_generation(View& next);
  void end_trial();
  [[nodiscard]] Status addresses_free(PortIndex self, std::span<const Address> addresses) const;

  const Settings settings_;
  ConnectionTable& table_;
  AffinityTable affinity_;
  Balancer balancer_;
  Guarded<const View> view_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::map<PortIndex, std::vector<Address>> addresses_;  // of every port
  std::shared_ptr<const Image> previous_image_, previous_shadow_;
  uint64_t trial_ = 0;
  uint64_t previous_generation_ = 0;
  PortTotals removed_;
  bool running_ = false;
};

}  // namespace weft
