// IPv4 sockets as the program needs them. What fails ends the program with the call, the address and the
// reason.
#pragma once

#include <netinet/in.h>

#include <cstdint>
#include <string>

#include "io/descriptor.h"

namespace weft::traffic {

using io::Descriptor;

// Dotted IPv4.
sockaddr_in address_of(const std::string& text, uint16_t port);
std::string text_of(const sockaddr_in& address);

// Connects within one second and sets TCP_NODELAY.
Descriptor tcp_connect(const sockaddr_in& to);
// Listens on every address with a long backlog; the address may still be in TIME_WAIT.
Descriptor tcp_listen(uint16_t port);
// A UDP socket bound to `port` (0: any), with buffers of some megabytes where the process may have them.
Descriptor udp_bind(uint16_t port);
// A UDP socket that sends to `to` and hears only from it.
Descriptor udp_connect(const sockaddr_in& to);

// A blocking receive gives up after this (EAGAIN). 0: never.
void receive_timeout(const Descriptor& socket, int64_t ns);
void no_delay(const Descriptor& socket);

}  // namespace weft::traffic
