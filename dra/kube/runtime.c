/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/runtime.h"

#include "base/memory.h"
#include "base/parse.h"

#include <stdint.h>
#include <string.h>

#define N_PARTS 3

static const struct {
        const char *name;
        uint64_t first_good[N_PARTS];
} runtimes[] = {
        { "containerd://", { 1, 7, 20 } },
        { "cri-o://", { 1, 30, 0 } },
};

/* "v1.7.13-k3s1"; missing parts are 0. False: it does not begin with a number. */
static bool parse_version(const char *text, uint64_t *ret_parts)
{
        memset(ret_parts, 0, N_PARTS * sizeof(*ret_parts));
        text += *text == 'v';
        for (size_t i = 0; i < N_PARTS; ++i) {
                size_t n = strspn(text, "0123456789");

                if (parse_u64(text, n, &ret_parts[i]) < 0)
                        return i > 0;
                text += n;
                if (*text != '.')
                        return true;
                ++text;
        }
        return true;
}

static bool is_before(const uint64_t *a, const uint64_t *b)
{
        for (size_t i = 0; i < N_PARTS; ++i)
                if (a[i] != b[i])
                        return a[i] < b[i];
        return false;
}

bool runtime_rejects_groups(const char *version)
{
        uint64_t parts[N_PARTS];

        for (size_t i = 0; version && i < array_size(runtimes); ++i) {
                size_t n = strlen(runtimes[i].name);

                if (strncmp(version, runtimes[i].name, n) == 0)
                        return parse_version(version + n, parts) &&
                               is_before(parts, runtimes[i].first_good);
        }
        return false;
}
