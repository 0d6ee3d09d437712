#include "io/handover_record.h"

#include <sys/socket.h>

#include <cerrno>
#include <cstring>

namespace weft::handover {

bool send_record(int socket, const Message& message, int descriptor) {
  iovec part{const_cast<Message*>(&message), sizeof message};  // NOLINT: sendmsg does not write
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
  do sent = ::sendmsg(socket, &header, MSG_NOSIGNAL);
  while (sent < 0 && errno == EINTR);
  return sent == static_cast<ssize_t>(sizeof message);
}

ssize_t receive_record(int socket, int flags, Record& record) {
  record = {};
  iovec part{&record.message, sizeof record.message};
  msghdr header{};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof control;
  const ssize_t received = ::recvmsg(socket, &header, flags | MSG_CMSG_CLOEXEC);
  if (received <= 0) return received;
  if (const cmsghdr* rights = CMSG_FIRSTHDR(&header);
      rights != nullptr && rights->cmsg_level == SOL_SOCKET && rights->cmsg_type == SCM_RIGHTS)
    std::memcpy(&record.descriptor, CMSG_DATA(rights), sizeof record.descriptor);
  record.understood =
      received == static_cast<ssize_t>(sizeof record.message) && record.message.version == kVersion;
  return received;
}

}  // namespace weft::handover
