/* SPDX-License-Identifier: Apache-2.0 */
#include "plugin/plugin.h"

#include "base/brake.h"
#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/timer.h"
#include "config.h"
#include "device.h"
#include "host/kubelet.h"
#include "host/podcgroup.h"
#include "ledger.h"
#include "plugin/holder.h"
#include "plugin/kubelet_checkpoint.h"
#include "plugin/podresources.h"
#include "plugin/record.h"
#include "plugin/sharing.h"

#include <errno.h>
#include <fcntl.h>

#define RECORDS_MAX (8 << 20)

/* Changes within this time go out as one list: with thousands of devices a list exceeds 100 KiB,
 * and every claim changes it. Admission checks the ledger, not the list, so the delay is safe. */
#define OFFER_DELAY_MS 50

struct plugin {
        struct plugin_options options;
        struct sharing *sharing; /* NULL before plugin_start(), and until it has a use */
        struct plugin_service *plugin;
        struct podresources *podresources;
        struct plugin_record *record;
        struct kubelet *kubelet;
        struct timer *question;
        struct timer *expiry;
        struct timer *offering;
        bool is_unwritten; /* the record is behind */
        bool is_silent;    /* the last question was not answered */
        bool stands_back;  /* a foreign plugin hands devices out */
        bool is_started;
        bool is_closed;
        bool is_stopping;
        uint64_t n_refused, n_unanswered;
};

static uint64_t now(const struct plugin *side)
{
        return uv_now(side->options.loop);
}

/* ---- the record: a fallback for when kubelet, the source of truth, cannot be asked or has
 * forgotten a pod whose containers run on ---- */

/* Remembers whether the record is behind after this write; plugin_check() retries. */
static void note_written(struct plugin *side, int r, const struct error *error)
{
        side->is_unwritten = r < 0;
        if (side->is_unwritten)
                log_warn_braked("cannot save the list of allocated devices; continuing without it",
                                log_str("reason", error->text));
}

struct holders {
        struct plugin_holder *all;
        size_t n;
};

static void on_holder(void *owner, const struct plugin_holder *holder)
{
        struct holders *holders = owner;

        holders->all[holders->n++] = *holder;
}

static void write_down(struct plugin *side)
{
        _cleanup_(free) struct plugin_holder *all = NULL;
        struct holders holders = { 0 };
        struct error error = ERROR_NULL;

        all = xcalloc(sharing_n_held(side->sharing), sizeof(*all));
        holders.all = all;
        sharing_each(side->sharing, on_holder, &holders);
        note_written(side, plugin_record_write(side->record, all, holders.n, &error), &error);
}

static void add_to_record(struct plugin *side, const char *const *ids, size_t n)
{
        _cleanup_(free) struct plugin_holder *added = NULL;
        struct error error = ERROR_NULL;
        int r;

        added = xcalloc(n, sizeof(*added));
        for (size_t i = 0; i < n; ++i)
                added[i].id = ids[i];
        r = plugin_record_append(side->record, added, n, &error);

        if (r == -ESTALE)
                write_down(side);
        else
                note_written(side, r, &error);
}

/* Look the cgroup up by UID, because --cgroup-root may have changed. If the UID finds none, a
 * missing recorded cgroup proves nothing either, so drop it. */
static void on_recorded(void *owner, const struct plugin_holder *recorded)
{
        struct plugin *side = owner;
        _cleanup_(free) char *cgroup = NULL;
        struct plugin_holder holder = *recorded;

        if (recorded->pod_uid)
                cgroup = podcgroup_find(side->options.cgroup_root, recorded->pod_uid);
        if (cgroup)
                holder.cgroup = cgroup;
        else if (recorded->cgroup && !podcgroup_is_running(recorded->cgroup))
                holder.cgroup = NULL;
        sharing_restore(side->sharing, &holder);
}

size_t plugin_n_recorded(const char *state_dir)
{
        return plugin_record_read(state_dir, NULL, NULL);
}

/* ---- the offer and the timers ---- */

static void on_offering(void *owner)
{
        struct plugin *side = owner;
        _cleanup_(free) struct sharing_device *devices = NULL;
        _cleanup_(free) struct plugin_service_device *offered = NULL;
        size_t n;

        /* Offer not even held devices: while kubelet has one healthy device, the scheduler sends no
         * plain pod to DRA. Running pods are not affected. */
        if (!side->options.serves) {
                plugin_service_set(side->plugin, NULL, 0);
                return;
        }
        devices = sharing_offer(side->sharing, &n);
        offered = xcalloc(n, sizeof(*offered));
        for (size_t i = 0; i < n; ++i)
                offered[i] = (struct plugin_service_device){ devices[i].id, devices[i].is_healthy };
        plugin_service_set(side->plugin, offered, n);
}

