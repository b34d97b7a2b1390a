/* SPDX-License-Identifier: Apache-2.0 */
#include "sharing.h"

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/parse.h"
#include "holdings.h"
#include "ledger.h"
#include "podresources.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define POLL_MS           5000  /* while anything is held: podresources does not notify */
#define AFTER_ALLOCATE_MS 300   /* kubelet lists a device some 20 ms after Allocate returned */
#define RETRY_MS          1000  /* podresources did not answer, and we do not know who holds what */
#define KUBELET_SETTLE_MS 5000  /* after its start kubelet lists nothing for up to a second */
#define IGNORANCE_MAX_MS  10000 /* then what was written down must do */
#define RECORD            "plugin-devices"
#define RECORD_MAX        (1 << 20)

struct sharing {
        struct sharing_options options;
        struct holdings *holdings;
        struct deviceplugin *plugin;
        struct podresources *podresources;
        char *directory;
        char *podresources_socket;
        uv_timer_t poll;
        uv_timer_t expiry;
        uint64_t started_ms; /* 0: not active yet */
        bool is_known;
        bool is_unwritten; /* the record is behind */
        bool is_silent;    /* the last question was not answered */
        bool is_stopping;
};

unsigned sharing_plugin_limit(unsigned total, int64_t split, unsigned n_claims_held)
{
        unsigned reserved = split < 0 ? 0 : split < total ? (unsigned)split : total;

        if (n_claims_held > reserved)
                reserved = n_claims_held;
        return total > reserved ? total - reserved : 0;
}

unsigned sharing_elsewhere(unsigned total, int64_t split, unsigned n_plugin_held)
{
        unsigned kept = split < 0 ? 0 : split < total ? total - (unsigned)split : 0;

        return n_plugin_held > kept ? n_plugin_held : kept;
}

static unsigned n_held(const struct sharing *sharing)
{
        return (unsigned)holdings_n(sharing->holdings);
}

/* ---- the offer ---- */

/* IDs tdx0 ... tdx<total-1> and every other that is held. Healthy are the held ones, and as many
 * free ones, the lowest, as there is room for. */
static void offer(struct sharing *sharing)
{
        const struct ledger *ledger = sharing->options.ledger;
        unsigned total = ledger_total(ledger), n = 0, n_free = 0;
        unsigned limit = sharing_plugin_limit(total, sharing->options.split, ledger_held(ledger));
        size_t n_most = total + holdings_n(sharing->holdings);
        __attribute__((cleanup(cleanup_free))) struct deviceplugin_device *devices =
                xcalloc(n_most, sizeof(*devices));
        __attribute__((cleanup(cleanup_free))) char(*names)[sizeof("tdx4095")] =
                xcalloc(total, sizeof(*names));

        if (sharing->options.is_offering && limit > n_held(sharing))
                n_free = limit - n_held(sharing);
        for (unsigned i = 0; i < total; ++i) {
                enum holdings_state state;

                snprintf(names[i], sizeof(names[i]), "tdx%u", i % DEVICE_INDEX_MAX);
                state = holdings_state(sharing->holdings, names[i]);
                devices[n].id = names[i];
                devices[n].is_healthy =
                        state == HOLDINGS_HELD || (state == HOLDINGS_FREE && n_free);
                if (state == HOLDINGS_FREE && n_free)
                        --n_free;
                ++n;
        }
        for (const char *id = holdings_next(sharing->holdings, NULL); id;
             id = holdings_next(sharing->holdings, id)) {
                unsigned index;

                if (parse_device_name(id, &index) == 0 && index < total)
                        continue;
                devices[n++] = (struct deviceplugin_device){ .id = id, .is_healthy = true };
        }
        deviceplugin_set(sharing->plugin, devices, n);
}

void sharing_update(struct sharing *sharing)
{
        if (!sharing->is_known || sharing->is_stopping)
                return;
        ledger_set_elsewhere(sharing->options.ledger,
                             sharing_elsewhere(ledger_total(sharing->options.ledger),
                                               sharing->options.split, n_held(sharing)));
        offer(sharing);
}

/* ---- what was written down ---- */

/* Not the truth, which kubelet has, but better than nothing where kubelet cannot be asked after a
 * restart. */
static void write_down(struct sharing *sharing)
{
        _cleanup_(json) struct json *ids = json_new_array();
        __attribute__((cleanup(cleanup_close))) int fd = -1;
        __attribute__((cleanup(cleanup_free))) char *text = NULL;
        struct error error = ERROR_NULL;

        for (const char *id = holdings_next(sharing->holdings, NULL); id;
             id = holdings_next(sharing->holdings, id))
                json_append(ids, json_new_string(id));
        text = json_print(ids);
        fd = open(sharing->options.state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0 || file_replace(fd, RECORD, text, strlen(text), 0600, FILE_UNSYNCED, &error) < 0)
                log_warn("cannot write down who holds plugin devices, going on",
                         log_str("reason", error.text));
}

