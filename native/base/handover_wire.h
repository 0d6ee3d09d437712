// How switch and supervisor talk. A socketpair of SOCK_SEQPACKET, made by the supervisor for each switch it
// starts: one record is one message, at most one descriptor travels with it (SCM_RIGHTS), order is kept, and
// what a switch had sent when it was killed is still read.
//
//   switch → supervisor   store  key + descriptor   keep a duplicate under this key, in place of the one
//   before
//                         forget key                close the duplicate
//                         claim                     send all that is kept
//   supervisor → switch   kept   key + descriptor   one for each, answer to claim
//                         end                       the answer is complete
//
// The version word comes first in each message. A supervisor outlives the switch package that was installed
// when it started, so a switch that meets another version goes on without a supervisor instead of failing.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace weft::handover {

inline constexpr uint32_t kVersion = 0x77660001;  // "wf", version 1
inline constexpr size_t kKeyBytes = 72;           // a port's id (at most 64) and a zero
inline constexpr int kMaximumKept = 4096;

enum class Kind : uint32_t { store = 1, forget = 2, claim = 3, kept = 4, end = 5 };

struct Message {
  uint32_t version = kVersion;
  Kind kind = Kind::end;
  char key[kKeyBytes] = {};  // zero-terminated

  static Message of(Kind kind, std::string_view key = {}) {
    Message message;
    message.kind = kind;
    const size_t length = key.size() < kKeyBytes ? key.size() : kKeyBytes - 1;
    if (length != 0) std::memcpy(message.key, key.data(), length);
    return message;
  }
  [[nodiscard]] std::string_view key_view() const { return {key, strnlen(key, kKeyBytes)}; }
};
static_assert(sizeof(Message) == 80);

}  // namespace weft::handover
