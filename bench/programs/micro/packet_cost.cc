// What one packet costs between receive() and send().
//
//   weft-bench-packet --image FILE --case CASE [--packets N] [--time]
//
// Without --time the packets of the case, N of each direction that it has, are forwarded once, and only that
// is collected where the program runs under `valgrind --tool=callgrind --collect-atstart=no`. It prints how
// many they were. With --time it forwards them again and again for half a second and prints the median of
// nanoseconds for a packet. It ends with 1 where a packet did not meet what the case is about.
//
// CASE: PROTOCOL SIZE [-service], e.g. tcp4-large, udp6-small-service: packets of one established flow, data
// one way and acknowledgements or answers the other. Or connect4, connect6, connect4-service: a SYN of a new
// connection each. Or denied4: a SYN each that policy does not allow.
#include <algorithm>
#include <chrono>
#include <cstdio>
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

constexpr uint16_t kAllowedPort = 5000;
constexpr uint16_t kDeniedPort = 6666;
constexpr uint32_t kLargePayload = 62'000;
constexpr uint8_t kSyn = 2, kPush = 8, kAck = 16;

struct Case {
  std::string name;
  bool connects = false;  // every packet is of a new connection
  bool denied = false;
  bool tcp = true;
  bool large = false;
  bool service = false;
  uint8_t family = 4;
};

bool take(std::string& text, const std::string& word) {
  if (!text.starts_with(word)) return false;
  text.erase(0, word.size());
  return true;
}

Case case_of(const std::string& name) {
  Case one{.name = name};
  std::string rest = name;
  if (take(rest, "connect")) {
    one.connects = true;
  } else if (take(rest, "denied")) {
    one.connects = one.denied = true;
  } else if (take(rest, "udp")) {
    one.tcp = false;
  } else if (!take(rest, "tcp")) {
    throw std::runtime_error("no such case: " + name);
  }
  if (take(rest, "6"))
    one.family = 6;
  else if (!take(rest, "4"))
    throw std::runtime_error("no such case: " + name);
  if (!one.connects) {
    one.large = take(rest, "-large");
    if (!one.large && !take(rest, "-small")) throw std::runtime_error("no such case: " + name);
  }
  one.service = take(rest, "-service");
  if (!rest.empty()) throw std::runtime_error("no such case: " + name);
  return one;
}

struct Play {
  std::vector<Frame> client, server;
};

class Bench {
 public:
  Bench(const std::string& image, const Case& one, uint32_t packets)
      : case_(one), packets_(packets), scene_(image, 1u << 17) {
    scene_.add(client_, "client", "10.42.0.2", "fd42::2");
    scene_.add(server_, "server", "10.42.0.3", "fd42::3");
    const bool v4 = one.family == 4;
    forth_.source_mac = client_.mac;
    back_.source_mac = server_.mac;
    forth_.destination_mac = back_.destination_mac = scene_.gateway_mac();
    forth_.family = back_.family = one.family;
    forth_.tcp = back_.tcp = one.tcp;
    forth_.source = back_.destination = v4 ? client_.v4 : client_.v6;
    back_.source = v4 ? server_.v4 : server_.v6;
    forth_.destination = one.service ? address_of(v4 ? "10.43.0.100" : "fd43::100") : back_.source;
    forth_.source_port = back_.destination_port = 40'000;
    forth_.destination_port = back_.source_port = one.denied ? kDeniedPort : kAllowedPort;
    if (!one.connects) establish();
  }

  // The frames of the case; each call goes on where the last one ended.
  Play next() {
    Play play;
    for (uint32_t i = 0; i < packets_; ++i) {
      if (case_.connects) {
        Wish syn = forth_;
        syn.source_port = next_port_;
        if (++next_port_ == 0) next_port_ = 1;
        syn.flags = kSyn;
        syn.window_scale = true;
        play.client.push_back(make_frame(syn));
        continue;
      }
      forth_.payload = case_.large ? kLargePayload : 64;
      forth_.segment = case_.tcp ? 1420 : 1400;
      forth_.flags = kPush | kAck;
      back_.payload = case_.tcp ? 0 : 64;
      play.client.push_back(make_frame(forth_));
      forth_.sequence += case_.tcp ? forth_.payload : 0;
      back_.acknowledged = forth_.sequence;
      back_.flags = kAck;
      play.server.push_back(make_frame(back_));
    }
    return play;
  }