static void read_back(struct sharing *sharing)
{
        __attribute__((cleanup(cleanup_free))) char *path =
                xasprintf("%s/" RECORD, sharing->options.state_dir);
        __attribute__((cleanup(cleanup_free))) char *bytes = NULL;
        _cleanup_(json) struct json *ids = NULL;
        struct error error = ERROR_NULL;
        size_t n;

        if (file_read(AT_FDCWD, path, RECORD_MAX, &bytes, &n, &error) < 0) {
                if (error.code != -ENOENT)
                        log_warn("cannot read who held plugin devices",
                                 log_str("reason", error.text));
                return;
        }
        if (json_parse(bytes, n, &ids, &error) < 0) {
                log_warn("cannot read who held plugin devices", log_str("file", path),
                         log_str("reason", error.text));
                return;
        }
        for (const struct json *id = json_first(ids); id; id = json_next(id)) {
                const char *string = json_string(id);

                if (string)
                        (void)holdings_observe(sharing->holdings, &string, 1, false, 0);
        }
}

/* ---- asking kubelet ---- */

static void on_poll(uv_timer_t *poll);
static void on_expiry(uv_timer_t *expiry);

static void schedule(struct sharing *sharing)
{
        uint64_t now = uv_now(sharing->options.loop),
                 expiry = holdings_next_expiry_ms(sharing->holdings);

        if (!sharing->is_known)
                uv_timer_start(&sharing->poll, on_poll, RETRY_MS, 0);
        else if (holdings_n(sharing->holdings))
                uv_timer_start(&sharing->poll, on_poll, POLL_MS, 0);
        if (expiry != UINT64_MAX)
                uv_timer_start(&sharing->expiry, on_expiry, expiry > now ? expiry - now : 0, 0);
}

static void changed(struct sharing *sharing)
{
        sharing_update(sharing);
        sharing->options.on_changed(sharing->options.owner);
}

static void learn(struct sharing *sharing, bool is_changed)
{
        bool was_known = sharing->is_known;

        sharing->is_known = true;
        if (is_changed)
                log_info("plugin devices held", log_int("devices", n_held(sharing)));
        if (is_changed || sharing->is_unwritten)
                write_down(sharing);
        sharing->is_unwritten = false;
        if (is_changed || !was_known)
                changed(sharing);
}

static void on_list(void *owner, const char *const *ids, size_t n, const struct error *error)
{
        struct sharing *sharing = owner;
        uint64_t now = uv_now(sharing->options.loop);

        if (error->code) {
                if (!sharing->is_silent)
                        log_warn("kubelet does not tell who holds plugin devices, keeping what is "
                                 "known",
                                 log_str("reason", error->text));
                sharing->is_silent = true;
                if (!sharing->is_known && now - sharing->started_ms >= IGNORANCE_MAX_MS)
                        learn(sharing, false);
        } else {
                bool is_complete =
                        deviceplugin_kubelet_age_ms(sharing->plugin) >= KUBELET_SETTLE_MS;

                bool is_changed = holdings_observe(sharing->holdings, ids, n, is_complete, now);

                sharing->is_silent = false;
                if (is_complete || sharing->is_known)
                        learn(sharing, is_changed);
        }
        schedule(sharing);
}

static void on_poll(uv_timer_t *poll)
{
        struct sharing *sharing = poll->data;

        podresources_ask(sharing->podresources);
}

static void on_expiry(uv_timer_t *expiry)
{
        struct sharing *sharing = expiry->data;

        if (holdings_expire(sharing->holdings, uv_now(sharing->options.loop)))
                learn(sharing, true);
        schedule(sharing);
}

/* ---- what the plugin asks ---- */

