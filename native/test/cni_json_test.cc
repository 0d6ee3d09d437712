// The CNI plugin's JSON: what is read out of an object, what is refused, and what is written.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "cni/json.h"

using namespace weft::cni;

namespace {

struct Walk {
  std::vector<std::string> members;  // key=value
  bool broken = false;
};

Walk walk(std::string_view text) {
  Walk found;
  JsonMembers members(text);
  while (auto member = members.next())
    found.members.push_back(member->key + "=" + std::string(member->value));
  found.broken = members.broken();
  return found;
}

std::string written(std::string_view text) {
  std::string json;
  append_json_string(json, text);
  return json;
}

}  // namespace

TEST_CASE("the members of an object are given as they stand") {
  const Walk found =
      walk(" {\"a\": 1, \"b\\u0062\":[{\"x\":\"}\"},2] ,\n\"c\":{\"d\":null},\"e\":\"\\\"\"} \n");
  CHECK_FALSE(found.broken);
  CHECK(found.members ==
        std::vector<std::string>{"a=1", "bb=[{\"x\":\"}\"},2]", "c={\"d\":null}", "e=\"\\\"\""});
  CHECK(walk("{}").members.empty());
  CHECK_FALSE(walk(" { } ").broken);
}

TEST_CASE("an object that is damaged has given its members up to the damage") {
  struct Row {
    const char* text;
    size_t members;
  };
  for (const Row& row : std::vector<Row>{{"", 0},
                                         {"[]", 0},
                                         {"7", 0},
                                         {"{", 0},
                                         {"{\"a\"", 0},
                                         {"{\"a\":", 0},
                                         {"{\"a\":1", 1},
                                         {"{\"a\":1,", 1},
                                         {"{\"a\":1,}", 1},
                                         {"{\"a\":1 \"b\":2}", 1},
                                         {"{\"a\":1}x", 1},
                                         {"{,\"a\":1}", 0},
                                         {"{\"a\":01}", 0 + 1},
                                         {"{\"a\":-}", 0},
                                         {"{\"a\":1.}", 0},
                                         {"{\"a\":1e}", 0},
                                         {"{\"a\":tru}", 0},
                                         {"{\"a\":[1,]}", 0},
                                         {"{\"a\":[1 2]}", 0},
                                         {"{\"a\":{\"b\"}}", 0},
                                         {"{\"a\":\"b\n\"}", 0},
                                         {"{\"a\":\"b}", 0},
                                         {"{\"\\x\":1}", 0}}) {
    CAPTURE(row.text);
    const Walk found = walk(row.text);
    CHECK(found.broken);
    CHECK(found.members.size() == row.members);
  }
}

TEST_CASE("nesting is bounded") {
  const auto nested = [](size_t depth) {
    return "{\"a\":" + std::string(depth, '[') + std::string(depth, ']') + "}";
  };
  CHECK_FALSE(walk(nested(40)).broken);
  CHECK(walk(nested(100'000)).broken);
}

TEST_CASE("a string's text is without its escapes") {
  CHECK(json_string("\"a\\n\\/\\\\\\u00e9\\ud83d\\ude00\"") == "a\n/\\\xc3\xa9\xf0\x9f\x98\x80");
  CHECK(json_string("\"\"") == "");
  for (const char* wrong : {"", "\"", "a", "\"\\\"", "\"\\x\"", "\"\\u12\"", "\"\\u12g4\"", "\"\\ud83d\"",
                            "\"\\ud83d\\u0041\"", "\"\\ude00\"", "\"a\"b\"", "5", "null"}) {
    CAPTURE(wrong);
    CHECK_FALSE(json_string(wrong));
  }
}

TEST_CASE("a number is whole and in bounds") {
  CHECK(json_number("0") == 0);
  CHECK(json_number("9007199254740992") == uint64_t{1} << 53);
  for (const char* wrong :
       {"", "-1", "1.0", "1e3", "9007199254740993", "99999999999999999999", "\"1\"", "true"}) {
    CAPTURE(wrong);
    CHECK_FALSE(json_number(wrong));
  }
}

TEST_CASE("what is written can be read again, and is UTF-8 whatever it was") {
  CHECK(written("a\"b\\c\x01\n") == "\"a\\\"b\\\\c\\u0001\\u000a\"");
  for (const std::string& text :
       {std::string("plain"), std::string("\xc3\xa9 \xf0\x9f\x98\x80 \x7f"), std::string("\0\t", 2)})
    CHECK(json_string(written(text)) == text);
  // Overlong, a surrogate, above U+10FFFF, cut, a lone continuation.
  CHECK(written("\xc0\xaf") == "\"\xef\xbf\xbd\xef\xbf\xbd\"");
  CHECK(written("\xed\xa0\x80") == "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
  CHECK(written("\xf4\x90\x80\x80") == "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
  CHECK(written("\xe2\x82") == "\"\xef\xbf\xbd\xef\xbf\xbd\"");
  CHECK(written("a\x80z") == "\"a\xef\xbf\xbdz\"");
}
