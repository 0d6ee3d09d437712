// A file as a lock between processes.
#pragma once

#include <optional>
#include <string>

#include "base/result.h"
#include "io/descriptor.h"

namespace weft::io {

// Takes the lock of the file, which is made where there is none; nothing when another process has it. The
// lock lives as long as the descriptor, so it ends with the process however that ends, and there is no stale
// one. The file stays. Error: lock-open.
Result<std::optional<Descriptor>> lock_file(const std::string& path);

}  // namespace weft::io
