/*
 * The only program in the images that the tests make: static, without a shell, so that an image is a file.
 *
 *   pod pause
 *       sleeps; reaps what is given to it
 *   pod serve NAME PROTO/PORT...
 *       tcp: answers a request (or 300 ms of silence) with an HTTP response whose body is "NAME CLIENT"; udp and sctp: with the
 *       body alone; echo: TCP, returns what comes; dns: UDP, answers every A question with the address that follows as
 *       dns/PORT/ADDRESS
 *   pod probe MILLISECONDS PROTO/ADDRESS/PORT...
 *       asks all at once; a line for each, in order: "ok NAME CLIENT", "refused", "timeout", "error N"
 *   pod talk ADDRESS PORT MILLISECONDS COUNT
 *       one TCP connection, a byte every so many ms; prints the longest silence in ms, or "lost"
 *   pod resolve udp|tcp A|AAAA SERVER NAME
 *       asks SERVER ("-": resolv.conf's) for records; prints their addresses, "none", or "timeout"
 *   pod relay
 *       passes connections at SRC_PORT on to DEST_IP, DEST_PORT (of the environment)
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { maximumSockets = 512, patience = 300 };

static long now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1000L + time.tv_nsec / 1000000;
}

static void end(int signal) {
  (void)signal;
  _exit(0);
}

static void reap(int signal) {
  (void)signal;
  while (waitpid(-1, NULL, WNOHANG) > 0) {
  }
}

static void rest(void) {
  signal(SIGCHLD, reap);
  for (;;) pause();
}

static int kind_of(const char* protocol) {
  return strcmp(protocol, "udp") == 0 || strcmp(protocol, "dns") == 0 ? SOCK_DGRAM : SOCK_STREAM;
}
static int number_of(const char* protocol) {
  return strcmp(protocol, "sctp") == 0 ? IPPROTO_SCTP : 0;
}

/* An IPv4 address becomes a mapped one: every socket is IPv6 and takes both. */
static struct sockaddr_in6 address_of(const char* text, int port) {
  struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
  char mapped[80];
  snprintf(mapped, sizeof mapped, strchr(text, ':') ? "%s" : "::ffff:%s", text);
  if (inet_pton(AF_INET6, mapped, &address.sin6_addr) != 1) {
    fprintf(stderr, "no address: %s\n", text);
    exit(2);
  }
  return address;
}

static const char* text_of(const struct sockaddr_in6* address) {
  static char text[INET6_ADDRSTRLEN];
  inet_ntop(AF_INET6, &address->sin6_addr, text, sizeof text);
  return strncmp(text, "::ffff:", 7) == 0 ? text + 7 : text;
}

static void answer_stream(int peer, const char* name, const char* client, int echo) {
  char buffer[4096], body[256], response[512];
  if (echo) {
    ssize_t length;
    while ((length = read(peer, buffer, sizeof buffer)) > 0)
      if (write(peer, buffer, length) != length) break;
    _exit(0);
  }
  struct pollfd ready = {.fd = peer, .events = POLLIN};
  if (poll(&ready, 1, patience) > 0 && read(peer, buffer, sizeof buffer) < 0) _exit(0);
  int length = snprintf(body, sizeof body, "%s %s\n", name, client);
  length =
      snprintf(response, sizeof response, "HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%s", length, body);
  if (write(peer, response, length) != length) _exit(1);
  shutdown(peer, SHUT_WR);
  if (poll(&ready, 1, patience) > 0 && read(peer, buffer, sizeof buffer) < 0) _exit(0);
  _exit(0);
}

