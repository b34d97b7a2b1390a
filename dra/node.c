/* SPDX-License-Identifier: Apache-2.0 */
#include "node.h"

#include "attestation_facts.h"
#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "cdi/spec.h"
#include "cdi/store.h"
#include "claims/prepare.h"
#include "claims/reconcile.h"
#include "claims/records.h"
#include "concerns.h"
#include "config.h"
#include "foreign.h"
#include "host/boot.h"
#include "ledger.h"
#include "offer/inventory.h"
#include "overcommit.h"
#include "surroundings.h"

#include <string.h>

struct node {
        struct node_options options;

        /* Facts. The strings of attestation are ours. */
        bool is_total_known;
        unsigned total;
        char *module_version; /* NULL: not known */
        struct attestation_facts attestation;
        bool are_taints_dropped;
        const struct misc_tree *running; /* borrowed; NULL: it was weighed, or there is none */
        uint64_t running_read_ms;
        struct foreign foreign;

        /* What is held. */
        struct ledger *ledger;
        struct records *records; /* NULL before node_activate() */
        struct cdi_store *cdi;
        struct prepare *prepare;
        struct reconcile *reconcile; /* NULL: no API server, or not active */
        struct plugin *plugin;

        struct concerns *concerns;
        struct error cdi_error;  /* logged last */
        unsigned n_cdi_devices;  /* of each prefix, in the spec that was set last */
        bool has_plugin_devices; /* in the spec */
        bool was_schedulable;    /* by the last Event */
        bool is_active;
        bool is_stopping;
};

static void tell(const struct node *node, bool is_warning, const char *reason, const char *text)
{
        node->options.on_event(node->options.owner, is_warning, reason, text);
}

/* ---- the offer ---- */

/* Offer and admit nothing before it is known what plugin devices hold. */
static bool is_total_in_force(const struct node *node)
{
        return node->is_total_known && plugin_is_known(node->plugin);
}

static void look_at_held(struct node *node)
{
        struct plugin_status plugin;

        if (!node->is_active || node->is_stopping || !ledger_is_total_known(node->ledger))
                return;
        plugin_status(node->plugin, &plugin);
        concerns_look_at_held(node->concerns, &(struct overcommit_facts){
                                                      ledger_total(node->ledger),
                                                      ledger_held(node->ledger), plugin.n_held });
}

/* The one place where facts become an offer: called after each change. */
static void publish(struct node *node)
{
        const struct attestation_facts *attestation = &node->attestation;
        bool is_schedulable = attestation->is_schedulable[ATTESTATION_CDI];
        const struct inventory_terms terms = {
                .is_known = is_total_in_force(node) && attestation->is_known,
                .is_attesting = attestation->works[ATTESTATION_CDI],
                .taint = is_schedulable ? NULL : attestation->state,
                .is_withdrawing = node->are_taints_dropped,
                .module_version = node->module_version,
        };
        struct inventory inventory = INVENTORY_NULL;

        look_at_held(node);
        if (!node->options.config->serves_dra || !node->is_active || node->is_stopping)
                return;
        inventory_compute(node->ledger, &terms, &inventory);
        node->options.on_offer(node->options.owner, &inventory, is_schedulable,
                               attestation->description);
        inventory_deinit(&inventory);
}

void node_taints_dropped(struct node *node)
{
        if (node->are_taints_dropped)
                return;
        log_warn("this API server keeps no device taints (its feature DRADeviceTaints is off): "
                 "while VMs may not be placed here, the slices list no device instead");
        node->are_taints_dropped = true;
        publish(node);
}

static void on_claims_changed(void *owner)
{
        struct node *node = owner;

        plugin_update(node->plugin);
        publish(node);
}

/* ---- the CDI spec ---- */

static void log_cdi_error(struct node *node, const struct error *error)
{
        if (strcmp(node->cdi_error.text, error->text) == 0)
                return;
        node->cdi_error = *error;
        if (error->code)
                log_error("VMs cannot be given their devices", log_str("reason", error->text));
}

/* A device for every TD there is, and for every one that is still in use from when there were more:
 * a container that starts again looks its devices up again. */
static unsigned n_cdi_devices(const struct node *node)
{
        unsigned n = node->is_total_known ? node->total : 0, n_plugin;

        for (const struct ledger_claim *claim = ledger_next(node->ledger, NULL); claim;
             claim = ledger_next(node->ledger, claim))
                for (size_t i = 0; i < claim->n_devices; ++i)
                        if (claim->devices[i].slot != LEDGER_NO_SLOT && claim->devices[i].slot >= n)
                                n = claim->devices[i].slot + 1;
        n_plugin = node->has_plugin_devices ? plugin_n_indexes(node->plugin) : 0;
        return n > n_plugin ? n : n_plugin;
}

