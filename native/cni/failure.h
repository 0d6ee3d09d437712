// A CNI error (specification 1.1.0, section 5): JSON on standard output, with an exit status that is not
// zero.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace weft::cni {

// The codes that a plugin gives by itself. The agent has more (src/cni/failure.ts).
inline constexpr int kIncompatibleVersion = 1;
inline constexpr int kInvalidEnvironment = 4;
inline constexpr int kInputFailure = 5;
inline constexpr int kDecodingFailure = 6;
inline constexpr int kTryAgainLater = 11;
inline constexpr int kNotAvailable = 50;
inline constexpr int kInternal = 100;

// Every version that weft speaks, oldest first.
inline constexpr std::string_view kVersions[] = {"0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"};
inline constexpr std::string_view kNewestVersion = "1.1.0";

bool is_supported_version(std::string_view version);

struct Failure {
  int code = 0;
  std::string message;  // short: what went wrong
  std::string details;  // what was found and what to do
};

// `version` is the configuration's; where that is none of ours the newest.
std::string failure_json(const Failure& failure, std::string_view version);

// The answer to VERSION.
std::string version_json();

}  // namespace weft::cni
