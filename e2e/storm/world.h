/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The storm's world: one node, its kubelet, the API server with a scheduler, the disk, and the
 * driver. Sets of devices are bits: bit 5 is "tdx5".
 */
#pragma once

#include "base/list.h"
#include "claims/prepare.h"
#include "e2e/storm/clock.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;
struct holdings;
struct ledger;
struct misc_tree;
struct sharing;

#define TDS_MAX   24U    /* maximum of the host; a set of devices has 64 bits */
#define RETURN_MS 15000U /* time until a free TD is offered again, at most */
#define NODE      "node"
#define NAMESPACE "vms"

enum fault {
        FAULT_NONE,
        FAULT_NO_CHECK,
        FAULT_RELEASE_ON_MISSING,
        FAULT_FORGET,
        FAULT_NO_TAINT,
        FAULT_NO_SPEC,
        FAULT_IGNORE_FOREIGN,
        FAULT_NO_REWRITE,
        FAULT_NO_PODS_RECORDED,
        FAULT_BLOCK_ON_LOG
};

/* ---- pods ---- */

enum pod_stage {
        POD_UNSEEN,   /* kubelet has nothing to do with it yet */
        POD_STARTING, /* being admitted or prepared; for a claim also between two tries */
        POD_RUNNING,  /* admitted or prepared: its container runs, or will */
        POD_STOPPING, /* its container is ending */
        POD_STOPPED   /* a claim: to be unprepared */
};

struct pod {
        struct list link; /* in the world's list, the oldest first */
        bool is_claim;
        bool is_always; /* restartPolicy is Always: it runs again after a reboot */
        unsigned n_wanted;
        char name[16]; /* the claim's, too; may be reused */
        char uid[24];  /* the claim's; never reused */

        /* At the API server. */
        bool is_in_api;
        bool is_bound;
        bool is_deleting;
        uint64_t allocated; /* for a claim: the devices allocated to it */

        /* kubelet's. */
        enum pod_stage stage;
        uint64_t ids;        /* plugin devices */
        bool is_in_manager;  /* in the device manager's books */
        bool is_listed;      /* in podresources' list */
        bool has_cdi_names;  /* Allocate was answered with names of CDI devices */
        bool has_claim_info; /* Prepare was called, and Unprepare has not succeeded yet */
        bool is_asking;      /* the driver has our request */
        struct prepare_request request;
        struct event news;     /* kubelet's watch reports a change of the pod */
        struct event next;     /* what kubelet does with it next */
        struct event patience; /* kubelet's timeout for Prepare */

        /* The truth. */
        bool holds;             /* TDs are in use, or may be at any moment */
        bool has_odd_cgroup;    /* its cgroup is where the driver does not look */
        bool has_cgroup_known;  /* the driver has found it */
        uint64_t since_ms;      /* since when it holds */
        struct event container; /* the end of its container */
};

extern struct list pods;

struct pod *pod_new(bool is_claim, unsigned n_wanted);
/* Frees the pod once neither the API server nor kubelet knows it. */
void pod_free_if_gone(struct pod *pod);
unsigned count(uint64_t devices);

/* ---- API server and scheduler (cluster.c) ---- */

#define SLICE_DEVICES 8U /* per slice: few, so that a pool has several slices */
#define SLICES_MAX    8U
#define REWRITE_MS    1000U /* maximum time for which a pool in rewrite is incomplete */

struct api_slice {
        bool exists;
        int64_t generation;
        int64_t count;
        uint64_t devices;
        bool is_tainted;
};

struct cluster {
        bool is_up;
        bool is_hanging;   /* while it is down, calls time out rather than fail at once */
        bool drops_taints; /* DRADeviceTaints is off */
        bool is_enforced;  /* KubeVirt's attestation */
        struct api_slice slices[SLICES_MAX];
        unsigned node_allocatable; /* kubelet's last report */
        uint64_t seen_pool;        /* what the scheduler knows of the slices */
        uint64_t last_pool;        /* the last complete one */
        bool is_pool_complete;
        uint64_t pool_lost_ms; /* since when the pool has been incomplete */
        struct event schedule;
        struct event slices_seen;
        struct event outage;
};

extern struct cluster cluster;

void cluster_init(void);
void cluster_fail(uint64_t ms);
/* A user's actions. */
struct pod *cluster_create_pod(bool is_claim, unsigned n_wanted);
void cluster_delete_pod(struct pod *pod, bool is_forced);
/* Wake the scheduler: something that concerns it has changed. */
void cluster_poke(void);
void cluster_slices_changed(void);
void cluster_wipe_slices(void);
void cluster_drop_taints(bool drops_taints);
/* Untainted devices of the complete pool, or of the last one during a rewrite. */
uint64_t cluster_pool(void);
uint64_t cluster_allocated(void);
/* kubelet says that the pod has ended, or that its deletion is done. */
void cluster_pod_over(struct pod *pod);

