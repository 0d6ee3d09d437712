// Small policy images for tests of the switch, written by hand against the generated layout: every pod has an
// identity and a program of its own. Free of the test framework: fuzz targets use it too. (The compiler's
// images are tested against it elsewhere; here only the layout is common.)
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "generated/layout.h"
#include "policy/image.h"

namespace weft::test {

// "10.0.0.1" or "fd00::1".
Address address(std::string_view text);

class ImageBuilder {
 public:
  static constexpr uint32_t kAnyPod = 0xfffffffe;   // every pod
  static constexpr uint32_t kOutside = 0xfffffffd;  // whatever is no pod
  static constexpr uint32_t kEverybody = 0xfffffffc;

  // What an isolated direction lets through. protocol 0: all of it.
  struct Allow {
    uint32_t peer = kEverybody;
    uint8_t protocol = 0;
    uint16_t first = 0, last = 65535;
  };

  // A pod of this node, or (local false) of another. Returns its identity.
  uint32_t pod(const std::vector<std::string>& addresses, bool local = true);
  void own_node(std::string_view text) { know(text, 0, layout::kNone, layout::kFlagOwnNode); }
  void other_node(std::string_view text) { know(text, 0, layout::kNone, layout::kFlagOtherNode); }
  // This host's address in its pod CIDR.
  void forwarded(std::string_view text) {
    know(text, 0, layout::kNone, layout::kFlagOwnNode | layout::kFlagForwarded);
  }
  void isolate(uint32_t identity, Direction direction, std::vector<Allow> allow);
  using Backends = std::vector<std::pair<std::string, uint16_t>>;
  struct Terms {
    Backends kept = {};                                          // of flows begun earlier only
    bool drops = false;                                          // without backends, rather than refuses
    std::vector<std::pair<std::string, uint32_t>> sources = {};  // base and depth in the 16-byte form
    uint64_t key = 0;                                            // 0: of its own
  };
  void service(std::string_view frontend, uint16_t port, uint8_t protocol, const Backends& backends,
               uint32_t affinity_seconds, const Terms& terms);
  void service(std::string_view frontend, uint16_t port, uint8_t protocol, const Backends& backends,
               uint32_t affinity_seconds = 0) {
    service(frontend, port, protocol, backends, affinity_seconds, Terms{});
  }

  bool judge_own_node = false;
  bool reject_egress = false, reject_ingress = false;

  [[nodiscard]] std::vector<uint8_t> bytes() const;
  // Throws where the loader refuses the image, which fails the test.
  [[nodiscard]] std::shared_ptr<const Image> load() const;

 private:
  struct Row {
    uint32_t identity;
    Direction direction;
    std::vector<Allow> allow;
  };
  void know(std::string_view text, uint32_t peer_class, uint32_t program, uint32_t flags);

  struct Pod {
    bool local;
    uint32_t program;
  };
  std::vector<Pod> pods_;
  uint32_t programs_ = 0;
  std::vector<Row> rows_;
  std::vector<layout::ImageAddress> addresses_;
  std::vector<layout::ImageFrontend> frontends_;
  std::vector<layout::ImageService> services_;
  std::vector<layout::ImageBackend> backends_;
  std::vector<layout::ImageSource> sources_;
};

}  // namespace weft::test