  // Forwards them; returns how many.
  size_t forward(const Play& play, bool collect) {
    client_.device->play(play.client);
    server_.device->play(play.server);
    const size_t frames = play.client.size() + play.server.size();
    if (collect) CALLGRIND_TOGGLE_COLLECT;
    scene_.run(frames);
    if (collect) CALLGRIND_TOGGLE_COLLECT;
    return frames;
  }

  // Throws where what was forwarded since the start is not what the case is about.
  void check(size_t frames) const {
    const TableCounts counts = scene_.connections();
    const std::string drops = scene_.drops();
    if (case_.denied) {
      if (drops != "policy-egress " + std::to_string(frames) + " " &&
          drops != "policy-ingress " + std::to_string(frames) + " ")
        throw std::runtime_error("not denied: " + drops);
      return;
    }
    if (!drops.empty()) throw std::runtime_error("dropped: " + drops);
    const uint64_t wanted = case_.connects ? frames : 1;
    if (counts.inserted != wanted)
      throw std::runtime_error(std::to_string(counts.inserted) + " connections instead of " +
                               std::to_string(wanted));
    if (client_.device->sent + server_.device->sent == 0) throw std::runtime_error("nothing was sent");
  }

 private:
  void establish() {
    Play play;
    if (case_.tcp) {
      forth_.flags = kSyn;
      forth_.sequence = 1000;
      forth_.window_scale = true;
      play.client.push_back(make_frame(forth_));
      forward(play, false);
      forth_.window_scale = false;
      forth_.sequence = back_.acknowledged = 1001;
      back_.flags = kSyn | kAck;
      back_.sequence = 7000;
      back_.window_scale = true;
      play = {};
      play.server.push_back(make_frame(back_));
      forward(play, false);
      back_.window_scale = false;
      back_.sequence = forth_.acknowledged = 7001;
    }
    // What a first packet costs and an established flow does not pay again.
    packets_ = std::exchange(wanted_, packets_);
    forward(next(), false);
    packets_ = std::exchange(wanted_, packets_);
  }

  const Case case_;
  uint32_t packets_;
  uint32_t wanted_ = 8;
  Scene scene_;
  Pod client_, server_;
  Wish forth_, back_;
  uint16_t next_port_ = 1;
};

double nanoseconds(const std::string& image, const Case& one, uint32_t packets) {
  std::vector<double> samples;
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(500);
  // The table is filled once by new connections, not again and again: what is measured is the first insert.
  const size_t rounds = one.connects && !one.denied ? 65'000 / packets : ~size_t{0};
  Bench bench(image, one, packets);
  size_t frames = 0;
  for (size_t round = 0; round < rounds && std::chrono::steady_clock::now() < end; ++round) {
    const Play play = bench.next();
    const auto start = std::chrono::steady_clock::now();
    const size_t count = bench.forward(play, false);
    const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - start;
    samples.push_back(took.count() / static_cast<double>(count));
    frames += count;
  }
  bench.check(frames);
  std::sort(samples.begin(), samples.end());
  return samples[samples.size() / 2];
}

int run(int argc, char** argv) {
  std::string image, name;
  uint32_t packets = 1024;
  bool time = false;
  for (int i = 1; i < argc; ++i) {
    const std::string option = argv[i];
    if (option == "--time")
      time = true;
    else if (i + 1 >= argc)
      throw std::runtime_error("a value is missing behind " + option);
    else if (option == "--image")
      image = argv[++i];
    else if (option == "--case")
      name = argv[++i];
    else if (option == "--packets")
      packets = static_cast<uint32_t>(std::stoul(argv[++i]));
    else
      throw std::runtime_error("no such option: " + option);
  }
  if (packets == 0 || packets > 16'384) throw std::runtime_error("--packets is from 1 to 16384");
  const Case one = case_of(name);
  if (time) {
    std::printf("%.1f\n", nanoseconds(image, one, packets));
    return 0;
  }
  Bench bench(image, one, packets);
  const size_t frames = bench.forward(bench.next(), true);
  bench.check(frames);
  std::printf("%zu\n", frames);
  return 0;
}

}  // namespace
}  // namespace weft::bench

int main(int argc, char** argv) {
  try {
    return weft::bench::run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "weft-bench-packet: %s\n", error.what());
    return 1;
  }
}
