/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cluster's settings for TDX attestation: follows the KubeVirt CRs of all namespaces by one
 * list+watch and decides which values are in force.
 *
 *     exactly one CR                its values; of a field that it has wrong, what was in force
 *     two or more CRs               what was in force stays: KubeVirt allows one
 *     no CR, or no KubeVirt at all  the defaults (kubevirt.h)
 *     the CRs cannot be read        what was in force stays
 *
 * What was in force at the start is what the owner knows from an earlier run, or the defaults.
 *
 * A CR that is being deleted counts until it is gone: KubeVirt goes by it as long.
 *
 * Needs list and watch of kubevirts.kubevirt.io, in all namespaces. Loop thread only; callbacks
 * come from the loop only.
 */
#pragma once

#include "kube/kubevirt.h"
#include "kube/watch.h"

#include <stdbool.h>
#include <uv.h>

struct kube_api;
struct settings;

/* What a person may want to read, each in one line. Of two subjects, the CRs and whether they can
 * be read, what was said last holds until something else is said of the same subject. */
enum settings_news {
        /* The CRs. Told when another of these is the case, or its text is another one. */
        SETTINGS_NOT_SERVED, /* there is no CRD: KubeVirt is not installed */
        SETTINGS_NO_CR,
        SETTINGS_ONE_CR,  /* the values are those of a CR; the text has its name, not the values */
        SETTINGS_INVALID, /* warn: a field of the one CR, or both; has its name, the field and the
                             remedy */
        SETTINGS_SEVERAL, /* warn: has the names */
        /* Whether they can be read. Told when another of these is the case. */
        SETTINGS_FORBIDDEN,   /* warn: RBAC, or (401) the credentials */
        SETTINGS_UNREACHABLE, /* warn: no usable answer from the API server */
        SETTINGS_READABLE     /* after one of these two only */
};

/* "invalid" */
const char *settings_news_name(enum settings_news news);
/* Those marked warn above: something is ignored, and a person can help. */
bool settings_news_is_warning(enum settings_news news);

struct settings_options {
        uv_loop_t *loop;
        struct kube_api *api; /* outlives the settings */
        kubevirt_check_path *check_path;
        /* In force until the cluster says otherwise; copied. NULL: the defaults. */
        const struct kubevirt_attestation *last_known;
        /* Zeros: as kube_watch, but a KubeVirt that is not installed is looked for every 30 s. */
        struct kube_watch_timing timing;
        /* Either may be NULL. Inside them settings_free() may not be called. */

        /* The values in force are others, or are known for the first time (then, whatever they
         * are). Borrowed. */
        void (*on_changed)(void *owner, const struct kubevirt_attestation *in_force);
        /* Something to log; before the on_changed that it explains. The text is one line, valid
         * UTF-8, and begins in lower case. */
        void (*on_news)(void *owner, enum settings_news news, const char *text);
        void *owner;
};

/* options is copied. Nothing is asked before settings_start(). */
struct settings *settings_new(const struct settings_options *options);
/* Once. */
void settings_start(struct settings *settings);
/* No callback runs any more. NULL is fine. */
void settings_free(struct settings *settings);

/* Whether the API server has said what there is: it answered a list, does not serve the CRs or
 * forbids to read them. Until then settings_in_force() has last_known or the defaults, for an
 * owner who does not want to wait any longer. Once known, always known. */
bool settings_is_known(const struct settings *settings);
/* Borrowed until the next on_changed. */
const struct kubevirt_attestation *settings_in_force(const struct settings *settings);
