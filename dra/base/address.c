/* SPDX-License-Identifier: Apache-2.0 */
#include "base/address.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/parse.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>

int address_parse(const char *address, struct sockaddr_storage *ret, struct error *err)
{
        const char *colon = strrchr(address, ':');
        size_t n_host = colon ? (size_t)(colon - address) : 0;
        struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_addr = in6addr_any };
        struct sockaddr_in v4 = { .sin_family = AF_INET };
        char host[INET6_ADDRSTRLEN + 2] = "";
        bool is_v6 = true, is_right;
        uint64_t port = 0;

        is_right = colon && n_host < sizeof(host) &&
                   parse_u64(colon + 1, strlen(colon + 1), &port) == 0 && port <= UINT16_MAX;
        if (is_right && n_host) {
                memcpy(host, address, n_host);
                is_v6 = host[0] == '[' && host[n_host - 1] == ']';
                if (is_v6)
                        host[n_host - 1] = '\0';
                is_right = is_v6 ? inet_pton(AF_INET6, host + 1, &v6.sin6_addr) == 1
                                 : inet_pton(AF_INET, host, &v4.sin_addr) == 1;
        }
        if (!is_right)
                return error_set(err, -EINVAL,
                                 "\"%.128s\" is not an address and a port like :8080, "
                                 "127.0.0.1:8080 or [::1]:8080",
                                 address);
        v4.sin_port = v6.sin6_port = htons((uint16_t)port);
        *ret = (struct sockaddr_storage){ 0 };
        if (is_v6)
                memcpy(ret, &v6, sizeof(v6));
        else
                memcpy(ret, &v4, sizeof(v4));
        return 0;
}

socklen_t address_size(const struct sockaddr_storage *address)
{
        return address->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                              : sizeof(struct sockaddr_in);
}

char *address_print_local(int fd)
{
        struct sockaddr_storage address = { 0 };
        socklen_t n = sizeof(address);
        char host[INET6_ADDRSTRLEN] = "?";
        struct sockaddr_in6 v6;
        struct sockaddr_in v4;

        (void)getsockname(fd, (struct sockaddr *)&address, &n);
        if (address.ss_family == AF_INET6) {
                memcpy(&v6, &address, sizeof(v6));
                inet_ntop(AF_INET6, &v6.sin6_addr, host, sizeof(host));
                return xasprintf("[%s]:%u", host, ntohs(v6.sin6_port));
        }
        memcpy(&v4, &address, sizeof(v4));
        inet_ntop(AF_INET, &v4.sin_addr, host, sizeof(host));
        return xasprintf("%s:%u", host, ntohs(v4.sin_port));
}