/* ---- kubelet (kubelet.c, claims.c) ---- */

struct kubelet {
        bool is_up;
        bool is_aware; /* has reached the API server since its start, and knows its pods */
        unsigned incarnation;
        uint64_t started_ms;
        bool is_silent;  /* podresources does not answer */
        bool is_hanging; /* and does not refuse either: calls hang */
        bool has_plugin; /* a device plugin is registered, and its stream is up */
        uint64_t healthy;
        struct event start;
        struct event awareness;
        struct event status;
        struct event silence;
};

extern struct kubelet kubelet;

void kubelet_init(void);
void kubelet_kill(uint64_t down_ms);
void kubelet_be_silent(uint64_t ms);
/* Its checkpoint of devices is removed, and it restarts. False: not done, since not even a driver
 * that does everything right could know the pod of each device. */
bool kubelet_lose_checkpoint(uint64_t down_ms);
void kubelet_hear_of(struct pod *pod, uint64_t delay_ms);
void kubelet_hear_of_api(void);     /* the API server is back */
void kubelet_poke(struct pod *pod); /* as a changed annotation does */
uint64_t kubelet_devices_in_use(void);
void kubelet_plugin_list(uint64_t healthy);
void kubelet_plugin_gone(void);
char *kubelet_device_checkpoint(void); /* the file's text; the caller's */
/* The DRA socket is gone. */
void kubelet_driver_gone(void);
void node_reboot(uint64_t down_ms);

/* claims.c: as kubelet's DRA manager. */
void claim_begin(struct pod *pod, uint64_t delay_ms);
void claim_abandon(struct pod *pod);                /* kubelet no longer waits for an answer */
void claim_end(struct pod *pod, uint64_t delay_ms); /* the container is gone */
void claim_poke(struct pod *pod);

/* ---- the host ---- */

enum qgs { QGS_WELL, QGS_OF_A_GROUP, QGS_AWAY }; /* the second: only CDI gives that group */

struct host {
        unsigned capacity;
        bool is_readable;
        unsigned boot;
        bool is_disk_full;
        bool is_log_stalled; /* nobody reads the driver's log, so its lines are dropped */
        struct event log_return;
        struct event repair;
        enum qgs qgs;
        struct event qgs_return;
        char *spec;            /* the CDI spec; NULL: there is no file */
        uint64_t spec_claims;  /* its devices "dra-tdx5" */
        uint64_t spec_plugins; /* its devices "plugin-tdx5" */
        bool is_spec_stuck;    /* writes to it fail */
        struct event spec_repair;
        unsigned n_foreign; /* foreign TDs */
        unsigned n_leaked;  /* key IDs, until the host boots again */
        uint64_t spec_repaired_ms;
};

extern struct host host;

/* running.c: where TDs run. Borrowed until the next call; NULL: more TDs are charged than the
 * capacity allows, so host/misc_tree refuses the reading. */
const struct misc_tree *host_running(void);
/* Key IDs that are not in use. */
unsigned host_n_free(void);
void host_running_deinit(void);

void host_remove_spec(void);

/* ---- the driver (driver.c), and what stands between it and the world (seams.c, disk.c) ---- */

struct driver_flags {
        int64_t split; /* -1: --share=dynamic */
        bool serves_dra;
        bool serves_plugin;
        bool is_injecting_cdi;
};

struct driver {
        bool is_up;
        bool is_active; /* its effects reach the world; false while it is killed */
        struct driver_flags flags;
        enum fault fault;
        bool is_capacity_known;
        bool is_running_known; /* it has read where TDs run */
        unsigned total;
        struct node *node;
        struct prepare *prepare;         /* node's */
        const struct ledger *ledger;     /* node's */
        const struct sharing *sharing;   /* plugin's */
        const struct holdings *holdings; /* sharing's */
        uint64_t wanted;                 /* devices that the slices must list */
        bool is_taint_wanted;
        bool is_withdrawing; /* the API server drops taints, and no VM may be placed */
        bool is_wanted_known;
        bool is_spec_refused; /* its last try to write the CDI spec failed */
        bool is_judged;       /* it has been told of QGS and of the settings */
        enum qgs qgs;         /* QGS's state, as told last */
        bool is_enforced;     /* the last known setting, kept over a restart */
        struct event start;
        struct event housekeeping;
        struct event settling;
        struct event verdict;
};

extern struct driver driver;

