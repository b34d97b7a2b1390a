/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/settings.h"

#include "base/error.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/text.h"
#include "kube/api.h"

#include <assert.h>
#include <string.h>

/* How often to look for a KubeVirt that is not installed. One GET per node and interval is a
 * negligible load even with a thousand nodes. */
#define NOT_SERVED_MS   30000U
#define NAMES_TOLD_MAX  4U
#define NAME_LENGTH_MAX 130 /* bytes of "namespace/name" in a text */

/* The parts of a CR that we keep: a real one may have a megabyte. */
struct cr {
        char *name; /* "namespace/name" */
        struct kubevirt_attestation attestation;
        bool is_refused; /* at least one field is refused */
};

struct settings {
        struct settings_options options;
        struct kube_watch *watch;
        struct cr *crs; /* sorted by name, so that the same set always gives the same text */
        size_t n_crs;
        bool is_served;
        bool is_known;
        struct kubevirt_attestation in_force;

        /* The news told last, about the CRs and about reading them. */
        enum settings_news news;
        char *news_text; /* NULL: nothing yet */
        bool has_trouble;
        enum settings_news trouble;

        bool is_telling; /* inside a callback */
};

const char *settings_news_name(enum settings_news news)
{
        static const char *const names[] = {
                [SETTINGS_NOT_SERVED] = "not served",   [SETTINGS_NO_CR] = "no CR",
                [SETTINGS_ONE_CR] = "one CR",           [SETTINGS_INVALID] = "invalid",
                [SETTINGS_SEVERAL] = "several",         [SETTINGS_FORBIDDEN] = "forbidden",
                [SETTINGS_UNREACHABLE] = "unreachable", [SETTINGS_READABLE] = "readable",
        };

        return (size_t)news < array_size(names) ? names[news] : "unknown";
}

bool settings_news_is_warning(enum settings_news news)
{
        return news == SETTINGS_INVALID || news == SETTINGS_SEVERAL || news == SETTINGS_FORBIDDEN ||
               news == SETTINGS_UNREACHABLE;
}

/* ---- the CRs ---- */

static void cr_deinit(struct cr *cr)
{
        free(cr->name);
        kubevirt_attestation_deinit(&cr->attestation);
}

static void forget_all(struct settings *settings)
{
        while (settings->n_crs)
                cr_deinit(&settings->crs[--settings->n_crs]);
}

static char *name_of(const struct json *object)
{
        const struct json *metadata = json_get(object, "metadata");
        const char *namespace_ = json_string(json_get(metadata, "namespace"));
        const char *name = json_string(json_get(metadata, "name"));
        char *full = xasprintf("%s/%s", namespace_ ? namespace_ : "", name ? name : "");

        text_make_utf8(full);
        return full;
}

/* The position of the CR of that name, or where to insert it. */
static size_t find(const struct settings *settings, const char *name)
{
        size_t at = 0;

        while (at < settings->n_crs && strcmp(settings->crs[at].name, name) < 0)
                ++at;
        return at;
}

static bool is_at(const struct settings *settings, size_t at, const char *name)
{
        return at < settings->n_crs && strcmp(settings->crs[at].name, name) == 0;
}

static void take_in(struct settings *settings, const struct json *object)
{
        _cleanup_(free) char *name = name_of(object);
        size_t at = find(settings, name);
        struct cr *cr;

        if (is_at(settings, at, name)) {
                cr_deinit(&settings->crs[at]);
        } else {
                settings->crs =
                        xreallocarray(settings->crs, settings->n_crs + 1, sizeof(*settings->crs));
                memmove(&settings->crs[at + 1], &settings->crs[at],
                        (settings->n_crs++ - at) * sizeof(*settings->crs));
        }
        cr = &settings->crs[at];
        *cr = (struct cr){ .name = take_ptr(name) };
        cr->is_refused = kubevirt_attestation_parse(object, settings->options.check_path,
                                                    &cr->attestation) == KUBEVIRT_REFUSED;
}

static void forget(struct settings *settings, const struct json *object)
{
        _cleanup_(free) char *name = name_of(object);
        size_t at = find(settings, name);

        if (!is_at(settings, at, name))
                return;
        cr_deinit(&settings->crs[at]);
        memmove(&settings->crs[at], &settings->crs[at + 1],
                (--settings->n_crs - at) * sizeof(*settings->crs));
}

