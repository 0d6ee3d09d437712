// The machine's processor time, from texts as kernels print them.
#include "traffic/processor.h"

#include <doctest/doctest.h>

using weft::traffic::parse_processor_time;
using weft::traffic::processors_used;
using weft::traffic::ProcessorTime;

TEST_CASE("unused time is idle, waiting and stolen; processors are counted") {
  const auto time = parse_processor_time(
      "cpu  100 20 300 4000 50 6 7 80 0 0\ncpu0 50 10 150 2000 25 3 3 40 0 0\ncpu1 50 10 150 2000 25 3 4 40 "
      "0 0\n"
      "intr 12345\nctxt 99\n",
      100);
  REQUIRE(time.has_value());
  CHECK(time->unused == doctest::Approx(41.3));
  CHECK(time->processors == 2);
}

TEST_CASE("what is not /proc/stat is not believed") {
  for (const char* text : {"", "cpu", "cpu  1 2 3\ncpu0 1 2 3\n", "cpu  1 2 3 4 5 6 7 8\nintr 1\n",
                           "cpu0 1 2 3 4 5 6 7 8\n", "cpu  1 2 x 4 5 6 7 8\ncpu0 1\n"})
    CHECK_FALSE(parse_processor_time(text, 100).has_value());
}

TEST_CASE("what was used is what passed less what was not") {
  const ProcessorTime from{1'000'000'000, 10, 2};
  CHECK(processors_used(from, {3'000'000'000, 13, 2}) == doctest::Approx(0.5));
  CHECK(processors_used(from, {3'000'000'000, 14.2, 2}) == 0);
  CHECK(processors_used(from, from) == 0);
}
