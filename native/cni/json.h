// As much JSON (RFC 8259) as a CNI plugin needs that hands its configuration on and does not interpret it:
// the members of one object, a string's text, and a string written.
//
// What is read comes from a file that somebody edits, or from another program's answer: it is never trusted.
// Depth is bounded, a scan is linear and allocates nothing but what is asked for. A document that turns out
// to be wrong has given its members up to there, so that an error can still be told in the version that it
// names.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace weft::cni {

// Walks the members of the object that is the whole of a text.
class JsonMembers {
 public:
  explicit JsonMembers(std::string_view text) : text_(text) {}

  struct Member {
    std::string key;         // without escapes
    std::string_view value;  // as it stands in the text
  };
  // The next member; nothing at the end of the object, and where the text is no JSON object (see `broken`).
  std::optional<Member> next();
  // After the last member: whether the text was anything else than one object with white space around it.
  [[nodiscard]] bool broken() const { return broken_; }

 private:
  enum class At : uint8_t { begin, member, end };
  std::optional<Member> fail();

  std::string_view text_;
  size_t place_ = 0;
  At at_ = At::begin;
  bool broken_ = false;
};

// The text of a value that is a string; nothing for other values, lone surrogates and bad escapes.
std::optional<std::string> json_string(std::string_view value);
// A value that is a whole number from 0 to 2^53.
std::optional<uint64_t> json_number(std::string_view value);

// Appends the text as a JSON string with its quotes. Bytes that are no UTF-8 become U+FFFD each.
void append_json_string(std::string& to, std::string_view text);

}  // namespace weft::cni