static void offer_soon(struct plugin *side)
{
        if (!side->is_stopping && !timer_is_running(side->offering))
                timer_start(side->offering, OFFER_DELAY_MS);
}

static void on_question(void *owner)
{
        struct plugin *side = owner;

        podresources_ask(side->podresources);
}

static void arm(const struct plugin *side, struct timer *timer, uint64_t due_ms)
{
        if (due_ms == UINT64_MAX)
                timer_stop(timer);
        else
                timer_start(timer, due_ms > now(side) ? due_ms - now(side) : 0);
}

static void schedule(struct plugin *side)
{
        uint64_t question_ms = sharing_next_question_ms(side->sharing);

        if (side->is_stopping)
                return;
        /* Only kubelet's list shows what a foreign plugin hands out. */
        if (side->stands_back && question_ms == UINT64_MAX)
                question_ms = now(side) + SHARING_POLL_MS;
        arm(side, side->question, question_ms);
        arm(side, side->expiry, sharing_next_expiry_ms(side->sharing));
}

static void take_in(struct plugin *side, bool is_changed)
{
        if (is_changed) {
                log_info("plugin devices held", log_int("devices", sharing_n_held(side->sharing)));
                side->is_unwritten = true;
        }
        if (side->is_unwritten)
                write_down(side);
        if (is_changed) {
                offer_soon(side);
                side->options.on_changed(side->options.owner);
        }
        schedule(side);
}

static void on_expiry(void *owner)
{
        struct plugin *side = owner;

        take_in(side, sharing_expire(side->sharing, now(side)));
}

static void on_device(void *owner, const char *id, const char *pod_uid)
{
        struct plugin *side = owner;
        _cleanup_(free) char *cgroup = NULL;

        if (!sharing_is_unplaced(side->sharing, id))
                return;
        cgroup = podcgroup_find(side->options.cgroup_root, pod_uid);
        side->is_unwritten |=
                sharing_place(side->sharing, &(struct plugin_holder){ id, pod_uid, cgroup });
        sharing_confirm(side->sharing, id, true);
}

/* 0; -ENOENT: kubelet has not written one; or another -errno. */
static int read_checkpoint(struct plugin *side)
{
        _cleanup_(free) char *path = NULL, *bytes = NULL;
        struct error error = ERROR_NULL;
        size_t n;
        int r;

        path = xasprintf("%s/" KUBELET_CHECKPOINT_NAME,
                         kubelet_device_plugin_directory(side->kubelet));
        r = file_read(AT_FDCWD, path, RECORDS_MAX, &bytes, &n, &error);
        if (!r) {
                sharing_confirm(side->sharing, NULL, false);
                r = kubelet_checkpoint_parse(bytes, n, PLUGIN_SERVICE_RESOURCE, on_device, side,
                                             &error);
        }
        if (r < 0)
                log_debug("kubelet's device checkpoint does not say which pod has which device",
                          log_str("file", path), log_str("reason", error.text));
        return r;
}

/* Find the pods' cgroups, which show a pod's end before kubelet forgets it. Only after a List:
 * until kubelet lists an ID, its checkpoint may still name the previous pod. */
static void place_held(struct plugin *side)
{
        if (!sharing_is_unplaced(side->sharing, NULL))
                return;
        (void)read_checkpoint(side);
        if (side->is_unwritten)
                write_down(side);
}

/* Before an Allocate of these IDs: find out whether those in flight go to another container of the
 * same pod. kubelet writes its checkpoint at the end of each container's allocation, so while there
 * is none, it cannot have forgotten an allocation that we saw. */
static void confirm_in_flight(struct plugin *side, const char *const *ids, size_t n)
{
        size_t n_in_flight = 0;
        int r;

        for (size_t i = 0; i < n; ++i)
                n_in_flight += sharing_is_in_flight(side->sharing, ids[i]);
        if (!n_in_flight)
                return;
        sharing_confirm(side->sharing, NULL, false);
        r = read_checkpoint(side);
        for (size_t i = 0; r == -ENOENT && i < n; ++i)
                sharing_confirm(side->sharing, ids[i], true);
}

static void on_claims(void *owner, const struct device_prepared *devices, size_t n, bool has_pods,
                      const struct error *error)
{
        struct plugin *side = owner;

        if (side->options.on_claims)
                side->options.on_claims(side->options.owner, devices, n, has_pods, error);
}

static void on_list(void *owner, const char *const *ids, size_t n, bool has_pods,
                    const struct error *error)
{
        struct plugin *side = owner;

        if (!side->sharing)
                return; /* only the claims were asked for */
        if (!error->code) {
                side->is_silent = false;
                take_in(side,
                        sharing_listed(side->sharing, ids, n, has_pods,
                                       plugin_service_kubelet_age_ms(side->plugin), now(side)));
                place_held(side);
                return;
        }
        if (!side->is_silent)
                log_warn("cannot list allocated devices from kubelet; using the last known state",
                         log_str("reason", error->text));
        side->is_silent = true;
        ++side->n_unanswered;
        take_in(side, sharing_unanswered(side->sharing, now(side)));
}

