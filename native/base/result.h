// Expected failures are values: the call or check that failed, the object it failed on, and errno where there
// is one. Exceptions are not used for them; the packet path uses neither this nor exceptions.
#pragma once

#include <string>
#include <utility>
#include <variant>

namespace weft {

struct Error {
  std::string code;     // stable, machine-readable: "tap-create", "image-checksum"
  std::string message;  // for a person: the thing, what was found, what to do
  int errno_value = 0;  // 0 where no system call failed
};

template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}      // NOLINT: implicit on purpose
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT: implicit on purpose
  [[nodiscard]] bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }
  T& value() & { return std::get<0>(state_); }
  const T& value() const& { return std::get<0>(state_); }
  T&& value() && { return std::get<0>(std::move(state_)); }
  [[nodiscard]] const Error& error() const { return std::get<1>(state_); }

 private:
  std::variant<T, Error> state_;
};

struct Ok {};
using Status = Result<Ok>;

}  // namespace weft
