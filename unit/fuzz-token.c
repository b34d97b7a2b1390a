/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a service account token's file. What is taken of them goes into an HTTP header. */
#include "base/error.h"
#include "base/memory.h"
#include "kube/credentials.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
        _cleanup_(kube_token) struct kube_token *token = NULL;
        _cleanup_(close) int fd = memfd_create("token", MFD_CLOEXEC);
        struct error error = ERROR_NULL;
        const char *value = NULL;
        char path[64];
        ssize_t n_written;
        int r;

        assert(fd >= 0);
        n_written = write(fd, bytes, n);
        assert(n_written == (ssize_t)n);
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        token = kube_token_new(path);
        r = kube_token_get(token, false, &value, &error);
        assert(r == 0 || r == -EBADMSG || r == -EFBIG);
        assert(!r == !!value && !r == !error.code);
        if (r) {
                assert(!strstr(error.text, "\n"));
                return 0;
        }
        assert(*value && strlen(value) <= n && n <= KUBE_TOKEN_MAX);
        for (const char *c = value; *c; ++c)
                assert(*c > ' ' && *c <= '~');
        assert(memmem(bytes, n, value, strlen(value)));
        return 0;
}
