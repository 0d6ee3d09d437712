// Fuzz target: hostile bytes as a network configuration and as an agent's answer.
//
// Invariants: nothing is read out of bounds; what is written as JSON is one line that reads back to the same
// text (with what is no UTF-8 replaced); an object that is not broken has values that stand inside the text.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "cni/call.h"
#include "cni/json.h"

namespace {

using namespace weft::cni;

void require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "violated: %s\n", what);
  std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // A copy of exactly this size, so that a read beyond it is seen.
  const std::string text(reinterpret_cast<const char*>(data), size);
  JsonMembers members(text);
  while (auto member = members.next()) {
    require(!member->value.empty(), "a member has a value");
    if (const auto string = json_string(member->value)) {
      std::string written;
      append_json_string(written, *string);
      const auto again = json_string(written);
      require(again.has_value(), "what was written is a string");
      std::string twice;
      append_json_string(twice, *again);
      require(twice == written, "writing is idempotent");
    }
    json_number(member->value);
  }
  (void)read_configuration(text);
  const Answered answered = read_answer(text);
  require(answered.answer.has_value() != !answered.refusal.empty(), "an answer or a refusal");
  const std::string line = request_line({{"CNI_COMMAND", "ADD"}, {"CNI_ARGS", text}}, text, {});
  require(line.find('\n') == line.size() - 1, "a request is one line");
  JsonMembers request(std::string_view(line).substr(0, line.size() - 1));
  int count = 0;
  while (request.next()) count++;
  require(!request.broken() && count == 4, "a request is an object of four members");
  return 0;
}
