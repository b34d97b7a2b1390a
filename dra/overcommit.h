/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reports that more TDs are held than the node has. We never admit that many, but others hand out
 * TDs, too (KubeVirt's own plugin beside our claims, a foreign registrant of the resource), and the
 * capacity may shrink. overcommit_look() is pure.
 */
#pragma once

#include <stdbool.h>

struct overcommit {
        unsigned n_told; /* excess TDs of the last look; 0 at first */
};

struct overcommit_facts {
        unsigned total;    /* TDs this node may run */
        unsigned n_claims; /* held by claims */
        unsigned n_pods;   /* held by pods with plugin devices, of our plugin or another */
};

/* TDs held beyond the total. */
unsigned overcommit_excess(const struct overcommit_facts *facts);

enum overcommit_news {
        OVERCOMMIT_WORSE = 1, /* the excess is new, or larger than before */
        OVERCOMMIT_OVER,      /* the excess has ended */
};

/* 0: nothing new; or the news, with the numbers and the remedy in *ret_text (the caller's). */
int overcommit_look(struct overcommit *overcommit, const struct overcommit_facts *facts,
                    char **ret_text);

/* Look, log the news, and post bad news as an Event. */
void overcommit_tell(struct overcommit *overcommit, const struct overcommit_facts *facts,
                     void (*on_event)(void *owner, bool is_warning, const char *reason,
                                      const char *text),
                     void *owner);
