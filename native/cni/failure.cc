#include "cni/failure.h"

#include "cni/json.h"

namespace weft::cni {

// By which an installer knows our programs (src/cni/installation.ts). Nothing reads it here.
[[gnu::used, gnu::retain]] extern const char kProgramMark[] = "weft CNI program";

bool is_supported_version(std::string_view version) {
  for (const std::string_view known : kVersions)
    if (known == version) return true;
  return false;
}

std::string failure_json(const Failure& failure, std::string_view version) {
  std::string json = "{\"cniVersion\":";
  append_json_string(json, is_supported_version(version) ? version : kNewestVersion);
  json += ",\"code\":" + std::to_string(failure.code) + ",\"msg\":";
  append_json_string(json, failure.message);
  if (!failure.details.empty()) {
    json += ",\"details\":";
    append_json_string(json, failure.details);
  }
  json += "}\n";
  return json;
}

std::string version_json() {
  std::string json = "{\"cniVersion\":";
  append_json_string(json, kNewestVersion);
  json += ",\"supportedVersions\":[";
  for (const std::string_view version : kVersions) {
    if (version != kVersions[0]) json.push_back(',');
    append_json_string(json, version);
  }
  json += "]}\n";
  return json;
}

}  // namespace weft::cni
