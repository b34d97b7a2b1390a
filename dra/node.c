/* SPDX-License-Identifier: Apache-2.0 */
#include "node.h"

#include "attestation_facts.h"
#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "cdi/spec.h"
#include "claims/prepare.h"
#include "claims/rebuild.h"
#include "claims/reconcile.h"
#include "claims/records.h"
#include "config.h"
#include "device.h"
#include "foreign.h"
#include "host/boot.h"
#include "injection.h"
#include "ledger.h"
#include "offer/inventory.h"
#include "overcommit.h"
#include "placement.h"
#include "tenant.h"

#include <string.h>

struct node {
        struct node_options options;

        /* Facts. The node owns the strings of attestation. */
        bool is_total_known;
        unsigned total;
        char *module_version; /* NULL: not known */
        struct attestation_facts attestation;
        struct foreign foreign;

        /* What is held. */
        struct ledger *ledger;
        struct records *records; /* NULL before node_activate() */
        struct prepare *prepare;
        struct rebuild *rebuild;     /* NULL before node_activate() */
        struct reconcile *reconcile; /* NULL: no API server, or not active yet */
        struct plugin *plugin;
        struct injection *injection;

        struct overcommit overcommit;
        struct placement placement;
        bool is_active;
        bool is_stopping;
};

static void tell(const struct node *node, bool is_warning, const char *reason, const char *text)
{
        node->options.on_event(node->options.owner, is_warning, reason, text);
}

/* ---- the offer ---- */

/* Offer and admit nothing until it is known what plugin devices hold. */
static bool is_total_in_force(const struct node *node)
{
        return node->is_total_known && plugin_is_known(node->plugin);
}

static void tell_overcommit(struct node *node)
{
        struct plugin_status plugin;

        if (!node->is_active || node->is_stopping || !ledger_is_total_known(node->ledger))
                return;
        plugin_status(node->plugin, &plugin);
        overcommit_tell(&node->overcommit,
                        &(struct overcommit_facts){ ledger_total(node->ledger),
                                                    ledger_held(node->ledger), plugin.n_held },
                        node->options.on_event, node->options.owner);
}

/* The only function that turns facts into an offer; called after each change. */
static void publish(struct node *node)
{
        const struct attestation_facts *attestation = &node->attestation;
        const struct inventory_terms terms = {
                .is_known = is_total_in_force(node) && attestation->is_known,
                .is_attesting = attestation->works[ATTESTATION_CDI],
                .taint = placement_taint(&node->placement),
                .is_withdrawing = node->placement.are_taints_dropped,
                .module_version = node->module_version,
        };
        struct inventory inventory = INVENTORY_NULL;

        tell_overcommit(node);
        if (!node->options.config->serves_dra || !node->is_active || node->is_stopping)
                return;
        inventory_compute(node->ledger, &terms, &inventory);
        node->options.on_offer(node->options.owner, &inventory,
                               placement_is_open(&node->placement, ATTESTATION_CDI),
                               placement_describe(&node->placement));
        inventory_deinit(&inventory);
}

static void close_plugin(struct node *node)
{
        enum attestation_means means =
                node->options.config->is_injecting_cdi ? ATTESTATION_CDI : ATTESTATION_MOUNTS;

        plugin_close(node->plugin, !placement_is_open(&node->placement, means));
}

void node_taints_dropped(struct node *node)
{
        if (placement_set_taints_dropped(&node->placement))
                publish(node);
}

static void on_claims_changed(void *owner)
{
        struct node *node = owner;

        plugin_update(node->plugin);
        publish(node);
}

/* ---- the CDI spec ---- */

static void on_injection_changed(void *owner)
{
        struct node *node = owner;

        close_plugin(node);
        placement_tell(&node->placement);
        publish(node);
}

static void on_event(void *owner, bool is_warning, const char *reason, const char *text)
{
        tell(owner, is_warning, reason, text);
}

