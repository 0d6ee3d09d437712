// Whether a file has a writer, on files of the test's own.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "io/descriptor.h"
#include "io/writer.h"

using weft::io::Descriptor;
using weft::io::has_writer;

namespace {

struct Folder {
  std::string path = "/tmp/weft-writer-test-" + std::to_string(::getpid());
  Folder() { std::filesystem::create_directory(path); }
  ~Folder() { std::filesystem::remove_all(path); }
};

}  // namespace

TEST_CASE("a file has a writer exactly while one has it open") {
  const Folder folder;
  const std::string path = folder.path + "/file";
  {
    const Descriptor writer(::open(path.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    REQUIRE(writer.valid());
    CHECK(has_writer(path) == true);
  }
  CHECK(has_writer(path) == false);
  {
    const Descriptor reader(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    CHECK(has_writer(path) == false);
  }
  // The lease was given back: nobody has to wait for it.
  const Descriptor again(::open(path.c_str(), O_WRONLY | O_CLOEXEC | O_NONBLOCK));
  CHECK(again.valid());
  CHECK(has_writer(path) == true);
}

TEST_CASE("of what is no regular file nothing is known") {
  const Folder folder;
  CHECK_FALSE(has_writer(folder.path).has_value());
  CHECK_FALSE(has_writer(folder.path + "/absent").has_value());
  const std::string pipe = folder.path + "/pipe";
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  CHECK_FALSE(has_writer(pipe).has_value());
}
