// What the load generator is told: on the command line and by its client.
#include "traffic/arguments.h"

#include <doctest/doctest.h>

using weft::traffic::Arguments;

TEST_CASE("names with values are read from the command line and from a line alike") {
  std::string error;
  const Arguments words =
      Arguments::from_command_line({"--port", "5000", "--seconds", "0.5", "--to", "10.0.0.2"}, error);
  CHECK(error.empty());
  const Arguments line = Arguments::from_line("port=5000 seconds=0.5 to=10.0.0.2", error);
  CHECK(error.empty());
  for (const Arguments* arguments : {&words, &line}) {
    CHECK(arguments->number("port", 1, 1, 65'535) == 5000);
    CHECK(arguments->unread() == std::vector<std::string>{"seconds", "to"});
    CHECK(arguments->seconds("seconds", 1, 10) == 0.5);
    CHECK(arguments->text("to", "") == "10.0.0.2");
    CHECK(arguments->number("absent", 7, 0, 10) == 7);
    CHECK(arguments->unread().empty());
  }
}

TEST_CASE("what is no name with a value is an error that shows it") {
  struct Case {
    std::vector<std::string_view> words;
    const char* said;
  };
  for (const Case& wrong :
       {Case{{"port", "1"}, "'port' is not an option (--NAME VALUE)"},
        Case{{"--"}, "'--' is not an option (--NAME VALUE)"}, Case{{"--port"}, "--port needs a value"},
        Case{{"--a", "1", "--a", "2"}, "--a is there twice"}}) {
    std::string error;
    (void)Arguments::from_command_line(wrong.words, error);
    CHECK(error == wrong.said);
  }
  for (const auto& [line, said] :
       {std::pair{"port", "'port' is not NAME=VALUE"}, std::pair{"=1", "'=1' is not NAME=VALUE"},
        std::pair{"a=1 a=2", "'a' is there twice"}}) {
    std::string error;
    (void)Arguments::from_line(line, error);
    CHECK(error == said);
  }
}
