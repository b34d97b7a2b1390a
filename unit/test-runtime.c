/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/runtime.h"

#include "base/memory.h"
#include "unit/suite.h"

START_TEST(runtimes_that_reject_groups_are_those_before_cdi_0_7)
{
        static const struct {
                const char *version;
                bool is_rejecting;
        } table[] = {
                { "containerd://1.7.2", true },
                { "containerd://1.7.13-k3s1", true },
                { "containerd://v1.6.31", true },
                { "containerd://1.7.19", true },
                { "containerd://1.7.20", false },
                { "containerd://1.7.27-k3s1", false },
                { "containerd://2.0.4", false },
                { "containerd://2", false },
                { "containerd://1.7", true },
                { "cri-o://1.28.11", true },
                { "cri-o://1.29.9", true },
                { "cri-o://1.30.0", false },
                { "cri-o://1.34", false },
                /* Not known: no word of it. */
                { "containerd://", false },
                { "containerd://latest", false },
                { "docker://24.0.7", false },
                { "", false },
                { NULL, false },
        };

        for (size_t i = 0; i < array_size(table); ++i)
                ck_assert_msg(runtime_rejects_groups(table[i].version) == table[i].is_rejecting,
                              "%s", table[i].version ? table[i].version : "NULL");
}
END_TEST

SUITE("runtime", runtimes_that_reject_groups_are_those_before_cdi_0_7);