/* RFC 1035 section 4.1: the question is returned with one answer that points to its name. */
static ssize_t answer_dns(unsigned char* packet, ssize_t length, const char* address) {
  if (length < 17 || length > 400) return -1;
  ssize_t at = 12;
  while (at < length && packet[at] != 0) at += packet[at] + 1;
  if (at + 5 > length) return -1;
  int is_a = packet[at + 1] == 0 && packet[at + 2] == 1;
  packet[2] = 0x84 | (packet[2] & 1), packet[3] = 0x80;
  memset(packet + 4, 0, 8);
  packet[5] = 1, packet[7] = is_a;
  at += 5;
  if (!is_a) return at;
  unsigned char record[] = {0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4};
  memcpy(packet + at, record, sizeof record);
  inet_pton(AF_INET, address, packet + at + sizeof record);
  return at + sizeof record + 4;
}

union answer_from {
  char bytes[CMSG_SPACE(sizeof(struct in6_pktinfo))];
  struct cmsghdr aligned;
};

static int serve(int count, char** words) {
  const char* name = words[0];
  struct pollfd sockets[maximumSockets];
  struct {
    int datagram, echo;
    char dns[64];
  } of[maximumSockets];
  int open = 0;
  signal(SIGCHLD, reap);
  for (int index = 1; index < count && open < maximumSockets; index++) {
    char protocol[16], dns[64] = "";
    int port, one = 1, zero = 0;
    if (sscanf(words[index], "%15[a-z]/%d/%63s", protocol, &port, dns) < 2)
      return fprintf(stderr, "no port: %s\n", words[index]), 2;
    int socket_ = socket(AF_INET6, kind_of(protocol), number_of(protocol));
    if (socket_ < 0) {
      fprintf(stderr, "%s: %s\n", words[index], strerror(errno));
      continue;
    }
    setsockopt(socket_, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    setsockopt(socket_, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof zero);
    setsockopt(socket_, IPPROTO_IPV6, IPV6_RECVPKTINFO, &one, sizeof one);
    struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    if (bind(socket_, (struct sockaddr*)&any, sizeof any) < 0) return perror(words[index]), 1;
    of[open].datagram = kind_of(protocol) == SOCK_DGRAM;
    of[open].echo = strcmp(protocol, "echo") == 0;
    strcpy(of[open].dns, dns);
    if (!of[open].datagram && listen(socket_, 128) < 0) return perror(words[index]), 1;
    sockets[open++] = (struct pollfd){.fd = socket_, .events = POLLIN};
  }
  for (;;) {
    if (poll(sockets, open, -1) < 0) continue;
    for (int index = 0; index < open; index++) {
      if (!(sockets[index].revents & POLLIN)) continue;
      struct sockaddr_in6 client;
      socklen_t size = sizeof client;
      if (!of[index].datagram) {
        int peer = accept(sockets[index].fd, (struct sockaddr*)&client, &size);
        if (peer < 0) continue;
        if (fork() == 0) answer_stream(peer, name, text_of(&client), of[index].echo);
        close(peer);
        continue;
      }
      unsigned char packet[1500];
      union answer_from from = {0};
      struct iovec piece = {packet, sizeof packet};
      struct msghdr message = {&client, sizeof client, &piece, 1, &from, sizeof from, 0};
      ssize_t length = recvmsg(sockets[index].fd, &message, 0);
      if (length < 0) continue;
      if (of[index].dns[0] != 0)
        length = answer_dns(packet, length, of[index].dns);
      else
        length = snprintf((char*)packet, sizeof packet, "%s %s\n", name, text_of(&client));
      if (length <= 0) continue;
      /* From the address that was asked, of which there may be several; the interface is the kernel's choice.
       */
      for (struct cmsghdr* header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header))
        if (header->cmsg_type == IPV6_PKTINFO) ((struct in6_pktinfo*)CMSG_DATA(header))->ipi6_ifindex = 0;
      piece.iov_len = length;
      sendmsg(sockets[index].fd, &message, 0);
    }
  }
}

struct question {
  struct pollfd socket;
  struct sockaddr_in6 to;
  int datagram, asked, done;
  char answer[400];
  int length;
};