/* ---- news ---- */

static void tell_news(struct settings *settings, enum settings_news news, const char *text)
{
        if (!settings->options.on_news)
                return;
        settings->is_telling = true;
        settings->options.on_news(settings->options.owner, news, text);
        settings->is_telling = false;
}

/* News about the CRs; takes text over. */
static void tell_crs(struct settings *settings, enum settings_news news, char *text)
{
        text_make_utf8(text); /* a name may have been cut inside a character */
        if (settings->news_text && settings->news == news &&
            strcmp(settings->news_text, text) == 0) {
                free(text);
                return;
        }
        free(settings->news_text);
        settings->news = news;
        settings->news_text = text;
        tell_news(settings, news, text);
}

/* Copies the values that are not refused; NULL: keep those in force. True: tell the owner. */
static bool put_in_force(struct settings *settings, const struct kubevirt_attestation *values)
{
        _cleanup_(kubevirt_attestation) struct kubevirt_attestation before =
                kubevirt_attestation_copy(&settings->in_force);
        bool is_first = !settings->is_known;

        settings->is_known = true;
        if (values)
                kubevirt_attestation_follow(&settings->in_force, values);
        return is_first || !kubevirt_attestation_equal(&before, &settings->in_force);
}

static void tell_changed(struct settings *settings)
{
        if (!settings->options.on_changed)
                return;
        settings->is_telling = true;
        settings->options.on_changed(settings->options.owner, &settings->in_force);
        settings->is_telling = false;
}

/* ---- the decision ---- */

static char *describe_several(const struct settings *settings)
{
        struct text text = TEXT_NULL;

        text_addf(&text, "there are %zu KubeVirt CRs (", settings->n_crs);
        for (size_t i = 0; i < settings->n_crs && i < NAMES_TOLD_MAX; ++i)
                text_addf(&text, "%s%.*s", i ? ", " : "", NAME_LENGTH_MAX, settings->crs[i].name);
        text_addf(&text,
                  "%s) where KubeVirt allows one: the values in force stay; delete all but one",
                  settings->n_crs > NAMES_TOLD_MAX ? ", ..." : "");
        return text_take(&text);
}

static char *describe_refusal(const struct cr *cr)
{
        const char *enforced = cr->attestation.enforced_refusal,
                   *socket = cr->attestation.qgs_socket_refusal;

        if (enforced && socket && strcmp(enforced, socket) != 0)
                return xasprintf("both values of KubeVirt CR %.*s are refused, the last ones stay "
                                 "in force: %s; and %s",
                                 NAME_LENGTH_MAX, cr->name, enforced, socket);
        if (enforced && socket)
                return xasprintf("KubeVirt CR %.*s is refused, the last values stay in force: %s",
                                 NAME_LENGTH_MAX, cr->name, enforced);
        return xasprintf("a value of KubeVirt CR %.*s is refused, its previous value stays in "
                         "force, the rest of the CR is followed: %s",
                         NAME_LENGTH_MAX, cr->name, enforced ? enforced : socket);
}

static char *describe(const struct settings *settings, enum settings_news news)
{
        const struct cr *cr = settings->crs;

        if (news == SETTINGS_NOT_SERVED)
                return xstrdup("this cluster does not serve kubevirt.io/v1, KubeVirt is not "
                               "installed: the default values are in force");
        if (news == SETTINGS_NO_CR)
                return xstrdup("there is no KubeVirt CR: the default values are in force");
        if (news == SETTINGS_SEVERAL)
                return describe_several(settings);
        if (news == SETTINGS_INVALID)
                return describe_refusal(cr);
        return xasprintf("the values of KubeVirt CR %.*s are in force", NAME_LENGTH_MAX, cr->name);
}

