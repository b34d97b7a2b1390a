/* SPDX-License-Identifier: Apache-2.0 */
#include "node.h"

#include "attestation_facts.h"
#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "cdi/spec.h"
#include "cdi/store.h"
#include "claims/prepare.h"
#include "claims/rebuild.h"
#include "claims/reconcile.h"
#include "claims/records.h"
#include "config.h"
#include "host/boot.h"
#include "ledger.h"
#include "offer/inventory.h"
#include "plugin/podresources.h"

#include <string.h>

struct node {
        struct node_options options;

        /* Facts. The strings of attestation are ours. */
        bool is_total_known;
        unsigned total;
        char *module_version; /* NULL: not known */
        struct attestation_facts attestation;
        bool are_taints_dropped;

        /* What is held. */
        struct ledger *ledger;
        struct records *records; /* NULL before node_activate() */
        struct cdi_store *cdi;
        struct prepare *prepare;
        struct rebuild *rebuild;     /* NULL before node_activate() */
        struct reconcile *reconcile; /* NULL: no API server, or not active */
        struct plugin *plugin;

        struct error cdi_error; /* logged last */
        bool was_schedulable;   /* by the last Event */
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
                 "free devices are withdrawn instead");
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

/* A device for every TD there is, and for every one that is still held from when there were more.
 */
static unsigned n_cdi_devices(const struct node *node)
{
        unsigned n = ledger_total(node->ledger);

        for (const struct ledger_claim *claim = ledger_next(node->ledger, NULL); claim;
             claim = ledger_next(node->ledger, claim))
                for (size_t i = 0; i < claim->n_devices; ++i)
                        if (claim->devices[i].slot != LEDGER_NO_SLOT && claim->devices[i].slot >= n)
                                n = claim->devices[i].slot + 1;
        return n;
}

static void write_cdi_spec(struct node *node)
{
        static const char *const prefixes[] = { PREPARE_CDI_PREFIX, PLUGIN_SERVICE_CDI_PREFIX };
        const struct cdi_spec spec = {
                .prefixes = prefixes,
                .n_prefixes = node->options.config->is_injecting_cdi ? 2 : 1,
                .n_devices = n_cdi_devices(node),
                .mount = { node->attestation.host_directory, node->attestation.vm_directory },
                .group = node->attestation.group,
        };
        __attribute__((cleanup(cleanup_free))) char *bytes = NULL;
        struct error error = ERROR_NULL;
        size_t n;

        bytes = cdi_spec_build(&spec, &n);
        (void)cdi_store_set(node->cdi, bytes, n, &error);
        log_cdi_error(node, &error);
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

/* ---- the total ---- */

static void put_total_in_force(struct node *node)
{
        if (!node->is_active || !is_total_in_force(node))
                return;
        ledger_set_total(node->ledger, node->total);
        plugin_update(node->plugin);
        write_cdi_spec(node);
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
        prepare_retry_waiting(node->prepare);
        publish(node);
}

/* ---- claims without a record ---- */

static void on_ask_kubelet(void *owner)
{
        struct node *node = owner;

        plugin_ask(node->plugin);
}

/* From the one path's words to the other's: neither knows the other. */
static void on_claims_listed(void *owner, const struct podresources_claim_device *listed, size_t n,
                             bool has_pods, const struct error *error)
{
        __attribute__((cleanup(cleanup_free))) struct rebuild_device *devices = NULL;
        struct node *node = owner;

        if (!node->rebuild)
                return;
        devices = xcalloc(n, sizeof(*devices));
        for (size_t i = 0; i < n; ++i)
                devices[i] = (struct rebuild_device){ .namespace_ = listed[i].namespace_,
                                                      .claim = listed[i].claim,
                                                      .pool = listed[i].pool,
                                                      .device = listed[i].device,
                                                      .cdi = listed[i].cdi };
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
                  "prepares "
                  "or unprepares it, or until the next reboot",
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

/* In this order: what claims hold, by record (what has none, the ledger waits for), then how VMs
 * get their devices, then what plugin devices hold, then the total, which opens the offer, and
 * requests last. */
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
        put_attestation_in_force(node);
        plugin_start(node->plugin);
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
}

void node_check(struct node *node)
{
        if (!node->is_active || node->is_stopping)
                return;
        look(node);
        verify_cdi_spec(node);
        prepare_retry_removals(node->prepare);
}

/* ---- life ---- */

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
                .split = config->serves_dra ? config->split : 0,
                .serves = config->serves_plugin,
                .on_changed = on_plugin_changed,
                .on_claims = on_claims_listed,
                .owner = node,
        };

        node->plugin = plugin_new(&plugin_options);
}

struct node *node_new(const struct node_options *options)
{
        struct node *node = xcalloc(1, sizeof(*node));
        const struct config *config = options->config;
        struct prepare_options prepare_options;

        node->options = *options;
        node->was_schedulable = true;
        node->ledger = ledger_new();
        node->cdi = cdi_store_new(config->cdi_dir);
        prepare_options = (struct prepare_options){ .loop = options->loop,
                                                    .ledger = node->ledger,
                                                    .cdi = node->cdi,
                                                    .api = options->api,
                                                    .pool = config->node_name,
                                                    .wait_ms = config->prepare_wait_ms,
                                                    .on_held_changed = on_claims_changed,
                                                    .on_released = on_claim_released,
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
        cdi_store_free(node->cdi);
        ledger_free(node->ledger);
        free_copy(&node->attestation);
        free(node->module_version);
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
                .n_claims = ledger_n_claims(node->ledger),
                .n_waiting = prepare_n_waiting(node->prepare),
                .is_attestation_known = node->attestation.is_known,
                .is_attesting = node->attestation.works[ATTESTATION_CDI],
                .is_schedulable = node->attestation.is_schedulable[ATTESTATION_CDI],
        };
        plugin_status(node->plugin, &ret->plugin);
}
