/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shell around host/misc_tree: reads where the host's TDs run, and says what is odd about the
 * reading itself: that there is none, that it fails, that a number cannot be right, and that the
 * kernel has refused to start a TD. Each is said once.
 */
#pragma once

#include "base/error.h"
#include "host/misc_tree.h"

#include <stdbool.h>
#include <stdint.h>

struct measuring {
        const char *cgroup_root;
        char failure[ERROR_TEXT_SIZE]; /* logged last */
        char impossible[sizeof(((struct misc_tree *)0)->impossible)];
        bool is_invisible;       /* and this was said */
        struct misc_tree before; /* whose refusals are known */
        bool has_before;
        uint64_t n_refused; /* starts of TDs that the kernel has refused since the driver started */
        void (*on_event)(void *owner, bool is_warning, const char *reason, const char *text);
        void *owner;
};

void measuring_deinit(struct measuring *measuring);

/* limit: the TDs that the host can run. The reading, borrowed until the next call; NULL: there is
 * none, and what was known stands. */
const struct misc_tree *measuring_read(struct measuring *measuring, uint64_t limit);
