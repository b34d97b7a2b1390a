/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses to listen on, IPv4 and IPv6: between text and the kernel's form. */
#pragma once

#include <sys/socket.h>

struct error;

/* "ADDRESS:PORT": ":8080" (every address, IPv4 and IPv6), "127.0.0.1:8080", "[::1]:8080"; port 0:
 * any free one. No host names. 0, or -EINVAL with the reason in err. */
int address_parse(const char *address, struct sockaddr_storage *ret, struct error *err);

/* The address length for bind(2). */
socklen_t address_size(const struct sockaddr_storage *address);

/* The address that a socket listens on, in the same form; the caller's. */
char *address_print_local(int fd);