static void settle(struct question* of, const char* verdict) {
  snprintf(of->answer, sizeof of->answer, "%s", verdict);
  of->done = 1;
  close(of->socket.fd);
  of->socket.fd = -1;
}

static void fail(struct question* of, int error) {
  char verdict[64];
  snprintf(verdict, sizeof verdict, "error %s", strerror(error));
  settle(of, error == ECONNREFUSED ? "refused" : error == ETIMEDOUT ? "timeout" : verdict);
}

static void proceed(struct question* of) {
  int error = 0;
  socklen_t size = sizeof error;
  getsockopt(of->socket.fd, SOL_SOCKET, SO_ERROR, &error, &size);
  if (error != 0) return fail(of, error);
  if (!of->asked && (of->socket.revents & POLLOUT)) {
    const char request[] = "GET / HTTP/1.0\r\n\r\n";
    if (send(of->socket.fd, request, sizeof request - 1, MSG_NOSIGNAL) < 0) return fail(of, errno);
    of->asked = 1;
    of->socket.events = POLLIN;
    return;
  }
  if (!(of->socket.revents & (POLLIN | POLLHUP | POLLERR))) return;
  ssize_t length = recv(of->socket.fd, of->answer + of->length, sizeof of->answer - 1 - of->length, 0);
  if (length < 0 && errno == EAGAIN) return;
  if (length < 0) return fail(of, errno);
  of->length += length;
  of->answer[of->length] = 0;
  char* body = strstr(of->answer, "\r\n\r\n");
  body = body ? body + 4 : of->datagram ? of->answer : NULL;
  if (body && strchr(body, '\n')) {
    char verdict[256];
    *strchr(body, '\n') = 0;
    snprintf(verdict, sizeof verdict, "ok %.200s", body);
    settle(of, verdict);
  } else if (length == 0)
    settle(of, "error closed without an answer");
}

static int probe(int count, char** words) {
  static struct question questions[maximumSockets];
  long deadline = now() + atol(words[0]), again = 0;
  int all = count - 1 < maximumSockets ? count - 1 : maximumSockets;
  for (int index = 0; index < all; index++) {
    struct question* of = &questions[index];
    char protocol[16], address[64];
    int port;
    if (sscanf(words[index + 1], "%15[a-z]/%63[^/]/%d", protocol, address, &port) != 3)
      return fprintf(stderr, "no target: %s\n", words[index + 1]), 2;
    of->to = address_of(address, port);
    of->datagram = kind_of(protocol) == SOCK_DGRAM;
    of->socket =
        (struct pollfd){.fd = socket(AF_INET6, kind_of(protocol) | SOCK_NONBLOCK, number_of(protocol)),
                        .events = of->datagram ? POLLIN : POLLOUT};
    of->asked = of->datagram;
    if (of->socket.fd < 0) {
      fail(of, errno);
      continue;
    }
    if (connect(of->socket.fd, (struct sockaddr*)&of->to, sizeof of->to) < 0 && errno != EINPROGRESS)
      fail(of, errno);
  }
  for (;;) {
    static struct pollfd sockets[maximumSockets];
    int open = 0;
    long time = now();
    for (int index = 0; index < all; index++) {
      struct question* of = &questions[index];
      sockets[index] = of->socket;
      if (of->done) continue;
      open++;
      /* A datagram may be lost, or come before the server is there. */
      if (of->datagram && time >= again && send(of->socket.fd, "?", 1, MSG_NOSIGNAL) < 0 && errno != EAGAIN)
        fail(of, errno), sockets[index].fd = -1;
    }
    if (time >= again) again = time + 250;
    if (open == 0 || time >= deadline) break;
    poll(sockets, all, deadline < again ? deadline - time : again - time);
    for (int index = 0; index < all; index++) {
      questions[index].socket.revents = sockets[index].revents;
      if (!questions[index].done && sockets[index].revents != 0) proceed(&questions[index]);
    }
  }
  for (int index = 0; index < all; index++) puts(questions[index].done ? questions[index].answer : "timeout");
  return 0;
}

