// The percentiles of the load generator against the sorted durations themselves.
#include "traffic/histogram.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

using weft::traffic::Histogram;

namespace {

// Nearest rank, from its definition.
double exact(std::vector<int64_t> durations, double share) {
  std::sort(durations.begin(), durations.end());
  const auto rank = static_cast<size_t>(std::ceil(share * static_cast<double>(durations.size())));
  return static_cast<double>(durations[std::max<size_t>(rank, 1) - 1]);
}

}  // namespace

TEST_CASE("percentiles are those of the sorted durations to one part in 128") {
  std::mt19937_64 random(20);
  // Powers of two and their neighbours are where slots begin; the others are what latencies look like.
  std::vector<std::vector<int64_t>> cases;
  std::vector<int64_t> edges;
  for (int bit = 0; bit < 40; ++bit)
    for (int64_t near = -1; near <= 1; ++near)
      edges.push_back(std::max<int64_t>(0, (int64_t{1} << bit) + near));
  cases.push_back(edges);
  std::lognormal_distribution<double> latency(std::log(20'000), 1.5);
  for (const size_t count : {size_t{1}, size_t{2}, size_t{999}, size_t{100'000}}) {
    std::vector<int64_t> durations(count);
    for (int64_t& duration : durations) duration = static_cast<int64_t>(latency(random));
    cases.push_back(durations);
  }
  for (const std::vector<int64_t>& durations : cases) {
    Histogram histogram;
    for (const int64_t duration : durations) histogram.add(duration);
    CHECK(histogram.total() == durations.size());
    for (const double share : {0.0, 0.001, 0.25, 0.5, 0.9, 0.99, 0.999, 1.0}) {
      const double expected = exact(durations, share);
      CAPTURE(durations.size());
      CAPTURE(share);
      CHECK(std::abs(histogram.percentile(share) - expected) <= expected / 128);
    }
  }
}

TEST_CASE("durations below 128 ns have a slot each, and what is out of range counts as its edge") {
  for (int64_t ns = 0; ns < 128; ++ns) {
    Histogram histogram;
    histogram.add(ns);
    CHECK(histogram.percentile(0.5) == static_cast<double>(ns));
  }
  Histogram edges;
  edges.add(-5);
  CHECK(edges.percentile(1) == 0);
  edges.add(INT64_MAX);
  CHECK(edges.percentile(1) == doctest::Approx(std::ldexp(1.0, 40)).epsilon(0.01));
  CHECK(Histogram().percentile(0.5) == 0);
}
