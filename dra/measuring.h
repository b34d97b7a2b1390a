/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shell around host/misc_tree: reads where the host's TDs run, and reports trouble with the
 * reading itself: no reading, a failed one, an impossible number, and the kernel's refusal to start
 * a TD. Each is reported once.
 */
#pragma once

#include "base/error.h"
#include "host/misc_tree.h"

#include <stdbool.h>
#include <stdint.h>

struct measuring {
        const char *cgroup_root;
        char failure[ERROR_TEXT_SIZE]; /* the last one logged; "": none */
        char impossible[sizeof(((struct misc_tree *)0)->impossible)];
        bool is_invisible;       /* the log has said so */
        struct misc_tree before; /* the reading before, for its counts of refusals */
        bool has_before;
        uint64_t n_refused; /* TD starts that the kernel has refused since the driver started */
        void (*on_event)(void *owner, bool is_warning, const char *reason, const char *text);
        void *owner;
};

void measuring_deinit(struct measuring *measuring);

/* limit: TDs that the host can run. Returns the reading, borrowed until the next call; NULL: there
 * is none, and the last known state stands. */
const struct misc_tree *measuring_read(struct measuring *measuring, uint64_t limit);