static int talk(char** words) {
  struct sockaddr_in6 to = address_of(words[0], atoi(words[1]));
  int socket_ = socket(AF_INET6, SOCK_STREAM, 0), between = atoi(words[2]), left = atoi(words[3]);
  if (connect(socket_, (struct sockaddr*)&to, sizeof to) < 0) return puts("lost: no connection"), 1;
  long longest = 0, last = now(), next = last;
  while (left > 0) {
    char byte = 'x';
    struct pollfd ready = {.fd = socket_, .events = POLLIN};
    long time = now();
    if (time >= next) {
      if (send(socket_, &byte, 1, MSG_NOSIGNAL) != 1) return printf("lost: %s\n", strerror(errno)), 1;
      next = time + between, left--;
    }
    if (poll(&ready, 1, next > now() ? next - now() : 0) > 0) {
      char buffer[256];
      ssize_t length = recv(socket_, buffer, sizeof buffer, 0);
      if (length <= 0) return printf("lost: %s\n", length == 0 ? "closed" : strerror(errno)), 1;
      if (now() - last > longest) longest = now() - last;
      last = now();
    }
    if (now() - last > 60000) return puts("lost: a minute of silence"), 1;
  }
  if (now() - last > longest) longest = now() - last;
  printf("%ld\n", longest);
  return 0;
}

/* Both ways until both have ended. */
static void pass(int one, int other) {
  struct pollfd ends[2] = {{.fd = one, .events = POLLIN}, {.fd = other, .events = POLLIN}};
  int open = 2;
  while (open > 0 && poll(ends, 2, -1) > 0) {
    for (int from = 0; from < 2; from++) {
      char buffer[16384];
      if (ends[from].fd < 0 || ends[from].revents == 0) continue;
      ssize_t length = recv(ends[from].fd, buffer, sizeof buffer, 0);
      int to = from == 0 ? other : one;
      if (length > 0 && send(to, buffer, length, MSG_NOSIGNAL) == length) continue;
      shutdown(to, SHUT_WR);
      ends[from].fd = -1, open--;
    }
  }
  _exit(0);
}

static int relay(void) {
  const char *port = getenv("SRC_PORT"), *to_address = getenv("DEST_IP"), *to_port = getenv("DEST_PORT");
  if (!port || !to_address || !to_port)
    return fputs("pod: SRC_PORT, DEST_IP and DEST_PORT are needed\n", stderr), 2;
  signal(SIGCHLD, reap);
  int listener = socket(AF_INET6, SOCK_STREAM, 0), one = 1;
  struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons(atoi(port))};
  struct sockaddr_in6 to = address_of(to_address, atoi(to_port));
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(listener, (struct sockaddr*)&any, sizeof any) < 0 || listen(listener, 128) < 0)
    return perror("relay"), 1;
  for (;;) {
    int peer = accept(listener, NULL, NULL);
    if (peer < 0) continue;
    if (fork() == 0) {
      int onward = socket(AF_INET6, SOCK_STREAM, 0);
      if (connect(onward, (struct sockaddr*)&to, sizeof to) < 0) _exit(1);
      pass(peer, onward);
    }
    close(peer);
  }
}

static const char* own_server(void) {
  static char server[80];
  char line[256];
  FILE* file = fopen("/etc/resolv.conf", "r");
  while (file && fgets(line, sizeof line, file))
    if (sscanf(line, "nameserver %79s", server) == 1) return server;
  return "127.0.0.1";
}

/* Where the name that begins at `at` ends. RFC 1035 section 4.1.4. */
static int after_name(const unsigned char* packet, int length, int at) {
  while (at < length && packet[at] != 0) {
    if (packet[at] >= 0xc0) return at + 2;
    at += packet[at] + 1;
  }
  return at + 1;
}

