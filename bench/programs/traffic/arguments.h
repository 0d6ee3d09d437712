// Names with values: `--port 5000` on the command line, `port=5000` in a request between client and server.
// Both are read by one parser, so that what a client was told and what it tells its server are spelled alike.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace weft::traffic {

class Arguments {
 public:
  // `--name value` pairs; an error is a sentence in `error`, which is empty where all went well.
  static Arguments from_command_line(const std::vector<std::string_view>& words, std::string& error);
  // `name=value` words, separated by one space.
  static Arguments from_line(std::string_view line, std::string& error);

  // The value of `name`, or `otherwise` where it is absent. What is no number, or outside of least…most, ends
  // the program with a sentence that names it (fail_usage).
  [[nodiscard]] int64_t number(const std::string& name, int64_t otherwise, int64_t least, int64_t most) const;
  [[nodiscard]] double seconds(const std::string& name, double otherwise, double most) const;
  [[nodiscard]] std::string text(const std::string& name, const std::string& otherwise) const;
  // Names that nothing has asked for: a misspelt option must not measure something else.
  [[nodiscard]] std::vector<std::string> unread() const;

 private:
  struct Value {
    std::string text;
    mutable bool read = false;
  };
  [[nodiscard]] const std::string* find(const std::string& name) const;
  std::map<std::string, Value> values_;
};

}  // namespace weft::traffic
