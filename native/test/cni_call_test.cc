// The CNI plugin's call: environment, its own part of the configuration, the line to the agent and its
// answer.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "cni/call.h"

using namespace weft::cni;

namespace {

Environment environment(std::vector<std::pair<std::string, std::string>> changes) {
  Environment all{{"CNI_COMMAND", "ADD"},
                  {"CNI_CONTAINERID", "c0ffee"},
                  {"CNI_NETNS", "/run/netns/a"},
                  {"CNI_IFNAME", "eth0"}};
  for (const auto& [name, value] : changes)
    for (auto& [key, held] : all)
      if (key == name) held = value;
  return all;
}

// Code and message; "" where nothing is wrong.
std::string wrong(std::vector<std::pair<std::string, std::string>> changes) {
  const auto failure = check_environment(environment(std::move(changes)));
  return failure ? std::to_string(failure->code) + " " + failure->message : "";
}

}  // namespace

TEST_CASE("only variables of CNI count, and those that are not set are empty") {
  const char* const variables[] = {"PATH=/bin", "CNI_COMMAND=ADD", "CNI_ARGS=A=1;B=2", "CNI_IFNAME", nullptr};
  const Environment found = cni_environment(variables);
  CHECK(found.size() == 2);
  CHECK(variable(found, "CNI_ARGS") == "A=1;B=2");
  CHECK(variable(found, "CNI_NETNS").empty());
  CHECK(cni_environment(nullptr).empty());
}

TEST_CASE("each command needs its variables, and what is missing is named at once") {
  CHECK(wrong({}).empty());
  CHECK(wrong({{"CNI_COMMAND", ""}}) == "4 required environment variables are missing: CNI_COMMAND");
  CHECK(wrong({{"CNI_CONTAINERID", ""}, {"CNI_NETNS", ""}, {"CNI_IFNAME", ""}}) ==
        "4 required environment variables are missing: CNI_CONTAINERID, CNI_NETNS, CNI_IFNAME");
  CHECK(wrong({{"CNI_COMMAND", "CHECK"}, {"CNI_NETNS", ""}}) ==
        "4 required environment variables are missing: CNI_NETNS");
  CHECK(wrong({{"CNI_COMMAND", "DEL"}, {"CNI_NETNS", ""}}).empty());
  CHECK(wrong({{"CNI_COMMAND", "DEL"}, {"CNI_IFNAME", ""}}) ==
        "4 required environment variables are missing: CNI_IFNAME");
  for (const char* command : {"GC", "STATUS", "VERSION"})
    CHECK(wrong({{"CNI_COMMAND", command}, {"CNI_CONTAINERID", ""}, {"CNI_NETNS", ""}, {"CNI_IFNAME", ""}})
              .empty());
  CHECK(wrong({{"CNI_COMMAND", "add"}}) == "4 invalid environment variable CNI_COMMAND");
}

TEST_CASE("the runtime's own namespace is allowed by one variable, in any case") {
  for (const char* yes : {"1", "true", "TRUE", "True"})
    CHECK(allows_own_namespace({{"CNI_NETNS_OVERRIDE", yes}}));
  for (const char* no : {"", "0", "yes", "false", "TRUEX"})
    CHECK_FALSE(allows_own_namespace({{"CNI_NETNS_OVERRIDE", no}}));
}

TEST_CASE("container ids and interface names have their forms") {
  for (const char* good : {"a", "0_a.b-c"}) CHECK(wrong({{"CNI_CONTAINERID", good}}).empty());
  for (const char* bad : {"-a", ".a", "a/b", "a b", "\xc3\xa9"})
    CHECK(wrong({{"CNI_CONTAINERID", bad}}) == "4 invalid environment variable CNI_CONTAINERID");
  for (const char* good : {"eth0", "a-name-15-bytes", "net1.5"}) CHECK(wrong({{"CNI_IFNAME", good}}).empty());
  for (const char* bad : {".", "..", "a/b", "eth0:1", "a b", "a\tb", "a-name-16-bytes!"})
    CHECK(wrong({{"CNI_IFNAME", bad}}) == "4 invalid environment variable CNI_IFNAME");
}

TEST_CASE("the plugin takes four fields of the configuration and keeps its defaults for the rest") {
  const Configuration all = read_configuration(
      R"({"name":"n","runDir":"/x","cniVersion":"0.4.0","connectTimeout":5,"answerTimeout":99999999999,"x":{"cniVersion":"9"}})");
  CHECK(all.version == "0.4.0");
  CHECK(all.socket == "/x/agent.sock");
  CHECK(all.connect_milliseconds == 5);
  CHECK(all.answer_milliseconds == 3'600'000);
  const Configuration none = read_configuration("{\"connectTimeout\":-1,\"runDir\":null}");
  CHECK(none.version.empty());
  CHECK(none.socket == "/run/weft/agent.sock");
  CHECK(none.connect_milliseconds == 2000);
  CHECK(read_configuration("{\"cniVersion\":\"1.0.0\",\"name\":}").version == "1.0.0");
  CHECK(read_configuration("\xff\xfe").version.empty());
}

TEST_CASE("the request is one line of JSON whatever the runtime gave") {
  CHECK(request_line({{"CNI_COMMAND", "ADD"}, {"CNI_ARGS", "A=\"\n"}}, "{\n \"a\": \"\xff\" }",
                     "{\"state\":\"ok\"}") ==
        "{\"type\":\"cni\",\"id\":1,\"environment\":{\"CNI_COMMAND\":\"ADD\",\"CNI_ARGS\":\"A=\\\"\\u000a\"},"
        "\"stdin\":\"{\\u000a \\\"a\\\": \\\"\xef\xbf\xbd\\\" }\",\"namespace\":{\"state\":\"ok\"}}\n");
  CHECK(request_line({}, "", "") == "{\"type\":\"cni\",\"id\":1,\"environment\":{},\"stdin\":\"\"}\n");
}

TEST_CASE("an answer is taken whole, a refusal is told, anything else is neither") {
  const Answered good = read_answer(R"({"type":"cni","id":1,"exitStatus":3,"stdout":"{\"a\":1}\n"})");
  REQUIRE(good.answer);
  CHECK(good.answer->exit_status == 3);
  CHECK(good.answer->output == "{\"a\":1}\n");
  CHECK(read_answer(R"({"type":"error","id":0,"code":"peer-refused","message":"Only root."})").refusal ==
        "Only root.");
  for (const char* bad : {"", "{}", "garbage", R"({"type":"cni","exitStatus":0})",
                          R"({"type":"cni","exitStatus":256,"stdout":""})",
                          R"({"type":"cni","exitStatus":0,"stdout":""}x)", R"({"type":"error"})"}) {
    CAPTURE(bad);
    CHECK_FALSE(read_answer(bad).answer);
    CHECK_FALSE(read_answer(bad).refusal.empty());
  }
}

TEST_CASE("errors are told in the configuration's version, or the newest") {
  CHECK(failure_json({11, "a", "b"}, "0.3.1") ==
        "{\"cniVersion\":\"0.3.1\",\"code\":11,\"msg\":\"a\",\"details\":\"b\"}\n");
  CHECK(failure_json({4, "a", ""}, "9.9.9") == "{\"cniVersion\":\"1.1.0\",\"code\":4,\"msg\":\"a\"}\n");
  CHECK(version_json() ==
        "{\"cniVersion\":\"1.1.0\",\"supportedVersions\":[\"0.3.0\",\"0.3.1\",\"0.4.0\",\"1.0.0\",\"1.1.0\"]}"
        "\n");
}
