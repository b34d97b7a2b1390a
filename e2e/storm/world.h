/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The storm's world: one node, its kubelet, the API server with a scheduler, the disk, and the
 * driver among them. Sets of devices are bits: bit 5 is "tdx5".
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

#define TDS_MAX   24U    /* of the host, at most; device names have 64 bits' room */
#define RETURN_MS 15000U /* a free TD is offered again this long after, at the latest */
#define NODE      "node"
#define NAMESPACE "vms"

enum fault {
        FAULT_NONE,
        FAULT_NO_CHECK,
        FAULT_RELEASE_ON_MISSING,
        FAULT_FORGET,
        FAULT_NO_TAINT,
        FAULT_NO_SPEC,
        FAULT_IGNORE_FOREIGN
};

/* ---- pods ---- */

enum pod_stage {
        POD_UNSEEN,   /* kubelet has nothing to do with it yet */
        POD_STARTING, /* being admitted or prepared; a claim also between two tries */
        POD_RUNNING,  /* admitted or prepared: its container runs, or will */
        POD_STOPPING, /* its container is on its way out */
        POD_STOPPED   /* a claim: to be unprepared */
};

struct pod {
        struct list link; /* the world's, the oldest first */
        bool is_claim;
        bool is_always; /* restartPolicy Always: runs again after a reboot */
        unsigned n_wanted;
        char name[16]; /* the claim's, too; may come again */
        char uid[24];  /* the claim's; never comes again */

        /* At the API server. */
        bool is_in_api;
        bool is_bound;
        bool is_deleting;
        uint64_t allocated; /* a claim: names of devices */

        /* kubelet's. */
        enum pod_stage stage;
        uint64_t ids;        /* plugin devices */
        bool is_in_manager;  /* in kubelet's books of plugin devices */
        bool is_listed;      /* in what podresources says */
        bool has_cdi_names;  /* Allocate was answered with names of CDI devices */
        bool has_claim_info; /* Prepare was asked, and Unprepare not answered yet */
        bool is_asking;      /* the driver has our request */
        struct prepare_request request;
        struct event news;     /* the API server's watch says something about it */
        struct event next;     /* what kubelet does with it next */
        struct event patience; /* of a Prepare */

        /* The truth. */
        bool holds;             /* TDs are in use, or may be at any moment */
        bool has_odd_cgroup;    /* where the driver does not look for it */
        bool has_cgroup_known;  /* the driver has found it */
        uint64_t since_ms;      /* holds */
        struct event container; /* its end */
};

extern struct list pods;

struct pod *pod_new(bool is_claim, unsigned n_wanted);
/* Where nobody knows it any more. */
void pod_free_if_gone(struct pod *pod);
unsigned count(uint64_t devices);

/* ---- API server and scheduler (cluster.c) ---- */

#define SLICE_DEVICES 8U /* of one slice: few, so that pools are of several */
#define SLICES_MAX    8U
#define REWRITE_MS    1000U /* a pool that is rewritten is incomplete meanwhile, at most so long */

struct api_slice {
        bool exists;
        int64_t generation;
        int64_t count;
        uint64_t devices;
        bool is_tainted;
};

struct cluster {
        bool is_up;
        bool is_hanging;   /* while it is down: calls time out rather than fail at once */
        bool drops_taints; /* DRADeviceTaints is off */
        bool is_enforced;  /* KubeVirt's attestation */
        struct api_slice slices[SLICES_MAX];
        unsigned node_allocatable; /* as kubelet said last */
        uint64_t seen_pool;        /* what the scheduler knows of the slices */
        uint64_t last_pool;        /* the complete one there was last */
        bool is_pool_complete;
        uint64_t pool_lost_ms; /* since when it is not */
        struct event schedule;
        struct event slices_seen;
        struct event outage;
};

extern struct cluster cluster;

void cluster_init(void);
void cluster_fail(uint64_t ms);
/* A user does it. */
struct pod *cluster_create_pod(bool is_claim, unsigned n_wanted);
void cluster_delete_pod(struct pod *pod, bool is_forced);
/* Something has changed that the scheduler may want to know. */
void cluster_poke(void);
void cluster_slices_changed(void);
void cluster_wipe_slices(void);
void cluster_drop_taints(bool drops_taints);
/* Devices without a taint of the complete pool there is, or was until just now. */
uint64_t cluster_pool(void);
uint64_t cluster_allocated(void);
/* kubelet says that the pod has ended, or that its deletion is done. */
void cluster_pod_over(struct pod *pod);

/* ---- kubelet (kubelet.c, claims.c) ---- */

