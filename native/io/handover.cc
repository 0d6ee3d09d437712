#include "io/handover.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <cerrno>
#include <cstring>

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
  iovec part{const_cast<handover::Message*>(&message), sizeof message};  // NOLINT: sendmsg does not write
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  if (descriptor >= 0) {
    header.msg_control = control;
    header.msg_controllen = sizeof control;
    cmsghdr* rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(rights), &descriptor, sizeof descriptor);
  }
  ssize_t sent;
  do sent = ::sendmsg(socket_.get(), &header, MSG_NOSIGNAL);
  while (sent < 0 && errno == EINTR);
  if (sent == static_cast<ssize_t>(sizeof message)) return true;
  socket_.reset();
  return false;
}

Result<std::map<std::string, Descriptor>> Handover::claim() {
  std::map<std::string, Descriptor> kept;
  if (!socket_.valid()) return kept;
  if (!send(handover::Message::of(handover::Kind::claim), -1))
    return call_failed("handover-receive", "sendmsg", "the supervisor");
  while (true) {
    handover::Message message;
    iovec part{&message, sizeof message};
    msghdr header{};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = control;
    header.msg_controllen = sizeof control;
    const ssize_t received = ::recvmsg(socket_.get(), &header, MSG_CMSG_CLOEXEC);
    if (received < 0 && errno == EINTR) continue;
    if (received <= 0) {
      Error error = received < 0 ? call_failed("handover-receive", "recvmsg", "the supervisor")
                                 : Error{"handover-receive", "the supervisor closed its socket"};
      socket_.reset();
      return error;
    }
    Descriptor descriptor;
    if (const cmsghdr* rights = CMSG_FIRSTHDR(&header);
        rights != nullptr && rights->cmsg_level == SOL_SOCKET && rights->cmsg_type == SCM_RIGHTS) {
      int value = -1;
      std::memcpy(&value, CMSG_DATA(rights), sizeof value);
      descriptor = Descriptor(value);
    }
    if (received != static_cast<ssize_t>(sizeof message) || message.version != handover::kVersion) {
      socket_.reset();
      return Error{"handover-version",
                   "the supervisor speaks another version of the hand-over; restart it to have descriptors "
                   "kept again"};
    }
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
