/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses to listen on, IPv4 and IPv6, as text and as the kernel has them. */
#pragma once

#include <sys/socket.h>

struct error;

/* "ADDRESS:PORT": ":8080" (every address, IPv4 and IPv6), "127.0.0.1:8080", "[::1]:8080"; port 0:
 * any free one. No names. 0, or -EINVAL with what is wrong with it in err. */
int address_parse(const char *address, struct sockaddr_storage *ret, struct error *err);

/* What bind(2) wants as the size. */
socklen_t address_size(const struct sockaddr_storage *address);

/* Where a socket listens, in the same form; the caller's. */
char *address_print_local(int fd);