/* Of the answer's records of this type (A or AAAA) the addresses, in one line. */
static void print_addresses(const unsigned char* packet, int length, int type) {
  int at = after_name(packet, length, 12) + 4, found = 0;
  for (int records = packet[6] << 8 | packet[7]; records > 0; records--) {
    char text[INET6_ADDRSTRLEN];
    at = after_name(packet, length, at);
    if (at + 10 > length) break;
    int of_type = packet[at] << 8 | packet[at + 1], size = packet[at + 8] << 8 | packet[at + 9];
    at += 10 + size;
    if (at > length) break;
    if (of_type == type && size == (type == 1 ? 4 : 16))
      printf("%s%s", found++ ? " " : "",
             inet_ntop(type == 1 ? AF_INET : AF_INET6, packet + at - size, text, sizeof text));
  }
  puts(found ? "" : "none");
}

/* The question begins after two bytes for its length, which only a stream has. Less than a header: no answer. */
static int ask(const struct sockaddr_in6* to, int kind, const unsigned char* question, int length,
               unsigned char* answer, int room) {
  int stream = kind == SOCK_STREAM, socket_ = socket(AF_INET6, kind, 0), size = -1;
  struct timeval most = {.tv_sec = stream, .tv_usec = stream ? 0 : 250000};
  setsockopt(socket_, SOL_SOCKET, SO_SNDTIMEO, &most, sizeof most); /* connecting, too */
  setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &most, sizeof most);
  unsigned char head[2];
  if (connect(socket_, (const struct sockaddr*)to, sizeof *to) < 0 ||
      send(socket_, stream ? question : question + 2, stream ? length + 2 : length, MSG_NOSIGNAL) < 0)
    size = -1;
  else if (!stream)
    size = recv(socket_, answer, room, 0);
  else if (recv(socket_, head, 2, MSG_WAITALL) == 2 && (head[0] << 8 | head[1]) <= room)
    size = recv(socket_, answer, head[0] << 8 | head[1], MSG_WAITALL);
  close(socket_);
  return size;
}

static int resolve(char** words) {
  int kind = strcmp(words[0], "tcp") == 0 ? SOCK_STREAM : SOCK_DGRAM;
  int type = strcmp(words[1], "AAAA") == 0 ? 28 : 1;
  unsigned char question[512] = {0, 0, 0x12, 0x34, 1, 0, 0, 1}, answer[4096];
  int at = 14;
  for (char* label = strtok(words[3], "."); label; label = strtok(NULL, ".")) {
    question[at++] = strlen(label);
    memcpy(question + at, label, strlen(label));
    at += strlen(label);
  }
  question[at++] = 0, question[at++] = 0, question[at++] = type, question[at++] = 0, question[at++] = 1;
  question[1] = at - 2;
  struct sockaddr_in6 to = address_of(strcmp(words[2], "-") == 0 ? own_server() : words[2], 53);
  for (int tries = 0; tries < (kind == SOCK_STREAM ? 2 : 8); tries++) {
    int length = ask(&to, kind, question, at - 2, answer, sizeof answer);
    if (length >= 12) return print_addresses(answer, length, type), 0;
  }
  return puts("timeout"), 1;
}

int main(int count, char** words) {
  signal(SIGTERM, end);
  signal(SIGINT, end);
  if (count >= 3 && strcmp(words[1], "serve") == 0) return serve(count - 2, words + 2);
  if (count >= 3 && strcmp(words[1], "probe") == 0) return probe(count - 2, words + 2);
  if (count == 6 && strcmp(words[1], "talk") == 0) return talk(words + 2);
  if (count == 2 && strcmp(words[1], "relay") == 0) return relay();
  if (count == 6 && strcmp(words[1], "resolve") == 0) return resolve(words + 2);
  if (count == 2 && strcmp(words[1], "pause") == 0) rest();
  fputs("pod: unknown command\n", stderr);
  return 2;
}