/* ---- the service's callbacks ---- */

/* The larger of n and one more than the index of id. An ID that is not our name does not count. */
static unsigned count_index(unsigned n, const char *id)
{
        unsigned index;

        return device_parse(id, &index) == 0 && index >= n ? index + 1 : n;
}

static unsigned count_indexes(const char *const *ids, size_t n)
{
        unsigned n_indexes = 0;

        for (size_t i = 0; i < n; ++i)
                n_indexes = count_index(n_indexes, ids[i]);
        return n_indexes;
}

static void on_device_in_use(void *owner, const struct plugin_holder *holder)
{
        unsigned *n_indexes = owner;

        *n_indexes = count_index(*n_indexes, holder->id);
}

unsigned plugin_n_indexes(const struct plugin *side)
{
        unsigned n_indexes = 0;

        if (side->sharing)
                sharing_each(side->sharing, on_device_in_use, &n_indexes);
        return n_indexes;
}

static int on_allocate(void *owner, const char *const *ids, size_t n, struct error *err)
{
        struct plugin *side = owner;
        bool is_dropped;
        unsigned before;
        int r;

        confirm_in_flight(side, ids, n);
        is_dropped = sharing_drop_ended(side->sharing, ids, n);
        before = sharing_n_held(side->sharing);
        /* First the CDI devices: without them the container would not start. */
        r = side->options.on_allocating(side->options.owner, count_indexes(ids, n), err);
        if (!r)
                r = sharing_allocate(side->sharing, ids, n, now(side), err);
        side->n_refused += r == -ENOSPC;
        if (r < 0 || sharing_n_held(side->sharing) == before) {
                if (is_dropped || side->is_unwritten)
                        take_in(side, is_dropped);
                if (r == -ENOSPC) /* kubelet believes held devices free, so its list has changed */
                        podresources_ask(side->podresources);
                return r;
        }
        log_info("plugin devices allocated", log_int("devices", (int64_t)n),
                 log_str("first", ids[0]), log_int("held", sharing_n_held(side->sharing)));
        /* Write before answering: at our next start kubelet may not answer, or may have forgotten a
         * pod that was deleted by force. */
        if (is_dropped || side->is_unwritten)
                write_down(side);
        else
                add_to_record(side, ids, n);
        offer_soon(side);
        side->options.on_changed(side->options.owner);
        schedule(side);
        return 0;
}

/* The new kubelet's list may differ from its predecessor's, so ask at once. */
static void on_kubelet_started(void *owner)
{
        struct plugin *side = owner;

        podresources_ask(side->podresources);
}

/* Needed even if we do not serve plain pods: devices of a foreign plugin or of a previous run take
 * TDs from the claims. */
static void come_into_use(struct plugin *side)
{
        side->sharing = sharing_new(side->options.ledger, side->options.split, podcgroup_is_running,
                                    now(side));
        sharing_close(side->sharing, side->is_closed);
        plugin_record_read(side->options.state_dir, on_recorded, side);
        schedule(side);
}

static void log_foreign(const struct plugin *side, const char *socket)
{
        if (side->options.serves)
                log_error("another device plugin serves " PLUGIN_SERVICE_RESOURCE
                          " on this node, so ours stands back; the TDs it hands out are counted. "
                          "Turn it "
                          "off, or run with --serve=dra and park it (README: Beside KubeVirt's own "
                          "device plugin)",
                          log_str("socket", socket));
        else
                log_warn("another device plugin serves " PLUGIN_SERVICE_RESOURCE
                         " on this node: while it has healthy devices plain pods go to it and not "
                         "to DRA; what it hands out is counted. To park it see README: Beside "
                         "KubeVirt's own device plugin",
                         log_str("socket", socket));
}

static void on_standing(void *owner, enum plugin_service_standing standing, const char *reason)
{
        struct plugin *side = owner;

        bool was_standing_back = side->stands_back;

        side->stands_back = standing == PLUGIN_SERVICE_STANDS_BACK;
        /* From now on the foreign plugin's devices take TDs from the claims. */
        if (side->is_started && side->stands_back && !side->sharing)
                come_into_use(side);
        if (side->sharing)
                podresources_ask(side->podresources);
        switch (standing) {
        case PLUGIN_SERVICE_REGISTERED:
                log_info("the device plugin is registered",
                         log_str("resource", PLUGIN_SERVICE_RESOURCE));
                return;
        case PLUGIN_SERVICE_STANDS_BACK:
                log_foreign(side, reason);
                return;
        case PLUGIN_SERVICE_UNREGISTERED:
                if (!was_standing_back) {
                        log_info("kubelet no longer knows the device plugin",
                                 log_str("reason", reason));
                        return;
                }
                log_info(side->options.serves
                                 ? "the device plugin takes over"
                                 : "the device plugin keeps its name registered and offers nothing",
                         log_str("reason", reason));
                return;
        }
}

