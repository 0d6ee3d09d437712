// The switch put together from its parts: namespace thread, supervisor's socket, connection table in shared
// memory, workers, ports. Plain C++; switch_binding.cc makes it a JavaScript class.
//
// Threads. Everything is called on the control thread (JavaScript's). Work inside namespaces is posted to the
// namespace thread and hands its result to a `Completion`, which runs there: the binding carries it back to
// the control thread and calls finish_attach. `handover_` and `kept_` belong to the namespace thread; all
// else to the control thread.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "conntrack/table.h"
#include "io/handover.h"
#include "io/link_watch.h"
#include "io/netns.h"
#include "io/shared_memory.h"
#include "io/tap.h"
#include "io/thread_schedule.h"
#include "switch/switch.h"

namespace weft::addon {

struct DataPlaneOptions {
  std::string run_directory;
  int supervisor_descriptor = -1;
  Settings settings;
  TableOptions table;
  io::ThreadSchedule schedule;
  uint32_t queue_length = 1000;              // transmit queue of a port's interface, frames
  std::string queue_discipline = "noqueue";  // of a port's interface
  std::string sysctl = "/proc/sys";
};

struct PortConfig {
  std::string id;
  PortKind kind = PortKind::pod;
  io::TapConfig tap;
  Bandwidth bandwidth;
};

struct Attached {
  PortInstance instance = 0;
  io::TapOrigin origin = io::TapOrigin::created;
};

struct BrokenPort {
  std::string id;
  Error error;
};

// What became of the connections that the former process left.
struct SharedMemoryReport {
  uint32_t recovered = 0;
  uint32_t dropped = 0;
  std::optional<Error> refused;
  bool on_tmpfs = true;
  std::optional<Error> supervisor;  // why there is none, although one was announced
  std::optional<Error> schedule;    // what the kernel refused of it; the workers run without
};

struct Captured {
  CaptureRecord record;
  std::vector<uint8_t> bytes;
};

class DataPlane {
 public:
  // Errors: those of the parts (namespace-create, memory-*, connections-*, settings). Blocks for
  // milliseconds.
  static Result<std::unique_ptr<DataPlane>> open(const DataPlaneOptions& options);
  ~DataPlane();

  [[nodiscard]] Switch& core() { return *switch_; }
  [[nodiscard]] const Switch& core() const { return *switch_; }
  [[nodiscard]] const SharedMemoryReport& report() const { return report_; }

  // Starts the workers and waits until each is scheduled.
  Status start();

  using TapCompletion = std::function<void(Result<io::Tap>)>;
  // Makes, re-attaches or adopts the TAP on the namespace thread.
  void attach_device(const PortConfig& config, TapCompletion done);
  // Puts the device into the switch. An error removes the device again.
  Result<Attached> finish_attach(const PortConfig& config, io::Tap tap);

  using StatusCompletion = std::function<void(Status)>;
  // Takes the port out of the switch at once and deletes its TAP on the namespace thread. A port that is not
  // live (its attach had failed) leaves no TAP behind either.
  void detach(const PortConfig& config, StatusCompletion done);
  // New addresses of a live port, inside its namespace and in the switch.
  Status update_addresses(const PortConfig& config, StatusCompletion done);

  using ChangesCompletion = std::function<void(Result<io::Changes>)>;
  // Brings the interface of a live port to what its config says, and tells what was not.
  void restore(const PortConfig& config, ChangesCompletion done);

  // Begins to watch the host port's interface; a descriptor that is readable when there is something to hear.
  Result<int> watch_host();
  // Takes what was heard. Whether the host port's interface may be another than it should be.
  bool host_touched();

  std::vector<BrokenPort> broken_ports();
  // After the first desired state: removes devices that the supervisor kept and nobody claimed, and ends
  // their connections.
  void release_unclaimed();

  [[nodiscard]] const std::string* port_id(PortIndex index) const;
  [[nodiscard]] std::optional<PortHandle> port_handle(const std::string& id) const;
  [[nodiscard]] bool udp_segmentation() const { return udp_segmentation_; }
  [[nodiscard]] const ConnectionTable& table() const { return *table_; }

  // Captures. Each has a queue of its own, of at most kCaptureQueue records; the oldest go first.
  static constexpr size_t kMaximumCaptures = 8;
  static constexpr size_t kCaptureQueue = 4096;
  Result<uint32_t> start_capture(const std::string& id, bool drops_only, uint32_t snap_length);
  void stop_capture(uint32_t capture);
  // Up to `limit` records of one capture; `lost` counts those that went missing since the last call.
  std::vector<Captured> take_capture(uint32_t capture, size_t limit, uint64_t& lost);
  // Id of the port that a capture is on.
  [[nodiscard]] const std::string* capture_port(uint32_t capture) const;

  // Tasks posted before are finished, then the workers stop. Idempotent.
  void stop();

 private:
  struct LivePort {
    PortConfig config;
    PortHandle handle;
    io::NamespaceIdentity identity;
    int descriptor = -1;  // the switch's device owns it
  };
  struct Capture {
    std::string id;
    PortHandle handle;
    bool drops_only = false;
    uint32_t snap_length = 0;
    std::deque<Captured> queue;
    uint64_t lost = 0;
  };
  DataPlane() = default;
  void set_capture_mode(const PortHandle& handle);
  void distribute_captures();

  SharedMemoryReport report_;
  io::ThreadSchedule schedule_;
  // Destruction runs upwards: the switch goes before the table, the table before its memory.
  std::optional<io::SharedMemory> memory_;
  MonotonicClock clock_;
  std::unique_ptr<ConnectionTable> table_;
  std::unique_ptr<Switch> switch_;
  std::map<std::string, LivePort> ports_;
  std::map<PortIndex, std::string> ids_;
  std::map<uint32_t, Capture> captures_;
  uint32_t last_capture_ = 0;
  bool udp_segmentation_ = false;
  std::optional<io::LinkWatch> watch_;
  io::Handover handover_;
  std::map<std::string, io::Descriptor> kept_;
  std::unique_ptr<io::NamespaceThread> namespaces_;  // last: its tasks use what is above
};

}  // namespace weft::addon
