/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by test-settings.c and test-settings-outage.c. */
#pragma once

#include "base/error.h"
#include "base/json.h"
#include "kube/credentials.h"
#include "kube/settings.h"
#include "unit/stub-http.h"
#include "unit/suite.h"

#include <errno.h>

static uv_loop_t loop;
static struct stub_server server;
static struct http *http;
static struct kube_api *api;
static struct settings *settings;
/* The callbacks' arguments, as text: "<one CR> [true /run/a/s] <invalid> ...". */
static struct text story;
static struct text texts; /* the reports, one per line */
static unsigned n_told;

static inline int check_path(const char *path, struct error *err)
{
        if (strncmp(path, "/run/", 5) == 0 || strcmp(path, KUBEVIRT_QGS_SOCKET) == 0)
                return 0;
        return error_set(err, -EINVAL, KUBEVIRT_QGS_SOCKET_FIELD ": \"%s\" is shared", path);
}

static inline void on_changed(void *owner, const struct kubevirt_attestation *in_force)
{
        ck_assert_ptr_eq(owner, &story);
        ck_assert(settings_is_known(settings));
        ck_assert_ptr_eq(in_force, settings_in_force(settings));
        /* "!" after a value: it is the previous one, because the CR's was refused. */
        text_addf(&story, "[%s%s %s%s] ", in_force->is_enforced ? "true" : "false",
                  in_force->enforced_refusal ? "!" : "", in_force->qgs_socket,
                  in_force->qgs_socket_refusal ? "!" : "");
        ++n_told;
}

static inline void on_news(void *owner, enum settings_news news, const char *text)
{
        ck_assert_ptr_eq(owner, &story);
        text_addf(&story, "<%s> ", settings_news_name(news));
        text_addf(&texts, "%s\n", text);
        ++n_told;
}

/* Retries within milliseconds; a watch must be proved by an event, unless short_ms says otherwise.
 */
static const struct kube_watch_timing quick = { .first_ms = 1,
                                                .cap_ms = 5,
                                                .not_served_ms = 3,
                                                .short_ms = 100000,
                                                .opening_ms = 100000,
                                                .silence_ms = 100000 };
/* A watch counts as standing as soon as it is answered. */
static const struct kube_watch_timing trusting = { .first_ms = 1,
                                                   .cap_ms = 5,
                                                   .not_served_ms = 3,
                                                   .short_ms = 1,
                                                   .opening_ms = 100000,
                                                   .silence_ms = 100000 };

static const struct kubevirt_attestation *last_known; /* NULL: none */

static inline void set_up_timed(const struct stub_answer *answers, size_t n_answers,
                                const struct kube_watch_timing *timing)
{
        n_told = 0;
        ck_assert_int_eq(uv_loop_init(&loop), 0);
        stub_start(&server, &loop, answers, n_answers);
        http = stub_client(&server);
        api = kube_api_new(http);
        settings = settings_new(&(struct settings_options){ .loop = &loop,
                                                            .api = api,
                                                            .check_path = check_path,
                                                            .last_known = last_known,
                                                            .timing = *timing,
                                                            .on_changed = on_changed,
                                                            .on_news = on_news,
                                                            .owner = &story });
        ck_assert(!settings_is_known(settings));
        ck_assert_str_eq(settings_in_force(settings)->qgs_socket,
                         last_known ? last_known->qgs_socket : KUBEVIRT_QGS_SOCKET);
        settings_start(settings);
}

static inline void set_up(const struct stub_answer *answers, size_t n_answers)
{
        set_up_timed(answers, n_answers, &quick);
}

static inline void tear_down(void)
{
        settings_free(settings);
        kube_api_free(api);
        http_free(http);
        stub_stop(&server);
        text_deinit(&story);
        text_deinit(&texts);
}

static inline void run_until_told(unsigned n)
{
        stub_set_deadline(&server);
        while (n_told < n)
                uv_run(&loop, UV_RUN_ONCE);
        uv_timer_stop(&server.tick);
}

/* The newest request is a watch that stands: send it a line. */
static inline void send_line(const char *line)
{
        ck_assert_ptr_nonnull(strstr(server.targets[server.n_requests - 1], "watch=1"));
        stub_send(server.last, line);
}

/* The newest request is a watch: let it stand, then cut the connection. */
static inline void cut_standing_watch(void)
{
        send_line(
                "{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":\"10\"}}}\n");
        stub_finish(server.last);
}

#define DEFAULTS "[false " KUBEVIRT_QGS_SOCKET "] "
#define KEPT     "[false! " KUBEVIRT_QGS_SOCKET "] " /* the enforced value is refused */

#define LIST(version, items)                                                            \
        {                                                                               \
                200, NULL,                                                              \
                        "{\"kind\":\"KubeVirtList\",\"metadata\":{\"resourceVersion\":" \
                        "\"" version "\"},\"items\":[" items "]}"                       \
        }
#define CR_OF(metadata, attestation)                                                               \
        "{\"metadata\":{" metadata "},\"spec\":{\"configuration\":{\"confidentialCompute\":{\"tdx" \
        "\":{\"attestation\":" attestation "}}}}}"
#define NAME(name)            "\"namespace\":\"ns\",\"name\":\"" name "\""
#define CR(name, attestation) CR_OF(NAME(name), attestation)
#define GOOD(path)            "{\"enforced\":true,\"qgsSocketPath\":\"" path "\"}"
#define BAD                   "{\"enforced\":\"yes\"}"
#define LINE(type, version, name, attestation)      \
        "{\"type\":\"" type "\",\"object\":" CR_OF( \
                NAME(name) ",\"resourceVersion\":\"" version "\"", attestation) "}\n"
#define STREAM                                     \
        {                                          \
                200, NULL, NULL, .is_stream = true \
        }
#define NOT_SERVED                                \
        {                                         \
                404, NULL, "404 page not found\n" \
        }
#define FORBIDDEN                                                                                 \
        {                                                                                         \
                403, NULL,                                                                        \
                        "{\"kind\":\"Status\",\"message\":\"kubevirts.kubevirt.io is forbidden: " \
                        "User \\\"u\\\" cannot list\",\"code\":403}"                              \
        }
