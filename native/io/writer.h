// Whether somebody still writes a file.
#pragma once

#include <optional>
#include <string>

namespace weft::io {

// Whether any process has the file open for writing, or mapped so; nothing where that cannot be told: there
// is no such regular file, it may not be read, or its file system has no leases. The answer is of that
// moment: a writer that opens the file later makes an event of its own.
//
// Asked by taking a read lease (fcntl(2), F_SETLEASE), which the kernel refuses while there is a writer, and
// giving it back at once. A writer that opens the file in between waits those microseconds.
std::optional<bool> has_writer(const std::string& path);

}  // namespace weft::io
