#include "io/netns.h"

#include <fcntl.h>
#include <linux/nsfs.h>
#include <pthread.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>

namespace weft::io {

namespace {
constexpr const char* kOwnNamespace = "/proc/thread-self/ns/net";
}

Result<NamespaceFile> NamespaceFile::open(const std::string& path) {
  Descriptor descriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!descriptor.valid()) {
    if (errno == ENOENT || errno == ENOTDIR || errno == ESRCH)
      return call_failed("namespace-gone", "open", path, "the pod's network namespace no longer exists");
    return call_failed("namespace-open", "open", path);
  }
  // An unmounted bind mount leaves a plain file behind, which is the ordinary way for a namespace to be gone.
  const int type = ::ioctl(descriptor.get(), NS_GET_NSTYPE);
  if (type < 0)
    return call_failed("namespace-gone", "ioctl(NS_GET_NSTYPE)", path,
                       "no namespace is mounted there any more");
  if (type != CLONE_NEWNET)
    return Error{"namespace-not-network",
                 path + " is a namespace, but not a network namespace; pass that of the pod"};
  struct stat status{};
  if (::fstat(descriptor.get(), &status) != 0) return call_failed("namespace-open", "fstat", path);
  return NamespaceFile(std::move(descriptor), path,
                       {static_cast<uint64_t>(status.st_dev), static_cast<uint64_t>(status.st_ino)});
}

bool namespace_is_still(const std::string& path, NamespaceIdentity identity) {
  struct stat status{};
  if (::stat(path.c_str(), &status) != 0) return false;
  return NamespaceIdentity{static_cast<uint64_t>(status.st_dev), static_cast<uint64_t>(status.st_ino)} ==
         identity;
}

NamespaceContext::Scope::~Scope() {
  if (context_ == nullptr) return;
  if (::setns(context_->nursery(), CLONE_NEWNET) == 0) return;
  std::perror("weft: setns back to the nursery namespace");
  std::abort();
}

Result<NamespaceContext::Scope> NamespaceContext::enter(const NamespaceFile& file) const {
  if (::setns(file.get(), CLONE_NEWNET) != 0)
    return call_failed("namespace-enter", "setns", file.path(), "needs CAP_SYS_ADMIN");
  return Scope(this);
}

Result<NamespaceContext::Scope> NamespaceContext::enter_home() const {
  if (::setns(home_.get(), CLONE_NEWNET) != 0)
    return call_failed("namespace-enter", "setns", "the process's own namespace", "needs CAP_SYS_ADMIN");
  return Scope(this);
}

Result<std::unique_ptr<NamespaceThread>> NamespaceThread::start() {
  std::unique_ptr<NamespaceThread> self(new NamespaceThread());
  std::optional<Error> failed;
  bool ready = false;
  std::mutex mutex;
  std::condition_variable started;
  self->thread_ = std::thread([&, thread = self.get()] {
    ::pthread_setname_np(::pthread_self(), "weft-netns");
    std::optional<Error> error = thread->prepare();
    {
      // Notified under the lock: `started` lives in start()'s frame, which goes as soon as the waiter sees
      // `ready`.
      const std::lock_guard lock(mutex);
      failed = error;
      ready = true;
      started.notify_one();
    }
    if (!error) thread->serve();
  });
  {
    std::unique_lock lock(mutex);
    started.wait(lock, [&] { return ready; });
  }
  if (failed) return *failed;
  return self;
}

std::optional<Error> NamespaceThread::prepare() {
  context_.home_ = Descriptor(::open(kOwnNamespace, O_RDONLY | O_CLOEXEC));
  if (!context_.home_.valid())
    return call_failed("namespace-create", "open", kOwnNamespace, "is /proc mounted?");
  if (::unshare(CLONE_NEWNET) != 0)
    return call_failed("namespace-create", "unshare(CLONE_NEWNET)", "",
                       "weft needs CAP_SYS_ADMIN: run it as root, or inside a user namespace of its own");
  context_.nursery_ = Descriptor(::open(kOwnNamespace, O_RDONLY | O_CLOEXEC));
  if (!context_.nursery_.valid()) return call_failed("namespace-create", "open", kOwnNamespace);
  return std::nullopt;
}

NamespaceThread::~NamespaceThread() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void NamespaceThread::post(Task task) {
  {
    const std::lock_guard lock(mutex_);
    queue_.push_back(std::move(task));
  }
  wake_.notify_one();
}

void NamespaceThread::run(const Task& task) {
  std::mutex mutex;
  std::condition_variable finished;
  bool done = false;
  post([&](const NamespaceContext& context) {
    task(context);
    const std::lock_guard lock(mutex);
    done = true;
    finished.notify_one();
  });
  std::unique_lock lock(mutex);
  finished.wait(lock, [&] { return done; });
}

void NamespaceThread::serve() {
  while (true) {
    Task task;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [&] { return stopping_ || !queue_.empty(); });
      if (queue_.empty()) return;
      task = std::move(queue_.front());
      queue_.pop_front();
    }
    task(context_);
  }
}

}  // namespace weft::io