static int on_allocate(void *owner, const char *const *ids, size_t n, struct error *err)
{
        struct sharing *sharing = owner;
        const struct ledger *ledger = sharing->options.ledger;
        unsigned total = ledger_total(ledger);
        unsigned limit = sharing_plugin_limit(total, sharing->options.split, ledger_held(ledger));
        size_t n_new = holdings_n_new(sharing->holdings, ids, n);

        if (!sharing->is_known)
                return error_set(err, -EAGAIN,
                                 "the driver has just started and does not know yet what is free");
        if (n_new && n_held(sharing) + n_new > limit)
                return error_set(err, -ENOSPC,
                                 "no TD is free: claims hold %u and pods %u of %u TDs; try again "
                                 "or choose another node",
                                 ledger_held(ledger), n_held(sharing), total);
        holdings_allocate(sharing->holdings, ids, n, uv_now(sharing->options.loop));
        if (n_new) {
                log_info("plugin devices allocated", log_int("devices", (int64_t)n),
                         log_str("first", ids[0]), log_int("held", n_held(sharing)));
                /* Written down with the next list: kubelet waits for the answer in pod admission.
                 */
                sharing->is_unwritten = true;
                uv_timer_start(&sharing->poll, on_poll, AFTER_ALLOCATE_MS, 0);
                changed(sharing);
        }
        return 0;
}

static void on_kubelet_started(void *owner)
{
        struct sharing *sharing = owner;

        podresources_ask(sharing->podresources);
}

static void on_standing(void *owner, enum deviceplugin_standing standing, const char *reason)
{
        switch (standing) {
        case DEVICEPLUGIN_REGISTERED:
                log_info("the device plugin is registered",
                         log_str("resource", DEVICEPLUGIN_RESOURCE));
                return;
        case DEVICEPLUGIN_STANDS_BACK:
                log_error("another device plugin serves " DEVICEPLUGIN_RESOURCE
                          " on this node, ours stands back; what it "
                          "hands out is counted. Turn it off (KubeVirt's own: see README), or run "
                          "with --serve=dra",
                          log_str("socket", reason));
                return;
        case DEVICEPLUGIN_UNREGISTERED:
                log_info("the device plugin takes over", log_str("reason", reason));
                return;
        }
}

/* ---- life ---- */

struct sharing *sharing_new(const struct sharing_options *options)
{
        struct sharing *sharing = xcalloc(1, sizeof(*sharing));
        struct deviceplugin_options plugin_options;
        struct podresources_options podresources_options;

        sharing->options = *options;
        sharing->holdings = holdings_new();
        sharing->directory = xasprintf("%s/device-plugins", options->kubelet_dir);
        sharing->podresources_socket =
                xasprintf("%s/pod-resources/kubelet.sock", options->kubelet_dir);
        uv_timer_init(options->loop, &sharing->poll);
        uv_timer_init(options->loop, &sharing->expiry);
        sharing->poll.data = sharing;

        sharing->expiry.data = sharing;

        podresources_options =
                (struct podresources_options){ .pump = options->pump,
                                               .socket = sharing->podresources_socket,
                                               .resource = DEVICEPLUGIN_RESOURCE,
                                               .on_list = on_list,
                                               .owner = sharing };
        sharing->podresources = podresources_new(&podresources_options);
        plugin_options = (struct deviceplugin_options){ .loop = options->loop,
                                                        .pump = options->pump,
                                                        .server = options->server,
                                                        .directory = sharing->directory,
                                                        .mount_path = options->mount_path,
                                                        .inject = options->inject,
                                                        .on_allocate = on_allocate,
                                                        .on_kubelet_started = on_kubelet_started,
                                                        .on_standing = on_standing,
                                                        .owner = sharing };
        sharing->plugin = deviceplugin_new(&plugin_options);
        return sharing;
}

void sharing_start(struct sharing *sharing)
{
        sharing->started_ms = uv_now(sharing->options.loop);
        read_back(sharing);
        podresources_ask(sharing->podresources);
}

void sharing_check(struct sharing *sharing)
{
        deviceplugin_check(sharing->plugin);
}

bool sharing_is_known(const struct sharing *sharing)
{
        return sharing->is_known;
}

void sharing_stop(struct sharing *sharing)
{
        sharing->is_stopping = true;
        uv_timer_stop(&sharing->poll);
        uv_timer_stop(&sharing->expiry);
        podresources_stop(sharing->podresources);
        deviceplugin_stop(sharing->plugin);
}

static void on_closed(uv_handle_t *handle)
{
        struct sharing *sharing = handle->data;

        holdings_free(sharing->holdings);
        free(sharing->directory);
        free(sharing->podresources_socket);
        free(sharing);
}

static void on_poll_closed(uv_handle_t *handle)
{
        struct sharing *sharing = handle->data;

        uv_close((uv_handle_t *)&sharing->expiry, on_closed);
}

void sharing_free(struct sharing *sharing)
{
        if (!sharing)
                return;
        podresources_free(sharing->podresources);
        deviceplugin_free(sharing->plugin);
        uv_close((uv_handle_t *)&sharing->poll, on_poll_closed);
}
