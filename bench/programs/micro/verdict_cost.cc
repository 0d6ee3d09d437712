// What the verdict of a new flow costs: both ends classified, egress and ingress programs asked.
//
//   weft-bench-verdict --image FILE --flows FILE [--time]
//
// A flow is a line `SOURCE DESTINATION PROTOCOL PORT`, e.g. `10.0.0.1 10.0.0.2 6 80`. Every flow is judged as
// many times as make a million verdicts (--time: the median of nanoseconds for one is printed) or once, which
// is all that is collected under `valgrind --tool=callgrind --collect-atstart=no`; then it prints how many
// flows, and how many of them are allowed.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <stdexcept>
#include <string>

#include "scene.h"

#if __has_include(<valgrind/callgrind.h>)
#include <valgrind/callgrind.h>
#else
#define CALLGRIND_TOGGLE_COLLECT
#endif

namespace weft::bench {
namespace {

struct Flow {
  Address source, destination;
  uint8_t family, protocol;
  uint16_t port;
};

std::vector<Flow> load_flows(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error("cannot read " + path);
  std::vector<Flow> flows;
  std::string source, destination;
  unsigned protocol = 0, port = 0;
  while (file >> source >> destination >> protocol >> port) {
    Flow flow{address_of(source), address_of(destination), 6, static_cast<uint8_t>(protocol),
              static_cast<uint16_t>(port)};
    flow.family = flow.source.is_v4() ? 4 : 6;
    flows.push_back(flow);
  }
  if (flows.empty()) throw std::runtime_error("no flows in " + path);
  return flows;
}

// As Forwarder::judge() asks, without its exemptions of the pod itself and of its node.
uint32_t judge(const Image& image, const std::vector<Flow>& flows) {
  uint32_t allowed = 0;
  for (const Flow& flow : flows) {
    const Image::Classification source = image.classify(flow.source, flow.family);
    const Image::Classification destination = image.classify(flow.destination, flow.family);
    bool passes = true;
    if ((source.flags & kAddressLocal) != 0)
      passes =
          image.judge(source.program, Direction::egress, destination.peer_class, flow.protocol, flow.port)
              .allowed;
    if (passes && (destination.flags & kAddressLocal) != 0)
      passes =
          image.judge(destination.program, Direction::ingress, source.peer_class, flow.protocol, flow.port)
              .allowed;
    allowed += passes ? 1 : 0;
  }
  return allowed;
}

int run(int argc, char** argv) {
  std::string image_path, flows_path;
  bool time = false;
  for (int i = 1; i < argc; ++i) {
    const std::string option = argv[i];
    if (option == "--time")
      time = true;
    else if (option == "--image" && i + 1 < argc)
      image_path = argv[++i];
    else if (option == "--flows" && i + 1 < argc)
      flows_path = argv[++i];
    else
      throw std::runtime_error("no such option: " + option);
  }
  const std::shared_ptr<const Image> image = load_image(image_path);
  const std::vector<Flow> flows = load_flows(flows_path);
  uint32_t allowed = judge(*image, flows);
  if (!time) {
    CALLGRIND_TOGGLE_COLLECT;
    const uint32_t again = judge(*image, flows);
    CALLGRIND_TOGGLE_COLLECT;
    if (again != allowed) throw std::runtime_error("two answers to the same question");
    std::printf("%zu %u\n", flows.size(), allowed);
    return 0;
  }
  std::vector<double> samples;
  for (size_t done = 0; done < 1'000'000; done += flows.size()) {
    const auto start = std::chrono::steady_clock::now();
    allowed += judge(*image, flows);
    const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - start;
    samples.push_back(took.count() / static_cast<double>(flows.size()));
  }
  std::sort(samples.begin(), samples.end());
  std::printf("%.1f\n", samples[samples.size() / 2]);
  return allowed == 0 ? 1 : 0;
}

}  // namespace
}  // namespace weft::bench

int main(int argc, char** argv) {
  try {
    return weft::bench::run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "weft-bench-verdict: %s\n", error.what());
    return 1;
  }
}