static void set_cdi_spec(struct node *node, unsigned n_devices)
{
        static const char *const prefixes[] = { PREPARE_CDI_PREFIX, PLUGIN_SERVICE_CDI_PREFIX };
        const struct cdi_spec spec = {
                .prefixes = prefixes,
                .n_prefixes = node->has_plugin_devices ? 2 : 1,
                .n_devices = n_devices,
                .mount = { node->attestation.host_directory, node->attestation.vm_directory },
                .group = node->attestation.group,
        };
        __attribute__((cleanup(cleanup_free))) char *bytes = NULL;
        struct error error = ERROR_NULL;
        size_t n;

        concerns_look_at_group(node->concerns, node->attestation.group);
        bytes = cdi_spec_build(&spec, &n);
        node->n_cdi_devices = n_devices;
        (void)cdi_store_set(node->cdi, bytes, n, &error);
        log_cdi_error(node, &error);
}

static void write_cdi_spec(struct node *node)
{
        /* Pods that an earlier run gave CDI names keep needing them, whatever --plugin-inject is
         * now. Which pods those are is not recorded: any plugin device from before counts. */
        if (!node->has_plugin_devices)
                node->has_plugin_devices =
                        node->options.config->is_injecting_cdi ||
                        (!ledger_is_total_known(node->ledger) && plugin_n_indexes(node->plugin));
        set_cdi_spec(node, n_cdi_devices(node));
}

static void verify_cdi_spec(struct node *node)
{
        struct error error = ERROR_NULL;

        if (cdi_store_verify(node->cdi, &error) == CDI_STORE_WRITTEN)
                log_warn("the CDI spec was missing or changed, restored",
                         log_str("directory", node->options.config->cdi_dir));
        if (!error.code)
                (void)cdi_ensure_mount_source(node->attestation.seen_directory, &error);
        log_cdi_error(node, &error);
}

/* The runtime must find what an answer names. An index may be above the total: kubelet chooses from
 * a list that we sent before the total shrank. */
static int on_allocating(void *owner, unsigned n, struct error *err)
{
        struct node *node = owner;
        int r;

        if (!node->options.config->is_injecting_cdi)
                return 0;
        if (n > node->n_cdi_devices)
                set_cdi_spec(node, n);
        r = cdi_store_verify(node->cdi, err);
        if (r == CDI_STORE_WRITTEN)
                log_warn("the CDI spec was missing or changed, restored",
                         log_str("directory", node->options.config->cdi_dir));
        return r < 0 ? r : cdi_ensure_mount_source(node->attestation.seen_directory, err);
}

/* ---- attestation ---- */

static struct attestation_facts copy_of(const struct attestation_facts *facts)
{
        struct attestation_facts copy = *facts;

        copy.state = xstrdup(facts->state);
        copy.description = xstrdup(facts->description);
        copy.host_directory = xstrdup(facts->host_directory);
        copy.seen_directory = xstrdup(facts->seen_directory);
        copy.vm_directory = xstrdup(facts->vm_directory);
        return copy;
}

static void free_copy(struct attestation_facts *facts)
{
        free((char *)facts->state);
        free((char *)facts->description);
        free((char *)facts->host_directory);
        free((char *)facts->seen_directory);
        free((char *)facts->vm_directory);
}

static void tell_schedulability(struct node *node)
{
        const struct attestation_facts *attestation = &node->attestation;
        bool is_schedulable = attestation->is_schedulable[ATTESTATION_CDI];

        if (is_schedulable == node->was_schedulable || !attestation->is_known)
                return;
        node->was_schedulable = is_schedulable;
        if (is_schedulable) /* the server may have learnt about taints since */
                node->are_taints_dropped = false;
        tell(node, !is_schedulable, is_schedulable ? "TDXSchedulable" : "TDXNotSchedulable",
             attestation->description);
}

static bool is_plugin_closed(const struct node *node)
{
        enum attestation_means means =
                node->options.config->is_injecting_cdi ? ATTESTATION_CDI : ATTESTATION_MOUNTS;

        return !node->attestation.is_known || !node->attestation.is_schedulable[means];
}

static void put_attestation_in_force(struct node *node)
{
        const struct attestation_facts *attestation = &node->attestation;

        prepare_set_mount_source(node->prepare, attestation->seen_directory);
        plugin_set_mount(node->plugin, attestation->host_directory, attestation->vm_directory);
        plugin_close(node->plugin, is_plugin_closed(node));
        if (!node->is_active)
                return;
        write_cdi_spec(node);
        verify_cdi_spec(node);
        tell_schedulability(node);
        publish(node);
}