/* Can a container be given its devices by their CDI names? */
static int verify_injection(struct node *node, struct error *err)
{
        const struct error *error;

        injection_verify(node->injection);
        error = injection_obstacle(node->injection, ATTESTATION_CDI);
        if (error)
                *err = *error;
        return error ? error->code : 0;
}

static int on_answering(void *owner, struct error *err)
{
        return verify_injection(owner, err);
}

/* One device for every TD, and one for each that is still in use from when the total was larger: a
 * container that restarts looks its devices up again. */
static unsigned n_cdi_devices(const struct node *node)
{
        unsigned n = node->is_total_known ? node->total : 0, n_plugin;

        for (const struct ledger_claim *claim = ledger_next(node->ledger, NULL); claim;
             claim = ledger_next(node->ledger, claim))
                for (size_t i = 0; i < claim->n_devices; ++i)
                        if (claim->devices[i].slot != LEDGER_NO_SLOT && claim->devices[i].slot >= n)
                                n = claim->devices[i].slot + 1;
        n_plugin =
                injection_has_plugin_devices(node->injection) ? plugin_n_indexes(node->plugin) : 0;
        return n > n_plugin ? n : n_plugin;
}

/* Pods that got CDI names from an earlier run still need them, whatever --plugin-inject says now.
 * The records do not tell which pods those are, so any plugin device from before counts. */
static bool is_spec_for_plugin(const struct node *node)
{
        return node->options.config->is_injecting_cdi ||
               (!ledger_is_total_known(node->ledger) && plugin_n_indexes(node->plugin));
}

static void write_cdi_spec(struct node *node)
{
        bool is_for_plugin = is_spec_for_plugin(node);
        unsigned n = n_cdi_devices(node);

        if (is_for_plugin && plugin_n_indexes(node->plugin) > n)
                n = plugin_n_indexes(node->plugin);
        injection_set(node->injection, n, is_for_plugin);
}

/* The runtime must find the devices that an answer names. An index may be above the total: kubelet
 * chooses from a list that we sent before the total shrank. */
static int on_allocating(void *owner, unsigned n, struct error *err)
{
        struct node *node = owner;

        if (!node->options.config->is_injecting_cdi)
                return 0;
        if (n > injection_n_devices(node->injection))
                injection_set(node->injection, n, true);
        return verify_injection(node, err);
}

/* ---- attestation ---- */

static void put_attestation_in_force(struct node *node)
{
        struct cdi_mount mount = injection_mount(&node->attestation);

        plugin_set_mount(node->plugin, &mount);
        free((char *)mount.container_path);
        close_plugin(node);
        if (!node->is_active)
                return;
        write_cdi_spec(node);
        injection_verify(node->injection);
        placement_tell(&node->placement);
        publish(node);
}

void node_set_attestation(struct node *node, const struct attestation_facts *facts)
{
        struct attestation_facts before = node->attestation;

        if (node->is_stopping)
                return;
        node->attestation = attestation_facts_copy(facts);
        attestation_facts_deinit(&before);
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
        injection_set_runtime(node->injection, version);
}

/* ---- the total ---- */

/* Needs to know who holds what. True if the offer may differ. */
static bool measure(struct node *node)
{
        const struct misc_tree *running;
        uint64_t now_ms = 0;

        if (!node->is_active || node->is_stopping || !is_total_in_force(node))
                return false;
        running = node->options.read_running(node->options.owner, &now_ms);
        if (!running || !foreign_take(&node->foreign, running, node->ledger, node->plugin, now_ms))
                return false;
        ledger_set_foreign(node->ledger, foreign_withheld(&node->foreign));
        return true;
}

void node_measure(struct node *node)
{
        if (!measure(node))
                return;
        plugin_update(node->plugin);
        publish(node);
}

