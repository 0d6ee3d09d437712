// Network namespaces. setns(2) changes the calling thread only, so all namespace work is done on one
// dedicated thread that no one else runs code on: never one of libuv's, whose next task would find itself in
// a pod.
//
// The thread lives in the nursery: a network namespace of weft's own that has no name and is held by a
// descriptor: between two tasks it is nowhere where it could do harm. `home` is the namespace that the
// process was started in.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "base/result.h"
#include "io/descriptor.h"

namespace weft::io {

// Which namespace a path named when it was opened; a path can be unmounted, or mounted again with another
// namespace.
struct NamespaceIdentity {
  uint64_t device = 0;
  uint64_t inode = 0;
  friend bool operator==(const NamespaceIdentity&, const NamespaceIdentity&) = default;
};

class NamespaceFile {
 public:
  // Errors: namespace-gone (no such path, or no longer mounted), namespace-open, namespace-not-network.
  static Result<NamespaceFile> open(const std::string& path);

  [[nodiscard]] int get() const { return descriptor_.get(); }
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] NamespaceIdentity identity() const { return identity_; }

 private:
  NamespaceFile(Descriptor descriptor, std::string path, NamespaceIdentity identity)
      : descriptor_(std::move(descriptor)), path_(std::move(path)), identity_(identity) {}
  Descriptor descriptor_;
  std::string path_;
  NamespaceIdentity identity_;
};

// False when the path is gone or names another namespace. Any thread; one stat(2).
bool namespace_is_still(const std::string& path, NamespaceIdentity identity);

// What a task on the namespace thread gets. Never leaves that thread.
class NamespaceContext {
 public:
  // Enters the namespace for the life of the scope; its destructor goes back to the nursery and aborts the
  // process if it cannot, since all further work would then happen in a pod.
  class Scope {
   public:
    Scope(Scope&& other) noexcept : context_(std::exchange(other.context_, nullptr)) {}
    Scope& operator=(Scope&&) = delete;
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;
    ~Scope();

   private:
    friend class NamespaceContext;
    explicit Scope(const NamespaceContext* context) : context_(context) {}
    const NamespaceContext* context_;
  };

  [[nodiscard]] Result<Scope> enter(const NamespaceFile& file) const;
  [[nodiscard]] Result<Scope> enter_home() const;
  [[nodiscard]] int nursery() const { return nursery_.get(); }
  [[nodiscard]] int home() const { return home_.get(); }

 private:
  friend class NamespaceThread;
  Descriptor home_;
  Descriptor nursery_;
};

class NamespaceThread {
 public:
  // Errors: namespace-create (no CAP_SYS_ADMIN).
  static Result<std::unique_ptr<NamespaceThread>> start();
  // Runs what is queued, then ends the thread.
  ~NamespaceThread();

  using Task = std::function<void(const NamespaceContext&)>;
  // Runs tasks one after the other in the order of posting. Any thread.
  void post(Task task);
  // Posts and waits. Not from a task.
  void run(const Task& task);

 private:
  NamespaceThread() = default;
  std::optional<Error> prepare();
  void serve();

  NamespaceContext context_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Task> queue_;  // guarded by mutex_
  bool stopping_ = false;   // guarded by mutex_
  std::thread thread_;
};

}  // namespace weft::io