void node_set_attestation(struct node *node, const struct attestation_facts *facts)
{
        struct attestation_facts before = node->attestation;

        if (node->is_stopping)
                return;
        node->attestation = copy_of(facts);
        free_copy(&before);
        put_attestation_in_force(node);
}

void node_set_module_version(struct node *node, const char *version)
{
        free(node->module_version);
        node->module_version = version ? xstrdup(version) : NULL;
        publish(node);
}

void node_set_runtime(struct node *node, const char *version)
{
        concerns_set_runtime(node->concerns, version);
        concerns_look_at_group(node->concerns, node->attestation.group);
}

/* ---- the total ---- */

/* Each reading is weighed once, and not before it is known who holds what. Whether the offer may
 * differ. */
static bool weigh_running(struct node *node)
{
        const struct misc_tree *running = node->running;

        if (!running || !node->is_active || !is_total_in_force(node))
                return false;
        node->running = NULL;
        if (!foreign_take(&node->foreign, running, node->ledger, node->plugin,
                          node->running_read_ms))
                return false;
        ledger_set_foreign(node->ledger, foreign_withheld(&node->foreign));
        return true;
}

void node_set_running(struct node *node, const struct misc_tree *tree, uint64_t now_ms)
{
        if (node->is_stopping)
                return;
        node->running = tree;
        node->running_read_ms = now_ms;
        if (!weigh_running(node))
                return;
        plugin_update(node->plugin);
        publish(node);
}

static void put_total_in_force(struct node *node)
{
        if (!node->is_active || !is_total_in_force(node))
                return;
        write_cdi_spec(node);
        (void)weigh_running(node);
        ledger_set_total(node->ledger, node->total);
        plugin_update(node->plugin);
        prepare_retry_waiting(node->prepare);
        publish(node);
}

void node_set_total(struct node *node, unsigned tds)
{
        node->is_total_known = true;
        node->total = tds;
        put_total_in_force(node);
}

/* What plugin devices hold has changed, or is known for the first time. */
static void on_plugin_changed(void *owner)
{
        struct node *node = owner;

        if (!ledger_is_total_known(node->ledger) || ledger_total(node->ledger) != node->total)
                put_total_in_force(node);
        if (node->has_plugin_devices && plugin_n_indexes(node->plugin) > node->n_cdi_devices)
                write_cdi_spec(node);
        prepare_retry_waiting(node->prepare);
        publish(node);
}

/* ---- becoming the node's active instance ---- */

static void on_damaged(void *owner, const char *uid, const struct error *reason)
{
        struct node *node = owner;

        log_error("the record of a claim is not readable; the claim stays held until kubelet "
                  "prepares "
                  "or unprepares it, or until the next reboot",
                  log_str("uid", uid), log_str("reason", reason->text));
        tell(node, true, "TDXCheckpointDamaged", reason->text);
}

static int load(struct node *node, struct error *err)
{
        const struct config *config = node->options.config;
        int r;

        r = records_open(node->options.loop, config->state_dir, config->is_durable, &node->records,
                         err);
        if (!r)
                r = records_load(node->records, node->ledger, on_damaged, node, err);
        if (!r && ledger_n_claims(node->ledger))
                log_info("claims held from before",
                         log_int("claims", (int64_t)ledger_n_claims(node->ledger)),
                         log_int("tds", ledger_held(node->ledger)));
        return r;
}

/* In this order: what claims and plugin devices hold, as far as the disk tells; how VMs get their
 * devices; the total, which opens the offer; requests last. */
int node_activate(struct node *node, struct error *err)
{
        char boot_id[BOOT_ID_SIZE];
        int r;

        r = boot_id_read(NULL, boot_id, err);
        if (!r)
                r = load(node, err);
        if (r < 0)
                return r;
        node->is_active = true;
        plugin_start(node->plugin);
        put_attestation_in_force(node);
        put_total_in_force(node);
        prepare_activate(node->prepare, node->records, boot_id);
        if (node->options.api)
                node->reconcile = reconcile_start(
                        node->options.loop, node->options.api, node->ledger, node->prepare, boot_id,
                        RECONCILE_AFTER_MS, node->options.kubelet_age_ms, node->options.owner);
        publish(node);
        return 0;
}

/* ---- the clock ---- */

static void look(struct node *node)
{
        prepare_keep_records(node->prepare);
        plugin_check(node->plugin);
}

void node_look(struct node *node)
{
        if (!node->is_active || node->is_stopping)
                return;
        look(node);
        /* Leave a spec that cannot be written to the clock: each attempt changes the directory. */
        if (!node->cdi_error.code)
                verify_cdi_spec(node);
        concerns_look_at_cdi(node->concerns, node->options.config->cdi_dir);
}

