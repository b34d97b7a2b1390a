/* SPDX-License-Identifier: Apache-2.0 */
#include "admin/metrics.h"

#include "base/memory.h"
#include "base/text.h"

#include <inttypes.h>

static const char *const path_names[] = { "dra", "plugin" };
static const char *const result_names[] = { "success", "error" };
static const char *const api_error_names[] = { "forbidden", "invalid", "not_served", "unanswered" };
static const char *const quote_names[] = { "delivered", "qgs_error",    "gave_up",
                                           "malformed", "refused_type", "left" };

/* ---- the format ---- */

/* help contains neither a backslash nor a line end, so nothing needs escaping. */
static void begin(struct text *page, const char *name, const char *type, const char *help)
{
        text_addf(page, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void add(struct text *page, const char *name, uint64_t value)
{
        text_addf(page, "%s %" PRIu64 "\n", name, value);
}

/* One series for each value of the label. */
static void add_each(struct text *page, const char *name, const char *label,
                     const char *const *names, const uint64_t *values, size_t n)
{
        for (size_t i = 0; i < n; ++i)
                text_addf(page, "%s{%s=\"%s\"} %" PRIu64 "\n", name, label, names[i], values[i]);
}

static void print_one(struct text *page, const char *name, const char *type, uint64_t value,
                      const char *help)
{
        begin(page, name, type, help);
        add(page, name, value);
}

static void print_histogram(struct text *page, const char *name, const struct histogram *histogram,
                            const char *help)
{
        uint64_t n = 0;

        begin(page, name, "histogram", help);
        for (size_t i = 0; i < HISTOGRAM_N_BOUNDS; ++i) {
                n += histogram->counts[i];
                text_addf(page, "%s_bucket{le=\"%g\"} %" PRIu64 "\n", name,
                          histogram_bounds_seconds[i], n);
        }
        n += histogram->counts[HISTOGRAM_N_BOUNDS];
        text_addf(page, "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n", name, n);
        text_addf(page, "%s_sum %.6f\n%s_count %" PRIu64 "\n", name, histogram->sum_seconds, name,
                  n);
}

/* ---- the metrics ---- */

static void print_instance(const struct metrics *metrics, struct text *page)
{
        begin(page, "tdx_build_info", "gauge", "Always 1; the driver's version is in the label.");
        text_addf(page, "tdx_build_info{version=\"%s\"} 1\n", metrics->version);
        print_one(page, "tdx_active", "gauge", metrics->is_active,
                  "1 while this instance serves the node, 0 while it waits for another instance to "
                  "leave. If 0 persists, the other instance hangs: delete its pod.");
        begin(page, "tdx_registered", "gauge",
              "1 if kubelet has registered this driver, for each path it serves. If 0 for more "
              "than a minute, see the logs of the driver and of kubelet.");
        for (size_t i = 0; i < METRICS_N_PATHS; ++i)
                if (metrics->is_served[i])
                        text_addf(page, "tdx_registered{path=\"%s\"} %d\n", path_names[i],
                                  metrics->is_registered[i]);
        print_one(page, "tdx_foreign_plugin", "gauge", metrics->is_foreign_plugin,
                  "1 while another device plugin serves devices.kubevirt.io/tdx on this node: this "
                  "driver's plugin stays unregistered, and the TDs that the other one allocates "
                  "are counted. Expected if KubeVirt's plugin is parked and --serve=dra is set "
                  "(README: Beside KubeVirt's own device plugin).");
}

static void print_attestation(const struct metrics *metrics, struct text *page)
{
        begin(page, "tdx_attesting", "gauge",
              "1 if QGS answers a PLATFORM_INFO request made with a VM's rights, which does not "
              "prove that it can quote. 0: VMs that start here cannot attest, or the driver could "
              "not try; `dra-driver-tdx inspect` and the log say why. Absent: not tried yet.");
        if (metrics->is_qgs_known)
                add(page, "tdx_attesting", metrics->is_attesting);
        begin(page, "tdx_qgs_state", "gauge",
              "Always 1; the label says what keeps VMs from attesting: absent, refused, stale, "
              "hung, failing, not-tried (the driver may not open QGS's socket, though VMs may), "
              "not-seen (its directory is not mounted into the driver's pod) or path-refused; or "
              "answering, if nothing does.");
        if (metrics->is_qgs_known)
                text_addf(page, "tdx_qgs_state{state=\"%s\"} 1\n", metrics->qgs_state);
        begin(page, "tdx_schedulable", "gauge",
              "0 while no new VM is placed here, because attestation is enforced and VMs could not "
              "attest, or because the driver cannot give VMs their devices; the device taint's "
              "value, the node's Events and the log say why.");
        if (metrics->is_qgs_known)
                add(page, "tdx_schedulable", metrics->is_schedulable);
        begin(page, "tdx_settings_refused", "gauge",
              "1 while the driver refuses a field of the KubeVirt CR and keeps its previous value; "
              "the log says what is wrong with the field. qgsSocketPath: no VM attests until it is "
              "corrected.");
        text_addf(page, "tdx_settings_refused{field=\"enforced\"} %d\n", metrics->refuses_enforced);
        text_addf(page, "tdx_settings_refused{field=\"qgsSocketPath\"} %d\n",
                  metrics->refuses_path);
}

static void print_quotes(const struct metrics *metrics, struct text *page)
{
        if (!metrics->is_relaying)
                return;
        print_one(
                page, "tdx_relay_connected", "gauge", metrics->is_relay_connected,
                "1 while the driver is connected to the quote relay. If 0 for more than a minute, "
                "VMs get no quotes: see the log of the container relay in the driver's pod.");
        begin(page, "tdx_quotes_total", "counter",
              "VMs' requests for quotes since the relay started, by outcome. gave_up: QGS did not "
              "answer within 25 s, see the log of the container relay; qgs_error: QGS refused the "
              "report, which a VM can provoke; malformed, refused_type: a VM sent something else; "
              "left: the VM closed before its reply.");
        add_each(page, "tdx_quotes_total", "outcome", quote_names, metrics->quotes,
                 METRICS_N_QUOTES);
        begin(page, "tdx_quote_last_delivered_timestamp_seconds", "gauge",
              "Unix time of the last quote that a VM got. Absent: none yet.");
        if (metrics->delivered_s)
                add(page, "tdx_quote_last_delivered_timestamp_seconds", metrics->delivered_s);
        print_one(page, "tdx_quotes_unlogged_total", "counter", metrics->quotes_unlogged,
                  "Quotes that are missing in --quote-log: it could not be written (see the "
                  "driver's log), or the driver was away while more than 4096 were delivered.");
}

static void print_capacity(const struct metrics *metrics, struct text *page)
{
        const uint64_t held[] = { metrics->held[METRICS_DRA], metrics->held[METRICS_PLUGIN] };
        bool is_known = metrics->is_active && metrics->is_capacity_known;

        begin(page, "tdx_capacity_tds", "gauge",
              "TDs that this node may run for Kubernetes. Absent: not known yet, or this instance "
              "does not serve the node. 0: load kvm_intel with tdx=1, or see the driver's log.");
        if (is_known)
                add(page, "tdx_capacity_tds", metrics->capacity);
        begin(page, "tdx_held_tds", "gauge",
              "TDs in use, by claims (dra) and by pods that ask for devices.kubevirt.io/tdx "
              "(plugin). If more than the capacity, the capacity has shrunk: nothing new fits "
              "until enough holders leave.");
        if (is_known)
                add_each(page, "tdx_held_tds", "path", path_names, held, array_size(held));
        begin(page, "tdx_free_tds", "gauge",
              "TDs left to offer. 0: new VMs need another node, or must wait until a holder "
              "leaves; `dra-driver-tdx inspect` names the holders.");
        if (is_known)
                add(page, "tdx_free_tds", metrics->free);
        begin(page, "tdx_overcommitted_tds", "gauge",
              "TDs held beyond the capacity: the capacity has shrunk, or another device plugin "
              "hands out TDs. If not 0, VMs may fail to start: delete that many VM pods.");
        if (is_known)
                add(page, "tdx_overcommitted_tds", metrics->overcommitted);
}

static void print_running(const struct metrics *metrics, struct text *page)
{
        bool is_known = metrics->is_active && metrics->is_measured;

        begin(page, "tdx_running_tds", "gauge",
              "TDX key IDs in use on the host, by Kubernetes or anything else. Absent: the driver "
              "cannot see the host's cgroups (--cgroup-root), or the kernel does not count key "
              "IDs.");
        if (is_known)
                add(page, "tdx_running_tds", metrics->running);
        begin(page, "tdx_foreign_tds", "gauge",
              "TDs on the host that no claim and no pod holds: libvirt, Kata, or a pod that runs "
              "more than it holds. The driver does not offer them unless --foreign=ignore is set; "
              "the log and `dra-driver-tdx inspect` name their cgroups.");
        if (is_known)
                add(page, "tdx_foreign_tds", metrics->foreign);
        begin(page, "tdx_leaked_key_ids", "gauge",
              "TDX key IDs that are still charged although their VM has ended. No VM gets them "
              "until the host reboots; see dmesg for HKID.");
        if (is_known)
                add(page, "tdx_leaked_key_ids", metrics->leaked);
        print_one(page, "tdx_refused_starts_total", "counter", metrics->refused_starts,
                  "TD starts that the kernel refused because a cgroup reached its tdx limit in "
                  "misc.max. Raise or remove the limit: this driver's VMs need none.");
}

static void print_claims(const struct metrics *metrics, struct text *page)
{
        print_one(page, "tdx_claims", "gauge", metrics->n_claims,
                  "ResourceClaims prepared on this node.");
        print_one(page, "tdx_records_refused", "gauge", metrics->is_unrecorded,
                  "1 while the disk refuses the records of claims that are held, which are in "
                  "memory alone until it takes them: do not restart the driver, but make room in "
                  "or repair its state directory; /readyz and the log say what is wrong with it.");
        print_one(page, "tdx_waiting_claims", "gauge", metrics->n_waiting,
                  "ResourceClaims that wait for a free TD. If seldom 0, the node is full and the "
                  "scheduler does not know it.");
        begin(page, "tdx_prepare_claims_total", "counter",
              "Answers to kubelet's NodePrepareResources, one per claim. For errors, the pod's "
              "events and the driver's log give the reason.");
        add_each(page, "tdx_prepare_claims_total", "result", result_names, metrics->prepares,
                 METRICS_N_RESULTS);
        begin(page, "tdx_unprepare_claims_total", "counter",
              "Answers to kubelet's NodeUnprepareResources, one per claim.");
        add_each(page, "tdx_unprepare_claims_total", "result", result_names, metrics->unprepares,
                 METRICS_N_RESULTS);
        print_histogram(page, "tdx_prepare_duration_seconds", &metrics->prepare_durations,
                        "Time from kubelet's request to the answer, per claim, including the wait "
                        "for a free TD. If slow while no claim waits, the API server or the node's "
                        "disk is slow.");
        begin(page, "tdx_refusals_total", "counter",
              "Claims (dra) and pods (plugin) refused because no TD was free. The log names the "
              "holders. If many on the plugin path with --share=dynamic, see --share=split.");
        add_each(page, "tdx_refusals_total", "path", path_names, metrics->refusals,
                 METRICS_N_PATHS);
}

static void print_publishing(const struct metrics *metrics, struct text *page)
{
        begin(page, "tdx_published", "gauge",
              "1 if the API server's ResourceSlices match what this node offers. If 0 for more "
              "than a minute, see tdx_api_errors_total and the driver's log. Absent: this driver "
              "publishes none.");
        if (metrics->is_publishing)
                add(page, "tdx_published", metrics->is_published);
        begin(page, "tdx_published_slices", "gauge",
              "ResourceSlices of this node that the driver last saw at the API server.");
        if (metrics->is_publishing)
                add(page, "tdx_published_slices", metrics->n_slices);
        begin(page, "tdx_published_timestamp_seconds", "gauge",
              "Unix time at which the ResourceSlices were last correct or corrected; 0: never "
              "yet.");
        if (metrics->is_publishing)
                add(page, "tdx_published_timestamp_seconds", (uint64_t)metrics->published_s);
        begin(page, "tdx_api_errors_total", "counter",
              "Requests to the API server that failed. forbidden: credentials or RBAC; not_served: "
              "no resource.k8s.io/v1 (needs Kubernetes 1.34), or no KubeVirt; unanswered: the API "
              "server, or the network to it; invalid: report a bug.");
        add_each(page, "tdx_api_errors_total", "reason", api_error_names, metrics->api_errors,
                 METRICS_N_API_ERRORS);
}

static void print_plugin(const struct metrics *metrics, struct text *page)
{
        print_one(page, "tdx_podresources_errors_total", "counter", metrics->podresources_errors,
                  "Failed queries to kubelet for the holders of plugin devices. While this grows, "
                  "TDs of deleted pods stay held: check that the pod-resources directory is "
                  "mounted.");
        print_one(page, "tdx_plugin_list_pushes_total", "counter", metrics->list_pushes,
                  "Device lists that the device plugin sent to kubelet. If this grows while no VM "
                  "starts or ends, the capacity or kubelet's connection flaps.");
}

static void print_process(const struct metrics *metrics, struct text *page)
{
        print_one(page, "process_start_time_seconds", "gauge", (uint64_t)metrics->started_s,
                  "Unix time at which the process started.");
        begin(page, "process_cpu_seconds_total", "counter",
              "User and system CPU time of the process.");
        text_addf(page, "process_cpu_seconds_total %.6f\n", metrics->cpu_seconds);
        begin(page, "process_resident_memory_bytes", "gauge", "Resident memory of the process.");
        if (metrics->resident_bytes)
                add(page, "process_resident_memory_bytes", metrics->resident_bytes);
        print_one(page, "tdx_log_lines_dropped_total", "counter", metrics->log_lines_dropped,
                  "Log lines that could not be written at once and were dropped. If this grows, "
                  "the container runtime does not read the driver's log: check it, and its disk.");
}

void metrics_print(const struct metrics *metrics, struct text *page)
{
        print_instance(metrics, page);
        print_attestation(metrics, page);
        print_quotes(metrics, page);
        print_capacity(metrics, page);
        print_running(metrics, page);
        print_claims(metrics, page);
        print_publishing(metrics, page);
        print_plugin(metrics, page);
        print_process(metrics, page);
}
