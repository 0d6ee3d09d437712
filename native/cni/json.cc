#include "cni/json.h"

namespace weft::cni {

namespace {

// A network configuration nests a handful of levels.
constexpr int kDeepest = 64;

bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}
bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

int hex_digit(char c) {
  if (is_digit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

void skip_space(std::string_view text, size_t& place) {
  while (place < text.size() && is_space(text[place])) place++;
}

// Each skip_ leaves `place` behind what it found and tells whether that was well-formed.

bool skip_string(std::string_view text, size_t& place) {
  if (place >= text.size() || text[place] != '"') return false;
  for (place++; place < text.size(); place++) {
    const char c = text[place];
    if (c == '"') {
      place++;
      return true;
    }
    if (static_cast<unsigned char>(c) < 0x20) return false;
    if (c == '\\') place++;  // what follows is looked at when the string is read
  }
  return false;
}

bool skip_digits(std::string_view text, size_t& place) {
  const size_t begin = place;
  while (place < text.size() && is_digit(text[place])) place++;
  return place > begin;
}

bool skip_number(std::string_view text, size_t& place) {
  if (place < text.size() && text[place] == '-') place++;
  if (place < text.size() && text[place] == '0')
    place++;
  else if (!skip_digits(text, place))
    return false;
  if (place < text.size() && text[place] == '.') {
    place++;
    if (!skip_digits(text, place)) return false;
  }
  if (place < text.size() && (text[place] == 'e' || text[place] == 'E')) {
    place++;
    if (place < text.size() && (text[place] == '+' || text[place] == '-')) place++;
    if (!skip_digits(text, place)) return false;
  }
  return true;
}

bool skip_word(std::string_view text, size_t& place, std::string_view word) {
  if (text.substr(place, word.size()) != word) return false;
  place += word.size();
  return true;
}

bool skip_value(std::string_view text, size_t& place, int depth);

bool skip_key(std::string_view text, size_t& place) {
  if (!skip_string(text, place)) return false;
  skip_space(text, place);
  if (place >= text.size() || text[place] != ':') return false;
  place++;
  skip_space(text, place);
  return true;
}

// An object or an array, from its opening bracket on.
bool skip_container(std::string_view text, size_t& place, int depth) {
  if (depth >= kDeepest) return false;
  const bool object = text[place] == '{';
  const char close = object ? '}' : ']';
  place++;
  skip_space(text, place);
  if (place < text.size() && text[place] == close) {
    place++;
    return true;
  }
  while (true) {
    if (object && !skip_key(text, place)) return false;
    if (!skip_value(text, place, depth + 1)) return false;
    skip_space(text, place);
    if (place >= text.size()) return false;
    const char c = text[place++];
    if (c == close) return true;
    if (c != ',') return false;
    skip_space(text, place);
  }
}

bool skip_value(std::string_view text, size_t& place, int depth) {
  if (place >= text.size()) return false;
  switch (text[place]) {
    case '{':
    case '[':
      return skip_container(text, place, depth);
    case '"':
      return skip_string(text, place);
    case 't':
      return skip_word(text, place, "true");
    case 'f':
      return skip_word(text, place, "false");
    case 'n':
      return skip_word(text, place, "null");
    default:
      return skip_number(text, place);
  }
}

void append_utf8(std::string& to, uint32_t point) {
  const auto byte = [&](uint32_t value) { to.push_back(static_cast<char>(value)); };
  if (point < 0x80) {
    byte(point);
  } else if (point < 0x800) {
    byte(0xc0 | point >> 6);
    byte(0x80 | (point & 0x3f));
  } else if (point < 0x10000) {
    byte(0xe0 | point >> 12);
    byte(0x80 | (point >> 6 & 0x3f));
    byte(0x80 | (point & 0x3f));
  } else {
    byte(0xf0 | point >> 18);
    byte(0x80 | (point >> 12 & 0x3f));
    byte(0x80 | (point >> 6 & 0x3f));
    byte(0x80 | (point & 0x3f));
  }
}

// The four digits at `place`.
std::optional<uint32_t> hex_unit(std::string_view text, size_t place) {
  if (place + 4 > text.size()) return std::nullopt;
  uint32_t unit = 0;
  for (size_t i = 0; i < 4; i++) {
    const int digit = hex_digit(text[place + i]);
    if (digit < 0) return std::nullopt;
    unit = unit << 4 | static_cast<uint32_t>(digit);
  }
  return unit;
}

// What stands for itself behind a backslash, and what the short escapes mean; 0 for others.
char short_escape(char c) {
  switch (c) {
    case '"':
    case '\\':
    case '/':
      return c;
    case 'b':
      return '\b';
    case 'f':
      return '\f';
    case 'n':
      return '\n';
    case 'r':
      return '\r';
    case 't':
      return '\t';
    default:
      return 0;
  }
}

// The length of the UTF-8 sequence at the beginning of the text; 0 where there is none (RFC 3629: no overlong
// forms, no surrogates, nothing above U+10FFFF).
size_t utf8_length(std::string_view text) {
  const auto at = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const auto continues = [&](size_t i) { return i < text.size() && (at(i) & 0xc0) == 0x80; };
  const unsigned char first = at(0);
  if (first < 0x80) return 1;
  if (first >= 0xc2 && first <= 0xdf) return continues(1) ? 2 : 0;
  if (first >= 0xe0 && first <= 0xef) {
    if (!continues(1) || !continues(2)) return 0;
    if (first == 0xe0 && at(1) < 0xa0) return 0;
    if (first == 0xed && at(1) > 0x9f) return 0;
    return 3;
  }
  if (first >= 0xf0 && first <= 0xf4) {
    if (!continues(1) || !continues(2) || !continues(3)) return 0;
    if (first == 0xf0 && at(1) < 0x90) return 0;
    if (first == 0xf4 && at(1) > 0x8f) return 0;
    return 4;
  }
  return 0;
}

}  // namespace

std::optional<JsonMembers::Member> JsonMembers::fail() {
  broken_ = true;
  at_ = At::end;
  return std::nullopt;
}

std::optional<JsonMembers::Member> JsonMembers::next() {
  if (at_ == At::end) return std::nullopt;
  skip_space(text_, place_);
  if (at_ == At::begin) {
    if (place_ >= text_.size() || text_[place_] != '{') return fail();
    place_++;
    skip_space(text_, place_);
  }
  if (place_ >= text_.size()) return fail();
  const bool first = at_ == At::begin;
  at_ = At::member;
  if (text_[place_] == '}') {
    place_++;
    skip_space(text_, place_);
    if (place_ != text_.size()) return fail();
    at_ = At::end;
    return std::nullopt;
  }
  if (!first) {
    if (text_[place_] != ',') return fail();
    place_++;
    skip_space(text_, place_);
  }
  const size_t key_begin = place_;
  size_t key_end = place_;
  if (!skip_string(text_, key_end)) return fail();
  auto key = json_string(text_.substr(key_begin, key_end - key_begin));
  if (!key || !skip_key(text_, place_)) return fail();
  const size_t value_begin = place_;
  if (!skip_value(text_, place_, 1)) return fail();
  return Member{std::move(*key), text_.substr(value_begin, place_ - value_begin)};
}

std::optional<std::string> json_string(std::string_view value) {
  if (value.size() < 2 || value.front() != '"' || value.back() != '"') return std::nullopt;
  const std::string_view inside = value.substr(1, value.size() - 2);
  std::string text;
  text.reserve(inside.size());
  for (size_t i = 0; i < inside.size(); i++) {
    if (inside[i] == '"') return std::nullopt;
    if (inside[i] != '\\') {
      text.push_back(inside[i]);
      continue;
    }
    if (++i >= inside.size()) return std::nullopt;
    if (inside[i] != 'u') {
      const char meant = short_escape(inside[i]);
      if (meant == 0) return std::nullopt;
      text.push_back(meant);
      continue;
    }
    const auto unit = hex_unit(inside, i + 1);
    if (!unit) return std::nullopt;
    i += 4;
    if (*unit < 0xd800 || *unit > 0xdfff) {
      append_utf8(text, *unit);
      continue;
    }
    // A pair of surrogates (RFC 8259, 7).
    if (*unit > 0xdbff || inside.substr(i + 1, 2) != "\\u") return std::nullopt;
    const auto low = hex_unit(inside, i + 3);
    if (!low || *low < 0xdc00 || *low > 0xdfff) return std::nullopt;
    append_utf8(text, 0x10000 + ((*unit - 0xd800) << 10) + (*low - 0xdc00));
    i += 6;
  }
  return text;
}

std::optional<uint64_t> json_number(std::string_view value) {
  if (value.empty() || value.size() > 16) return std::nullopt;
  uint64_t number = 0;
  for (const char c : value) {
    if (!is_digit(c)) return std::nullopt;
    number = number * 10 + static_cast<uint64_t>(c - '0');
  }
  if (number > uint64_t{1} << 53) return std::nullopt;
  return number;
}

void append_json_string(std::string& to, std::string_view text) {
  static constexpr char kHex[] = "0123456789abcdef";
  to.push_back('"');
  while (!text.empty()) {
    const char c = text.front();
    size_t length = 1;
    if (c == '"' || c == '\\') {
      to.push_back('\\');
      to.push_back(c);
    } else if (static_cast<unsigned char>(c) < 0x20) {
      to.append("\\u00");
      to.push_back(kHex[static_cast<unsigned char>(c) >> 4]);
      to.push_back(kHex[c & 15]);
    } else {
      length = utf8_length(text);
      if (length == 0) {
        to.append("\xef\xbf\xbd");
        length = 1;
      } else {
        to.append(text.substr(0, length));
      }
    }
    text.remove_prefix(length);
  }
  to.push_back('"');
}

}  // namespace weft::cni
