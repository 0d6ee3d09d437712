#include "io/nft_table.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <array>
#include <cerrno>
#include <optional>

#include "io/descriptor.h"
#include "io/netlink_message.h"

namespace weft::io {

namespace {

constexpr size_t kAnswerBytes = 8 * 1024;
constexpr size_t kLongestName = 255;

uint64_t big_endian(std::span<const uint8_t> value) {
  uint64_t number = 0;
  for (const uint8_t octet : value) number = number << 8 | octet;
  return number;
}

struct Attribute {
  uint16_t type;
  const std::string& text;
};

// One question about one object; nothing where there is none. `handle`, `use`: the attributes of the answer
// with them.
class Question {
 public:
  explicit Question(int socket) : socket_(socket) {}

  Result<std::optional<std::string>> ask(uint16_t message, std::initializer_list<Attribute> attributes,
                                         uint16_t handle, uint16_t use) {
    const std::span<const uint8_t> request = write(message, attributes);
    if (::send(socket_, request.data(), request.size(), 0) < 0) return call_failed("nft-ask", "send", "");
    std::array<uint8_t, kAnswerBytes> buffer;
    while (true) {
      const ssize_t received = ::recv(socket_, buffer.data(), buffer.size(), 0);
      if (received < 0 && errno == EINTR) continue;
      if (received < static_cast<ssize_t>(sizeof(nlmsghdr))) return call_failed("nft-ask", "recv", "");
      const auto header = load<nlmsghdr>(buffer.data());
      const size_t length = std::min<size_t>(header.nlmsg_len, static_cast<size_t>(received));
      const std::span<const uint8_t> answer(buffer.data(), length);
      if (header.nlmsg_seq != sequence_) continue;
      if (header.nlmsg_type == NLMSG_ERROR && length >= NLMSG_HDRLEN + 4) {
        const int error = -load<int32_t>(answer.data() + NLMSG_HDRLEN);
        if (error == ENOENT) return std::optional<std::string>{};
        return call_failed_with(error, "nft-ask", "nf_tables", "");
      }
      const size_t body = NLMSG_HDRLEN + NLMSG_ALIGN(sizeof(nfgenmsg));
      if (length < body) return Error{"nft-ask", "nf_tables answers in a form that is not known"};
      std::string told;
      for_each_attribute(answer.subspan(body), [&](uint16_t type, std::span<const uint8_t> value) {
        if (type == handle || type == use) told += std::to_string(big_endian(value)) + '.';
      });
      return std::optional(std::move(told));
    }
  }

 private:
  std::span<const uint8_t> write(uint16_t message, std::initializer_list<Attribute> attributes) {
    size_ = NLMSG_HDRLEN;
    const nfgenmsg body{NFPROTO_INET, NFNETLINK_V0, 0};
    append(&body, sizeof body);
    for (const auto& [type, text] : attributes) {
      const size_t length = std::min(text.size(), kLongestName);
      const std::string name = text.substr(0, length);
      const nlattr attribute{static_cast<uint16_t>(NLA_HDRLEN + length + 1), type};
      append(&attribute, sizeof attribute);
      append(name.c_str(), length + 1);
    }
    nlmsghdr header{};
    header.nlmsg_len = static_cast<uint32_t>(size_);
    header.nlmsg_type = static_cast<uint16_t>(NFNL_SUBSYS_NFTABLES << 8 | message);
    header.nlmsg_flags = NLM_F_REQUEST;
    header.nlmsg_seq = ++sequence_;
    std::memcpy(request_.data(), &header, sizeof header);
    return {request_.data(), size_};
  }
  // Two names of at most kLongestName octets fit.
  void append(const void* data, size_t length) {
    std::memcpy(request_.data() + size_, data, length);
    size_ += NLMSG_ALIGN(length);
  }

  int socket_;
  uint32_t sequence_ = 0;
  std::array<uint8_t, 1024> request_{};
  size_t size_ = 0;
};

}  // namespace

Result<std::string> nft_table_mark(const std::string& table, const std::vector<std::string>& chains) {
  const Descriptor socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER));
  if (!socket.valid()) return call_failed("nft-ask", "socket(NETLINK_NETFILTER)", "");
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&kernel), sizeof kernel) != 0)
    return call_failed("nft-ask", "connect(NETLINK_NETFILTER)", "");
  // The kernel answers within the call; a module that it has to load first takes a moment.
  const timeval patience{2, 0};
  ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  Question question(socket.get());
  auto found = question.ask(NFT_MSG_GETTABLE, {{NFTA_TABLE_NAME, table}}, NFTA_TABLE_HANDLE, NFTA_TABLE_USE);
  if (!found.ok()) return found.error();
  if (!found.value()) return std::string();
  std::string mark = *found.value();
  for (const std::string& chain : chains) {
    auto rules = question.ask(NFT_MSG_GETCHAIN, {{NFTA_CHAIN_TABLE, table}, {NFTA_CHAIN_NAME, chain}},
                              NFTA_CHAIN_HANDLE, NFTA_CHAIN_USE);
    if (!rules.ok()) return rules.error();
    mark += ' ' + rules.value().value_or("none");
  }
  return mark;
}

}  // namespace weft::io