void driver_start(void *unused);
/* is_orderly: SIGTERM, otherwise SIGKILL. Starts again down_ms later, with these flags. */
void driver_stop(bool is_orderly, uint64_t down_ms, struct driver_flags flags);
/* A VM may be placed on that path, as the driver knows QGS and the settings. */
bool driver_is_open(bool for_claims);
/* kubelet reaches its DRA service. */
bool driver_serves_claims(void);
void driver_directory_changed(void);
void driver_attestation_changed(void);
void driver_registered(void);
void driver_slices_changed(void);
void driver_deinit(void);

int seam_allocate(uint64_t ids, struct error *err);
void seam_kubelet_socket_changed(void);
/* The names of these devices, as the driver has them, and how many they are. */
#define N_IDS 64U
size_t names_of(uint64_t ids, const char *ret_names[N_IDS]);

/* The TDs of all claims whose record is on the disk or being written. */
unsigned disk_claimed(void);
bool disk_has(const char *uid);
bool disk_is_damaged(const char *uid);
/* The process has ended: each pending order has reached the disk or has not. */
void disk_settle(bool is_orderly);
void disk_reboot(void);
bool disk_damage_one(void);
void disk_fail(uint64_t ms);
/* The state directory is empty from now on: it was removed, renamed away or mounted over. */
void disk_lose_state(void);
/* How long records of that directory have been missing on a disk that takes them; 0: none are. */
uint64_t disk_behind_ms(void);
/* Records of that directory are missing, whether the disk takes them or not. */
bool disk_is_behind(void);
/* The record of plugin devices has this cgroup. */
bool disk_has_cgroup(const char *cgroup);
void disk_deinit(void);

/* ---- the truth, and its checks (truth.c) ---- */

void truth_init(void);
void truth_take(struct pod *pod);
/* One more claim has a record. */
void truth_claimed(void);
void truth_give_back(struct pod *pod); /* no-op if the pod holds nothing */
/* The same for a pod that kubelet refused after its Allocate. */
void truth_refused_after_all(struct pod *pod);
/* A claim's record is gone: from now on its TDs must come back. */
void truth_unprepared(unsigned n);
void truth_capacity_read(unsigned total);
/* The driver has read where TDs run. is_first: for the first time since its start. */
void truth_running_read(bool is_first, unsigned n_foreign, unsigned n_leaked);
/* Something is down, or was until now. */
void truth_disturbed(void);
/* Restarts the time limit for closing the slices. */
void truth_reopened(void);
void truth_refused(const struct pod *pod, const char *who, const char *reason);
void truth_check(void);
/* Nothing is down, and nothing has been for long enough. */
bool truth_is_quiet(void);

/* ---- the trace and the tallies (trace.c) ---- */

enum tally {
        TALLY_POD,
        TALLY_CLAIM,
        TALLY_DELETE,
        TALLY_FORCE,
        TALLY_POKE,
        TALLY_KUBELET,
        TALLY_LOST_ALLOCATE,
        TALLY_KILL,
        TALLY_UPDATE,
        TALLY_SHARE,
        TALLY_SERVE,
        TALLY_INJECT,
        TALLY_API,
        TALLY_PODRESOURCES,
        TALLY_CAPACITY,
        TALLY_UNREADABLE,
        TALLY_DISK,
        TALLY_DAMAGE,
        TALLY_REBOOT,
        TALLY_QGS,
        TALLY_ENFORCE,
        TALLY_TAINTS,
        TALLY_SPEC,
        TALLY_FOREIGN,
        TALLY_LEAK,
        TALLY_CHECKPOINT,
        TALLY_STATE,
        TALLY_LOG,
        TALLY_WAIT,
        N_OPERATIONS,
        TALLY_ALLOCATED = N_OPERATIONS,
        TALLY_PREPARED,
        TALLY_WAITED, /* claims prepared after a wait */
        TALLY_REFUSED_FULL,
        TALLY_REFUSED_DOWN,
        TALLY_RETURNS,
        TALLY_REWRITTEN,
        TALLY_LINES_DROPPED,
        N_TALLIES
};

struct figures {
        uint64_t tallies[N_TALLIES];
        uint64_t n_operations;
        uint64_t n_checks;
        unsigned peak_holders;
        unsigned peak_over; /* most holders above a shrunken capacity */
        uint64_t slowest_return_ms;
};

extern struct figures figures;

void trace_setup(uint64_t seed, bool is_printing);
/* Trace an operation of the storm, or an event that follows from it. */
void trace_operation(enum tally tally, const char *format, ...)
        __attribute__((format(printf, 2, 3)));
void trace(const char *format, ...) __attribute__((format(printf, 1, 2)));
__attribute__((noreturn)) void trace_violation(const char *format, ...)
        __attribute__((format(printf, 1, 2)));
void trace_report(void);
void trace_deinit(void);