/* ---- life ---- */

struct plugin *plugin_new(const struct plugin_options *options)
{
        struct plugin *side = xcalloc(1, sizeof(*side));
        struct podresources_options podresources_options;
        struct plugin_service_options plugin_options;

        side->options = *options;
        side->record = plugin_record_new(options->state_dir);
        side->kubelet = kubelet_new(options->kubelet_dir, options->device_plugin_dir);
        side->question = timer_new(options->loop, on_question, side);
        side->expiry = timer_new(options->loop, on_expiry, side);
        side->offering = timer_new(options->loop, on_offering, side);
        podresources_options =
                (struct podresources_options){ .pump = options->pump,
                                               .socket = kubelet_podresources_socket(side->kubelet),
                                               .resource = PLUGIN_SERVICE_RESOURCE,
                                               .on_list = on_list,
                                               .driver = DRIVER_NAME,
                                               .on_claims = on_claims,
                                               .owner = side };
        side->podresources = podresources_new(&podresources_options);
        plugin_options = (struct plugin_service_options){ .loop = options->loop,
                                                          .pump = options->pump,
                                                          .server = options->server,
                                                          .kubelet = side->kubelet,
                                                          .inject = options->inject,
                                                          .on_allocate = on_allocate,
                                                          .on_kubelet_started = on_kubelet_started,
                                                          .on_standing = on_standing,
                                                          .owner = side };
        side->plugin = plugin_service_new(&plugin_options);
        return side;
}

void plugin_start(struct plugin *side)
{
        side->is_started = true;
        /* A recorded device may still be in use although we no longer serve plain pods. */
        if (side->options.serves || side->stands_back || plugin_n_recorded(side->options.state_dir))
                come_into_use(side);
        else
                plugin_service_check(side->plugin);
}

void plugin_set_mount(struct plugin *side, const struct cdi_mount *mount)
{
        plugin_service_set_mount(side->plugin, mount);
}

void plugin_close(struct plugin *side, bool is_closed)
{
        if (side->is_closed == is_closed)
                return;
        side->is_closed = is_closed;
        if (!side->sharing)
                return;
        sharing_close(side->sharing, is_closed);
        if (sharing_is_known(side->sharing))
                offer_soon(side);
}

bool plugin_is_known(const struct plugin *side)
{
        if (!side->sharing)
                return side->is_started;
        return sharing_is_known(side->sharing);
}

size_t plugin_n_held(const struct plugin *side)
{
        return side->sharing ? sharing_n_held(side->sharing) : 0;
}

void plugin_each_holder(const struct plugin *side,
                        void (*on_each)(void *owner, const struct plugin_holder *holder),
                        void *owner)
{
        if (side->sharing)
                sharing_each(side->sharing, on_each, owner);
}

void plugin_status(const struct plugin *side, struct plugin_status *ret)
{
        bool is_name_kept = side->sharing && !side->stands_back;

        *ret = (struct plugin_status){ .is_served = side->options.serves || is_name_kept,
                                       .standing = plugin_service_standing(side->plugin),
                                       .n_held = side->sharing ? sharing_n_held(side->sharing) : 0,
                                       .n_refused = side->n_refused,
                                       .n_unanswered = side->n_unanswered,
                                       .n_lists = plugin_service_n_lists(side->plugin) };
}

void plugin_update(struct plugin *side)
{
        if (!side->sharing || !sharing_is_known(side->sharing))
                return;
        sharing_update(side->sharing);
        offer_soon(side);
}

void plugin_ask(struct plugin *side)
{
        podresources_ask(side->podresources);
}

void plugin_write_again(struct plugin *side)
{
        if (side->sharing)
                write_down(side);
}

void plugin_check(struct plugin *side)
{
        if (side->sharing && side->is_unwritten)
                write_down(side);
        plugin_service_check(side->plugin);
}

void plugin_stop(struct plugin *side)
{
        side->is_stopping = true;
        timer_stop(side->question);
        timer_stop(side->expiry);
        timer_stop(side->offering);
        podresources_stop(side->podresources);
        plugin_service_stop(side->plugin);
}

void plugin_free(struct plugin *side)
{
        if (!side)
                return;
        podresources_free(side->podresources);
        plugin_service_free(side->plugin);
        timer_free(side->question);
        timer_free(side->expiry);
        timer_free(side->offering);
        sharing_free(side->sharing);
        plugin_record_free(side->record);
        kubelet_free(side->kubelet);
        free(side);
}