/* The CRs are known: choose the values to put in force, and report both. */
static void decide(struct settings *settings)
{
        __attribute__((
                cleanup(cleanup_kubevirt_attestation))) struct kubevirt_attestation defaults =
                kubevirt_attestation_defaults();
        const struct kubevirt_attestation *values = NULL;
        enum settings_news news;
        bool is_changed;

        if (settings->n_crs > 1) {
                news = SETTINGS_SEVERAL;
        } else if (settings->n_crs) {
                news = settings->crs[0].is_refused ? SETTINGS_INVALID : SETTINGS_ONE_CR;
                values = &settings->crs[0].attestation;
        } else {
                news = settings->is_served ? SETTINGS_NO_CR : SETTINGS_NOT_SERVED;
                values = &defaults;
        }
        is_changed = put_in_force(settings, values);
        tell_crs(settings, news, describe(settings, news));
        if (is_changed)
                tell_changed(settings);
}

/* ---- callbacks of the watch ---- */

static void on_list(void *owner, const struct json *items)
{
        struct settings *settings = owner;

        forget_all(settings);
        settings->is_served = true;
        for (const struct json *item = json_first(items); item; item = json_next(item))
                take_in(settings, item);
        decide(settings);
}

static void on_event(void *owner, enum kube_watch_type type, const struct json *object)
{
        struct settings *settings = owner;

        if (type == KUBE_DELETED)
                forget(settings, object);
        else
                take_in(settings, object);
        decide(settings);
}

static void on_recovered(void *owner)
{
        struct settings *settings = owner;

        if (!settings->has_trouble)
                return;
        settings->has_trouble = false;
        tell_news(settings, SETTINGS_READABLE, "the KubeVirt CR can be read again");
}

static void tell_trouble(struct settings *settings, enum settings_news news, const char *what,
                         const struct error *error)
{
        _cleanup_(free) char *text = NULL;

        if (settings->has_trouble && settings->trouble == news)
                return;
        settings->has_trouble = true;
        settings->trouble = news;
        text = xasprintf("%s: %s", what, error->text);
        tell_news(settings, news, text);
}

static void on_trouble(void *owner, enum kube_outcome outcome, const struct error *error)
{
        struct settings *settings = owner;

        if (outcome == KUBE_NOT_SERVED) {
                /* A starting API server answers 503 until it knows its CRDs, so this 404 is not a
                 * passing one. */
                forget_all(settings);
                settings->is_served = false;
                on_recovered(settings);
                decide(settings);
        } else if (outcome == KUBE_FORBIDDEN) {
                bool is_first = put_in_force(settings, NULL);

                tell_trouble(settings, SETTINGS_FORBIDDEN,
                             "list and watch of kubevirts.kubevirt.io are not permitted, keeping "
                             "the values in force",
                             error);
                if (is_first)
                        tell_changed(settings);
        } else {
                tell_trouble(
                        settings, SETTINGS_UNREACHABLE,
                        "cannot read the KubeVirt CR, trying again; keeping the values in force",
                        error);
        }
}

static const struct kube_watch_callbacks callbacks = { .on_list = on_list,
                                                       .on_event = on_event,
                                                       .on_trouble = on_trouble,
                                                       .on_recovered = on_recovered };

/* ---- life ---- */

struct settings *settings_new(const struct settings_options *options)
{
        struct settings *settings = xcalloc(1, sizeof(*settings));
        struct kube_watch_options watch_options = { .path = KUBE_PATH_KUBEVIRTS,
                                                    .list_kind = "KubeVirtList",
                                                    .timing = options->timing };

        if (!watch_options.timing.not_served_ms)
                watch_options.timing.not_served_ms = NOT_SERVED_MS;
        settings->options = *options;
        settings->in_force = options->last_known ? kubevirt_attestation_copy(options->last_known)
                                                 : kubevirt_attestation_defaults();
        settings->options.last_known = NULL;
        settings->watch =
                kube_watch_new(options->loop, options->api, &watch_options, &callbacks, settings);
        return settings;
}

void settings_start(struct settings *settings)
{
        kube_watch_start(settings->watch);
}

void settings_look(struct settings *settings)
{
        kube_watch_resync(settings->watch);
}

void settings_free(struct settings *settings)
{
        if (!settings)
                return;
        assert(!settings->is_telling);
        kube_watch_free(settings->watch);
        forget_all(settings);
        free(settings->crs);
        free(settings->news_text);
        kubevirt_attestation_deinit(&settings->in_force);
        free(settings);
}

bool settings_is_known(const struct settings *settings)
{
        return settings->is_known;
}

const struct kubevirt_attestation *settings_in_force(const struct settings *settings)
{
        return &settings->in_force;
}
