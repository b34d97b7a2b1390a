/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cluster's settings for TDX attestation: follows the KubeVirt CRs of all namespaces by one
 * list+watch and decides which values are in force.
 *
 *     exactly one CR                its values; a refused field keeps its previous value
 *     two or more CRs               the values in force stay: KubeVirt allows one CR
 *     no CR, or no KubeVirt at all  the defaults (kubevirt.h)
 *     the CRs cannot be read        the values in force stay
 *
 * At the start the values from the owner's last run are in force, or the defaults.
 *
 * A CR that is being deleted counts until it is gone, because KubeVirt follows it until then.
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

/* News for a person, one line each. There are two subjects: the CRs, and whether they can be read.
 * The latest news on a subject holds until there is other news on it. */
enum settings_news {
        /* The CRs. Reported when the case or its text changes. */
        SETTINGS_NOT_SERVED, /* there is no CRD: KubeVirt is not installed */
        SETTINGS_NO_CR,
        SETTINGS_ONE_CR,  /* the values are those of a CR; the text has its name, not the values */
        SETTINGS_INVALID, /* warn: the CR's value of one field or both is refused; has its name, the
                             field and the remedy */
        SETTINGS_SEVERAL, /* warn: has the names */
        /* Whether they can be read. Reported when the case changes. */
        SETTINGS_FORBIDDEN,   /* warn: RBAC, or (401) the credentials */
        SETTINGS_UNREACHABLE, /* warn: no usable answer from the API server */
        SETTINGS_READABLE     /* after one of these two only */
};

/* "invalid" */
const char *settings_news_name(enum settings_news news);
/* True for those marked warn above: something is ignored, and a person can fix it. */
bool settings_news_is_warning(enum settings_news news);

struct settings_options {
        uv_loop_t *loop;
        struct kube_api *api; /* outlives the settings */
        kubevirt_check_path *check_path;
        /* In force until the cluster says otherwise; copied. NULL: the defaults. */
        const struct kubevirt_attestation *last_known;
        /* Zeros: kube_watch's defaults, except that a missing KubeVirt is looked for every 30 s. */
        struct kube_watch_timing timing;
        /* Either may be NULL. Neither may call settings_free(). */

        /* The values in force changed, or are known for the first time. Borrowed. */
        void (*on_changed)(void *owner, const struct kubevirt_attestation *in_force);
        /* News to log, before the on_changed that it explains. The text is one line, valid UTF-8,
         * and begins in lower case. */
        void (*on_news)(void *owner, enum settings_news news, const char *text);
        void *owner;
};

/* options is copied. Nothing is asked before settings_start(). */
struct settings *settings_new(const struct settings_options *options);
/* Once. */
void settings_start(struct settings *settings);
/* List the CRs again now. */
void settings_look(struct settings *settings);
/* No callback runs again. NULL is fine. */
void settings_free(struct settings *settings);

/* Whether the API server has answered: with a list, that it does not serve the CRs, or that we may
 * not read them. Until then settings_in_force() has last_known or the defaults, for an owner that
 * cannot wait any longer. Once known, always known. */
bool settings_is_known(const struct settings *settings);
/* Borrowed until the next on_changed. */
const struct kubevirt_attestation *settings_in_force(const struct settings *settings);