void node_check(struct node *node)
{
        if (!node->is_active || node->is_stopping)
                return;
        look(node);
        verify_cdi_spec(node);
        concerns_look_at_cdi(node->concerns, node->options.config->cdi_dir);
        prepare_retry_removals(node->prepare);
}

/* ---- life ---- */

/* --share counts only while both paths are served. With one path off, nothing is kept for it: what
 * its pods still hold from before is counted anyway. */
static int64_t split_of(const struct config *config)
{
        if (!config->serves_dra)
                return 0;
        return config->serves_plugin ? config->split : -1;
}

static void set_up_plugin(struct node *node)
{
        const struct node_options *options = &node->options;
        const struct config *config = options->config;
        const struct plugin_options plugin_options = {
                .loop = options->loop,
                .pump = options->pump,
                .server = options->server,
                .ledger = node->ledger,
                .kubelet_dir = config->kubelet_dir,
                .device_plugin_dir = config->device_plugin_dir,
                .state_dir = config->state_dir,
                .cgroup_root = config->cgroup_root,
                .inject = config->is_injecting_cdi ? PLUGIN_SERVICE_CDI : PLUGIN_SERVICE_MOUNTS,
                .split = split_of(config),
                .serves = config->serves_plugin,
                .on_allocating = on_allocating,
                .on_changed = on_plugin_changed,
                .owner = node,
        };

        node->plugin = plugin_new(&plugin_options);
}

struct node *node_new(const struct node_options *options)
{
        struct node *node = xcalloc(1, sizeof(*node));
        const struct config *config = options->config;
        __attribute__((cleanup(cleanup_free))) char *other_cdi_dir = NULL;
        struct prepare_options prepare_options;

        node->options = *options;
        node->was_schedulable = true;
        node->foreign = (struct foreign){ .is_ignoring = config->is_ignoring_foreign,
                                          .reserve = config->reserve,
                                          .measure = MEASURE_NULL,
                                          .on_event = options->on_event,
                                          .owner = options->owner };
        node->ledger = ledger_new();
        node->concerns = concerns_new(options->on_event, options->owner);
        node->cdi = cdi_store_new(config->cdi_dir);
        other_cdi_dir = surroundings_other_cdi_dir(config);
        if (other_cdi_dir)
                cdi_store_set_other_way(node->cdi, other_cdi_dir);
        prepare_options = (struct prepare_options){ .loop = options->loop,
                                                    .ledger = node->ledger,
                                                    .cdi = node->cdi,
                                                    .api = options->api,
                                                    .pool = config->node_name,
                                                    .wait_ms = config->prepare_wait_ms,
                                                    .on_held_changed = on_claims_changed,
                                                    .owner = node };
        node->prepare = prepare_new(&prepare_options);
        set_up_plugin(node);
        return node;
}

void node_stop(struct node *node)
{
        node->is_stopping = true;
        reconcile_free(take_ptr(node->reconcile));
        prepare_stop(node->prepare);
        plugin_stop(node->plugin);
}

bool node_is_idle(const struct node *node)
{
        return prepare_is_idle(node->prepare) && (!node->records || records_is_idle(node->records));
}

void node_free(struct node *node)
{
        if (!node)
                return;
        plugin_free(node->plugin);
        prepare_free(node->prepare);
        records_free(node->records);
        cdi_store_free(node->cdi);
        ledger_free(node->ledger);
        free_copy(&node->attestation);
        free(node->module_version);
        concerns_free(node->concerns);
        free(node);
}

/* ---- what others need of it ---- */

struct prepare *node_prepare(struct node *node)
{
        return node->prepare;
}

void node_status(const struct node *node, struct node_status *ret)
{
        *ret = (struct node_status){
                .is_active = node->is_active,
                .is_total_known = ledger_is_total_known(node->ledger),
                .total = ledger_total(node->ledger),
                .n_held = ledger_held(node->ledger),
                .is_measured = node->foreign.measure.is_known,
                .n_running = node->foreign.latest.ours + node->foreign.latest.foreign +
                             node->foreign.latest.leaked,
                .n_foreign = node->foreign.measure.foreign.in_force,
                .n_leaked = node->foreign.measure.leaked.in_force,
                .n_usable = ledger_usable(node->ledger),
                .n_claims = ledger_n_claims(node->ledger),
                .n_waiting = prepare_n_waiting(node->prepare),
                .is_attestation_known = node->attestation.is_known,
                .is_attesting = node->attestation.works[ATTESTATION_CDI],
                .is_schedulable = node->attestation.is_schedulable[ATTESTATION_CDI],
        };
        plugin_status(node->plugin, &ret->plugin);
}