struct kubelet {
        bool is_up;
        bool is_aware; /* has heard from the API server since its start, and knows its pods */
        unsigned incarnation;
        uint64_t started_ms;
        bool is_silent;  /* podresources does not answer */
        bool is_hanging; /* nor refuses */
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
void kubelet_hear_of(struct pod *pod, uint64_t delay_ms);
void kubelet_hear_of_api(void);     /* which is back */
void kubelet_poke(struct pod *pod); /* as an annotation does */
uint64_t kubelet_devices_in_use(void);
void kubelet_plugin_list(uint64_t healthy);
void kubelet_plugin_gone(void);
char *kubelet_device_checkpoint(void); /* as it is on the disk; the caller's */
/* The DRA socket is gone. */
void kubelet_driver_gone(void);
void node_reboot(uint64_t down_ms);

/* claims.c: as kubelet's DRA manager. */
void claim_begin(struct pod *pod, uint64_t delay_ms);
void claim_abandon(struct pod *pod);                /* no answer is waited for any more */
void claim_end(struct pod *pod, uint64_t delay_ms); /* the container has gone */
void claim_poke(struct pod *pod);

/* ---- the host ---- */

enum qgs { QGS_WELL, QGS_OF_A_GROUP, QGS_AWAY }; /* the second: only CDI gives that group */

struct host {
        unsigned capacity;
        bool is_readable;
        unsigned boot;
        bool is_disk_full;
        struct event repair;
        enum qgs qgs;
        struct event qgs_return;
        char *spec;            /* the CDI spec; NULL: there is no such file */
        uint64_t spec_claims;  /* devices of it: "dra-tdx5" */
        uint64_t spec_plugins; /* "plugin-tdx5" */
        bool is_spec_stuck;    /* nothing can be written there */
        struct event spec_repair;
        unsigned n_foreign; /* TDs of others */
        unsigned n_leaked;  /* key IDs, until the host boots again */
        uint64_t spec_repaired_ms;
};

extern struct host host;

/* running.c: where TDs run. Borrowed until the next call; NULL: more are charged than the capacity
 * allows, and host/misc_tree believes none of it. */
const struct misc_tree *host_running(void);
/* Key IDs that nobody has. */
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
        bool is_active; /* its effects reach the world; false while it is being killed */
        struct driver_flags flags;
        enum fault fault;
        bool is_capacity_known;
        bool is_running_known; /* it was told where TDs run */
        unsigned total;
        struct node *node;
        struct prepare *prepare;         /* node's */
        const struct ledger *ledger;     /* node's */
        const struct sharing *sharing;   /* plugin's */
        const struct holdings *holdings; /* sharing's */
        uint64_t wanted;                 /* names that the slices shall list */
        bool is_taint_wanted;
        bool is_withdrawing; /* taints are dropped, and nothing may be placed */
        bool is_wanted_known;
        bool is_spec_refused; /* its last try to write the CDI spec failed */
        bool is_judged;       /* what it was told of attestation is: */
        enum qgs qgs;         /* QGS's state */
        bool is_enforced;     /* and the last known setting, also over a restart */
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

/* How many TDs the claims that are written down, or being written down, have. */
unsigned disk_claimed(void);
bool disk_has(const char *uid);
bool disk_is_damaged(const char *uid);
/* The process has gone: what was on its way is on the disk, or not. */
void disk_settle(bool is_orderly);
void disk_reboot(void);
bool disk_damage_one(void);
void disk_fail(uint64_t ms);
void disk_deinit(void);

/* ---- the truth, and what must hold of it (truth.c) ---- */

void truth_init(void);
void truth_take(struct pod *pod);
/* One more claim is written down. */
void truth_claimed(void);
void truth_give_back(struct pod *pod); /* harmless where it holds nothing */
/* A claim's record has gone: from now on its TDs must come back. */
void truth_unprepared(unsigned n);
void truth_capacity_read(unsigned total);
/* The driver has read where TDs run, for the first time since its start or again. */
void truth_running_read(bool is_first, unsigned n_foreign, unsigned n_leaked);
/* Something is, or was until now, down. */
void truth_disturbed(void);
/* What closes the slices has to be done once more, or need not be. */
void truth_reopened(void);
void truth_refused(const struct pod *pod, const char *who, const char *reason);
void truth_check(void);
/* Nothing is down, and has not been for long enough. */
bool truth_is_quiet(void);

/* ---- what is told (trace.c) ---- */

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
        TALLY_WAIT,
        N_OPERATIONS,
        TALLY_ALLOCATED = N_OPERATIONS,
        TALLY_PREPARED,
        TALLY_WAITED, /* prepared after a wait */
        TALLY_REFUSED_FULL,
        TALLY_REFUSED_DOWN,
        TALLY_RETURNS,
        N_TALLIES
};

struct figures {
        uint64_t tallies[N_TALLIES];
        uint64_t n_operations;
        uint64_t n_checks;
        unsigned peak_holders;
        unsigned peak_over; /* holders above a capacity that shrank */
        uint64_t slowest_return_ms;
};

extern struct figures figures;

void trace_setup(uint64_t seed, bool is_printing);
/* What the storm does, and what comes of it. */
void trace_operation(enum tally tally, const char *format, ...)
        __attribute__((format(printf, 2, 3)));
void trace(const char *format, ...) __attribute__((format(printf, 1, 2)));
__attribute__((noreturn)) void trace_violation(const char *format, ...)
        __attribute__((format(printf, 1, 2)));
void trace_report(void);
void trace_deinit(void);