static void put_total_in_force(struct node *node)
{
        if (!node->is_active || !is_total_in_force(node))
                return;
        write_cdi_spec(node);
        /* Measure first: the first offer must not include TDs that others run. */
        if (!node->foreign.measure.is_known)
                (void)measure(node);
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

/* Plugin devices' holdings have changed, or are known for the first time. */
static void on_plugin_changed(void *owner)
{
        struct node *node = owner;

        if (!ledger_is_total_known(node->ledger) || ledger_total(node->ledger) != node->total)
                put_total_in_force(node);
        if (injection_has_plugin_devices(node->injection) &&
            plugin_n_indexes(node->plugin) > injection_n_devices(node->injection))
                write_cdi_spec(node);
        prepare_retry_waiting(node->prepare);
        publish(node);
}

/* ---- claims without a record ---- */

static void on_ask_kubelet(void *owner)
{
        struct node *node = owner;

        plugin_ask(node->plugin);
}

static void on_claims_listed(void *owner, const struct device_prepared *devices, size_t n,
                             bool has_pods, const struct error *error)
{
        struct node *node = owner;

        if (node->rebuild)
                rebuild_listed(node->rebuild, devices, n, has_pods, error);
}

static void on_claim_released(void *owner, const char *namespace_, const char *name)
{
        struct node *node = owner;

        if (node->rebuild)
                rebuild_released(node->rebuild, namespace_, name);
}

static void on_rebuilt(void *owner)
{
        struct node *node = owner;

        on_claims_changed(node);
        write_cdi_spec(node);
        prepare_retry_waiting(node->prepare);
}

static void on_records_missing(void *owner, const char *reason, const char *text)
{
        tell(owner, true, reason, text);
}

static void start_rebuild(struct node *node, const char *boot_id)
{
        const struct node_options *options = &node->options;
        const struct rebuild_options rebuild_options = {
                .loop = options->loop,
                .ledger = node->ledger,
                .prepare = node->prepare,
                .api = options->api,
                .pool = options->config->node_name,
                .boot_id = boot_id,
                .ask = on_ask_kubelet,
                .kubelet_age_ms = options->kubelet_age_ms,
                .kubelet_owner = options->owner,
                .on_changed = on_rebuilt,
                .on_event = on_records_missing,
                .owner = node,
        };

        if (options->config->serves_dra)
                node->rebuild = rebuild_start(&rebuild_options);
}

static void start_reconcile(struct node *node, const char *boot_id)
{
        const struct node_options *options = &node->options;
        const struct reconcile_options reconcile_options = {
                .loop = options->loop,
                .api = options->api,
                .ledger = node->ledger,
                .prepare = node->prepare,
                .rebuild = node->rebuild,
                .pool = options->config->node_name,
                .boot_id = boot_id,
                .after_ms = options->config->reconcile_after_ms,
                .kubelet_age_ms = options->kubelet_age_ms,
                .owner = options->owner,
        };

        node->reconcile = reconcile_start(&reconcile_options);
}

/* ---- becoming the node's active instance ---- */

static void on_damaged(void *owner, const char *uid, const struct error *reason)
{
        struct node *node = owner;

        log_error("the record of a claim is not readable; the claim stays held until kubelet "
                  "prepares or unprepares it, or until the next reboot",
                  log_str("uid", uid), log_str("reason", reason->text));
        tell(node, true, "TDXCheckpointDamaged", reason->text);
}

static int load(struct node *node, const char *boot_id, struct error *err)
{
        const struct config *config = node->options.config;
        int r;

        r = records_open(node->options.loop, config->state_dir, config->is_durable, &node->records,
                         err);
        if (!r)
                r = records_load(node->records, node->ledger, boot_id, on_damaged, node, err);
        if (!r && ledger_n_claims(node->ledger))
                log_info("claims held from before",
                         log_int("claims", (int64_t)ledger_n_claims(node->ledger)),
                         log_int("tds", ledger_held(node->ledger)));
        return r;
}

/* In this order: load what claims and plugin devices hold, as far as the disk tells (claims without
 * a record follow later); tell how VMs get their devices; put the total in force, which opens the
 * offer; serve requests last. */
int node_activate(struct node *node, struct error *err)
{
        char boot_id[BOOT_ID_SIZE];
        int r;

        r = boot_id_read(NULL, boot_id, err);
        if (!r)
                r = load(node, boot_id, err);
        if (r < 0)
                return r;
        node->is_active = true;
        start_rebuild(node, boot_id);
        plugin_start(node->plugin);
        put_attestation_in_force(node);
        put_total_in_force(node);
        prepare_activate(node->prepare, node->records, boot_id);
        if (node->options.api)
                start_reconcile(node, boot_id);
        publish(node);
        return 0;
}

/* ---- the clock ---- */

static void look(struct node *node)
{
        if (prepare_keep_records(node->prepare))
                plugin_write_again(node->plugin);
        plugin_check(node->plugin);
}

void node_look(struct node *node)
{
        if (!node->is_active || node->is_stopping)
                return;
        look(node);
        /* Leave a failing spec to node_check(): each attempt to write it changes the watched
         * directory. */
        if (!injection_lacks_spec(node->injection))
                injection_verify(node->injection);
        injection_look_for_conflict(node->injection);
}

void node_check(struct node *node)
{
        if (!node->is_active || node->is_stopping)
                return;
        look(node);
        injection_verify(node->injection);
        injection_look_for_conflict(node->injection);
        prepare_retry_removals(node->prepare);
}

/* ---- life ---- */

/* --share applies only while both paths are served. With one path off nothing is reserved for it:
 * what its pods still hold from before is counted anyway. */
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
                .on_claims = on_claims_listed,
                .owner = node,
        };

        node->plugin = plugin_new(&plugin_options);
}

