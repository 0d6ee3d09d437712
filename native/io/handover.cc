#include "io/handover.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <cerrno>

#include "io/handover_record.h"

namespace weft::io {

namespace {
// The supervisor does nothing but answer; one that does not within this time is gone for our purposes.
constexpr timeval kPatience{1, 0};
}  // namespace

Handover::Handover(Descriptor socket) : socket_(std::move(socket)) {
  // Children of the switch must not inherit it, and a stuck supervisor must not hang the namespace thread.
  ::fcntl(socket_.get(), F_SETFD, FD_CLOEXEC);
  ::setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof kPatience);
  ::setsockopt(socket_.get(), SOL_SOCKET, SO_SNDTIMEO, &kPatience, sizeof kPatience);
}

bool Handover::send(const handover::Message& message, int descriptor) {
  if (!socket_.valid()) return false;
  if (handover::send_record(socket_.get(), message, descriptor)) return true;
  socket_.reset();
  return false;
}

Result<std::map<std::string, Descriptor>> Handover::claim() {
  std::map<std::string, Descriptor> kept;
  if (!socket_.valid()) return kept;
  if (!send(handover::Message::of(handover::Kind::claim), -1))
    return call_failed("handover-receive", "sendmsg", "the supervisor");
  while (true) {
    handover::Record record;
    const ssize_t received = handover::receive_record(socket_.get(), 0, record);
    if (received < 0 && errno == EINTR) continue;
    if (received <= 0) {
      Error error = received < 0 ? call_failed("handover-receive", "recvmsg", "the supervisor")
                                 : Error{"handover-receive", "the supervisor closed its socket"};
      socket_.reset();
      return error;
    }
    Descriptor descriptor(record.descriptor);
    if (!record.understood) {
      socket_.reset();
      return Error{"handover-version",
                   "the supervisor speaks another version of the hand-over; restart it to have descriptors "
                   "kept again"};
    }
    const handover::Message& message = record.message;
    if (message.kind == handover::Kind::end) return kept;
    if (message.kind == handover::Kind::kept && descriptor.valid())
      kept[std::string(message.key_view())] = std::move(descriptor);
  }
}

void Handover::store(const std::string& key, int descriptor) {
  send(handover::Message::of(handover::Kind::store, key), descriptor);
}

void Handover::forget(const std::string& key) {
  send(handover::Message::of(handover::Kind::forget, key), -1);
}

}  // namespace weft::io
