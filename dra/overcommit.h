/* SPDX-License-Identifier: Apache-2.0 */
/*
 * More TDs held than the node has. We never admit that many, but others hand TDs out, too
 * (KubeVirt's own plugin beside our claims, a foreign registrant of the resource), and a capacity
 * may shrink. When it is so, a person is told. overcommit_look() is pure.
 */
#pragma once

#include <stdbool.h>

struct overcommit {
        unsigned n_told; /* TDs too many, as told last; 0 at first */
};

struct overcommit_facts {
        unsigned total;    /* TDs this node may run */
        unsigned n_claims; /* held by claims */
        unsigned n_pods;   /* held by the device plugin's pods, whoever gave them */
};

/* TDs held beyond the total. */
unsigned overcommit_excess(const struct overcommit_facts *facts);

enum overcommit_news {
        OVERCOMMIT_WORSE =
                1,       /* more are held than there are, or still more than when it was told */
        OVERCOMMIT_OVER, /* no longer */
};

/* 0: nothing to tell; or the news, with the numbers and the remedy in *ret_text (the caller's). */
int overcommit_look(struct overcommit *overcommit, const struct overcommit_facts *facts,
                    char **ret_text);

/* Look, and log and post as an Event what is news. */
void overcommit_tell(struct overcommit *overcommit, const struct overcommit_facts *facts,
                     void (*on_event)(void *owner, bool is_warning, const char *reason,
                                      const char *text),
                     void *owner);