static void set_up_injection(struct node *node)
{
        const struct injection_options options = { .config = node->options.config,
                                                   .attestation = &node->attestation,
                                                   .on_changed = on_injection_changed,
                                                   .on_event = on_event,
                                                   .owner = node };

        node->injection = injection_new(&options);
        node->placement = (struct placement){ .injection = node->injection,
                                              .attestation = &node->attestation,
                                              .on_event = on_event,
                                              .owner = node };
}

struct node *node_new(const struct node_options *options)
{
        struct node *node = xcalloc(1, sizeof(*node));
        const struct config *config = options->config;
        struct prepare_options prepare_options;

        node->options = *options;
        node->foreign = (struct foreign){ .is_ignoring = config->is_ignoring_foreign,
                                          .reserve = config->reserve,
                                          .measure = MEASURE_NULL,
                                          .on_event = options->on_event,
                                          .owner = options->owner };
        node->ledger = ledger_new();
        set_up_injection(node);
        prepare_options = (struct prepare_options){ .loop = options->loop,
                                                    .ledger = node->ledger,
                                                    .api = options->api,
                                                    .pool = config->node_name,
                                                    .wait_ms = config->prepare_wait_ms,
                                                    .on_held_changed = on_claims_changed,
                                                    .on_released = on_claim_released,
                                                    .on_answering = on_answering,
                                                    .owner = node };
        node->prepare = prepare_new(&prepare_options);
        set_up_plugin(node);
        return node;
}

void node_stop(struct node *node)
{
        node->is_stopping = true;
        reconcile_free(take_ptr(node->reconcile));
        rebuild_free(take_ptr(node->rebuild));
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
        injection_free(node->injection);
        ledger_free(node->ledger);
        attestation_facts_deinit(&node->attestation);
        free(node->module_version);
        free(node);
}

/* ---- what others need of it ---- */

struct prepare *node_prepare(struct node *node)
{
        return node->prepare;
}

bool node_find_holder(const struct node *node, const struct relay_td *td, struct tenant *ret)
{
        if (node->is_active)
                tenant_find(node->ledger, node->plugin, td, ret);
        return node->is_active;
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
                .record_trouble = prepare_record_trouble(node->prepare),
                .is_attestation_known = node->attestation.is_known,
                .is_attesting = node->attestation.works[ATTESTATION_CDI],
                .attestation_state = node->attestation.state,
                .is_schedulable = placement_is_open(&node->placement, ATTESTATION_CDI),
                .refuses_path = node->attestation.refuses_path,
                .refuses_enforced = node->attestation.refuses_enforced,
        };
        plugin_status(node->plugin, &ret->plugin);
}
