/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the host's TDs run: misc.current of every cgroup down to the pods' (kernel/cgroup/misc.c).
 * KVM charges a TD's key ID to the cgroup of the task that sends KVM_TDX_INIT_VM, and so to all
 * cgroups above it. The root shows its own sum from Linux 6.6 on; on older kernels the top level's
 * numbers are added up.
 *
 * Each charge is reported once, at the lowest cgroup that has it. If a charged cgroup is removed,
 * its charge stays with the cgroups above it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;

#define MISC_TREE_UID_SIZE 37 /* with the NUL */
/* Limit of one reading, in cgroups: a node with 500 pods has some 3,000. */
#define MISC_TREE_CGROUPS_MAX 50000U

enum misc_tree_kind {
        MISC_TREE_POD,       /* in a pod's cgroup */
        MISC_TREE_ELSEWHERE, /* in a cgroup that holds no pods */
        MISC_TREE_UNSPLIT    /* somewhere below a cgroup with pods, whose children have no misc
                                controller */
};

struct misc_tree_place {
        enum misc_tree_kind kind;
        char pod_uid[MISC_TREE_UID_SIZE]; /* as the API server writes it; "" unless MISC_TREE_POD */
        char *path;                       /* below the hierarchy's root, "/": the root itself */
        unsigned running; /* key IDs of processes that still exist, as far as visible */
        unsigned leaked;  /* key IDs still charged although no process is left there */
};

/* Starts that were refused in this cgroup, or in one below it that has been removed. */
struct misc_tree_refusals {
        char *path;
        uint64_t n; /* since the cgroup was made */
};

struct misc_tree {
        unsigned total;                 /* charged key IDs: the sum over the places */
        struct misc_tree_place *places; /* in no order, each with a charge */
        size_t n_places;
        uint64_t n_refused; /* starts that a misc.max has refused: the sum over refusals */
        struct misc_tree_refusals *refusals; /* in no order */
        size_t n_refusals;
        /* The first number in a file that cannot be right, as text for a person; "": none. The
         * kernel uncharges a TD that misc.max has refused twice (Linux 6.16), so a cgroup's sum may
         * be too small, or wrap around. Then the TDs below it are counted instead. */
        char impossible[256];
};

#define MISC_TREE_NULL \
        {              \
                0      \
        }

enum misc_tree_outcome {
        MISC_TREE_NOT_VISIBLE = 1 /* no misc.current below cgroup_root: no misc controller, or a
                                     container's own view of its cgroup */
};

/* Read the hierarchy below cgroup_root that has the misc controller (cgroup v2, v1 or hybrid, as
 * misc_read()). limit: the TDs that the host can run at once; a number above it cannot be right. 0,
 * an outcome, or -errno: -ERANGE if all places together have more than limit. */
int misc_tree_read(const char *cgroup_root, uint64_t limit, struct misc_tree *ret,
                   struct error *err);
void misc_tree_deinit(struct misc_tree *tree);
static inline void cleanup_misc_tree(struct misc_tree *tree)
{
        misc_tree_deinit(tree);
}

/* The pod whose cgroup has this name (its last component), by kubelet's names for both cgroup
 * drivers, below whichever parent (pkg/kubelet/cm/pod_container_manager_linux.go): "pod<UID>", or
 * "<parent>-pod<UID with underscores>.slice". False: it is not a pod's. */
bool misc_tree_pod_uid(const char *name, char ret_uid[MISC_TREE_UID_SIZE]);
