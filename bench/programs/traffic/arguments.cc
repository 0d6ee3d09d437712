#include "traffic/arguments.h"

#include <charconv>
#include <cmath>

#include "traffic/failure.h"

namespace weft::traffic {

Arguments Arguments::from_command_line(const std::vector<std::string_view>& words, std::string& error) {
  Arguments arguments;
  for (size_t index = 0; index < words.size(); index += 2) {
    const std::string_view word = words[index];
    if (word.size() < 3 || word.substr(0, 2) != "--") {
      error = "'" + std::string(word) + "' is not an option (--NAME VALUE)";
      return arguments;
    }
    if (index + 1 == words.size()) {
      error = std::string(word) + " needs a value";
      return arguments;
    }
    const auto [at, added] = arguments.values_.emplace(word.substr(2), Value{std::string(words[index + 1])});
    if (!added) {
      error = std::string(word) + " is there twice";
      return arguments;
    }
  }
  return arguments;
}

Arguments Arguments::from_line(std::string_view line, std::string& error) {
  Arguments arguments;
  while (!line.empty()) {
    const std::string_view word = line.substr(0, line.find(' '));
    line.remove_prefix(word.size() < line.size() ? word.size() + 1 : word.size());
    const size_t equals = word.find('=');
    if (equals == std::string_view::npos || equals == 0) {
      error = "'" + std::string(word) + "' is not NAME=VALUE";
      return arguments;
    }
    if (!arguments.values_.emplace(word.substr(0, equals), Value{std::string(word.substr(equals + 1))})
             .second) {
      error = "'" + std::string(word.substr(0, equals)) + "' is there twice";
      return arguments;
    }
  }
  return arguments;
}

const std::string* Arguments::find(const std::string& name) const {
  const auto at = values_.find(name);
  if (at == values_.end()) return nullptr;
  at->second.read = true;
  return &at->second.text;
}

int64_t Arguments::number(const std::string& name, int64_t otherwise, int64_t least, int64_t most) const {
  const std::string* text = find(name);
  if (text == nullptr) return otherwise;
  int64_t value = 0;
  const auto [end, code] = std::from_chars(text->data(), text->data() + text->size(), value);
  if (code != std::errc{} || end != text->data() + text->size())
    fail_usage("%s is '%s', which is no whole number", name.c_str(), text->c_str());
  if (value < least || value > most)
    fail_usage("%s is %lld; it has to be within %lld and %lld", name.c_str(), static_cast<long long>(value),
               static_cast<long long>(least), static_cast<long long>(most));
  return value;
}

double Arguments::seconds(const std::string& name, double otherwise, double most) const {
  const std::string* text = find(name);
  if (text == nullptr) return otherwise;
  double value = 0;
  const auto [end, code] = std::from_chars(text->data(), text->data() + text->size(), value);
  if (code != std::errc{} || end != text->data() + text->size() || !std::isfinite(value))
    fail_usage("%s is '%s', which is no number of seconds", name.c_str(), text->c_str());
  if (value < 0 || value > most)
    fail_usage("%s is %g; it has to be within 0 and %g seconds", name.c_str(), value, most);
  return value;
}

std::string Arguments::text(const std::string& name, const std::string& otherwise) const {
  const std::string* text = find(name);
  return text == nullptr ? otherwise : *text;
}

std::vector<std::string> Arguments::unread() const {
  std::vector<std::string> names;
  for (const auto& [name, value] : values_)
    if (!value.read) names.push_back(name);
  return names;
}

}  // namespace weft::traffic
