/* SPDX-License-Identifier: Apache-2.0 */
#include "host/misc_tree.h"

#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "host/misc.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define FILE_MAX  65536
#define DEPTH_MAX 32
/* If a TD starts or ends while the files are read, the sums do not add up. If that happens in three
 * walks in a row, the files are wrong. */
#define N_TRIES 3

struct walk {
        const char *root; /* of the hierarchy */
        uint64_t limit;
        size_t n_cgroups;
        struct misc_tree tree;
        struct error *err;
};

/* Sums over a cgroup and all cgroups below it. */
struct sum {
        bool has_current;
        bool has_pods;
        uint64_t charged;
        uint64_t refused;
};

/* The pod that a cgroup lies in. */
struct pod {
        const char *uid;
        uint64_t leaked;
};

/* ---- names ---- */

static bool is_hex(const char *text, size_t n)
{
        return strspn(text, "0123456789abcdef") >= n;
}

/* 8-4-4-4-12, or the 32 digits of a static pod's hash. */
static bool is_uid(const char *text, size_t n, char separator)
{
        static const size_t groups[] = { 8, 4, 4, 4, 12 };

        if (n == 32)
                return is_hex(text, 32);
        if (n != MISC_TREE_UID_SIZE - 1)
                return false;
        for (size_t i = 0; i < array_size(groups); ++i) {
                if (!is_hex(text, groups[i]))
                        return false;
                text += groups[i];
                if (i + 1 < array_size(groups) && *text++ != separator)
                        return false;
        }
        return true;
}

bool misc_tree_pod_uid(const char *name, char ret_uid[MISC_TREE_UID_SIZE])
{
        static const char suffix[] = ".slice";
        size_t n = strlen(name), n_suffix = sizeof(suffix) - 1;
        bool is_slice = n > n_suffix && strcmp(name + n - n_suffix, suffix) == 0;
        const char *uid = name + 3;

        if (is_slice) {
                const char *before = NULL;

                /* The last one: the parent's name may contain "-pod", too. */
                for (const char *at = name; (at = strstr(at, "-pod")); ++at)
                        before = at;
                if (!before)
                        return false;
                uid = before + strlen("-pod");
                n -= n_suffix;
        } else if (strncmp(name, "pod", 3) != 0) {
                return false;
        }
        n -= (size_t)(uid - name);
        if (!is_uid(uid, n, is_slice ? '_' : '-'))
                return false;
        memcpy(ret_uid, uid, n);
        ret_uid[n] = '\0';
        for (char *c = ret_uid; *c; ++c)
                if (*c == '_')
                        *c = '-';
        return true;
}

/* ---- files ---- */

/* Cgroups vanish while we read them: kernfs answers ENODEV for a file of a removed one. */
static bool is_gone(int r)
{
        return r == -ENOENT || r == -ENOTDIR || r == -ENODEV;
}

/* 0 with the bytes, 1 if the file is not there, or -errno. */
static int read_file(struct walk *walk, const char *path, const char *name, char **ret_bytes,
                     size_t *ret_n, char **ret_path)
{
        _cleanup_(free) char *full =
                xasprintf("%s%s/%s", walk->root, strcmp(path, "/") == 0 ? "" : path, name);
        struct error error = ERROR_NULL;
        int r = file_read(AT_FDCWD, full, FILE_MAX, ret_bytes, ret_n, &error);

        if (is_gone(r))
                return 1;
        if (r < 0)
                return error_set(walk->err, r, "%s", error.text);
        if (ret_path)
                *ret_path = take_ptr(full);
        return 0;
}

/* 0 with the number of the tdx line (0 if there is none: then the host has no TDX), 1 if the file
 * is not there, or -errno. */
static int read_number(struct walk *walk, const char *path, const char *name,
                       int (*parse)(const char *bytes, size_t n, uint64_t *ret, struct error *err),
                       uint64_t *ret)
{
        _cleanup_(free) char *bytes = NULL, *full = NULL;
        size_t n;
        int r;

        r = read_file(walk, path, name, &bytes, &n, &full);
        if (r)
                return r;
        *ret = 0;
        r = parse(bytes, n, ret, walk->err);
        if (r >= 0)
                return 0;
        error_prefix(walk->err, "%s", full);
        return r;
}

static bool has_file(struct walk *walk, const char *path, const char *name, const char *needle)
{
        _cleanup_(free) char *bytes = NULL;
        size_t n;

        return read_file(walk, path, name, &bytes, &n, NULL) == 0 &&
               (!needle || strstr(bytes, needle));
}

static bool is_empty(struct walk *walk, const char *path, const char *name)
{
        _cleanup_(free) char *bytes = NULL;
        size_t n;

        return read_file(walk, path, name, &bytes, &n, NULL) == 0 && n == 0;
}

/* Whether no process is left that may run the TDs charged here and not below. is_split: the cgroups
 * below have their own numbers. Only cgroup v2 shows it: in v1 cgroup.procs omits processes of
 * other PID namespaces, and we are in one. The root always has the kernel's threads; a host with
 * systemd (init.scope) has no other process there. */
static bool is_abandoned(struct walk *walk, const char *path, bool is_split)
{
        if (strcmp(path, "/") == 0)
                return is_split && has_file(walk, path, "cgroup.controllers", NULL) &&
                       has_file(walk, "/init.scope", "cgroup.events", NULL);
        if (is_split)
                return has_file(walk, path, "cgroup.events", NULL) &&
                       is_empty(walk, path, "cgroup.procs");
        return has_file(walk, path, "cgroup.events", "populated 0");
}

/* ---- findings ---- */

static void add_place(struct walk *walk, enum misc_tree_kind kind, const char *path,
                      const char *pod_uid, uint64_t running, uint64_t leaked)
{
        struct misc_tree *tree = &walk->tree;
        struct misc_tree_place *place;

        tree->places = xreallocarray(tree->places, tree->n_places + 1, sizeof(*tree->places));
        place = &tree->places[tree->n_places++];
        *place = (struct misc_tree_place){ .kind = kind,
                                           .path = xstrdup(path),
                                           .running = (unsigned)running,
                                           .leaked = (unsigned)leaked };
        snprintf(place->pod_uid, sizeof(place->pod_uid), "%s", pod_uid);
}

static void add_refusals(struct walk *walk, const char *path, uint64_t n)
{
        struct misc_tree *tree = &walk->tree;

        tree->refusals =
                xreallocarray(tree->refusals, tree->n_refusals + 1, sizeof(*tree->refusals));
        tree->refusals[tree->n_refusals++] =
                (struct misc_tree_refusals){ .path = xstrdup(path), .n = n };
        tree->n_refused += n;
}

static void tell_impossible(struct walk *walk, const char *path, uint64_t number, uint64_t below)
{
        char *text = walk->tree.impossible;
        size_t size = sizeof(walk->tree.impossible);
        const char *separator = strcmp(path, "/") == 0 ? "" : "/";

        if (*text)
                return;
        if (number > walk->limit)
                snprintf(text, size,
                         "%.128s%smisc.current says %" PRIu64 " TDs, and the host runs %" PRIu64
                         " at most",
                         path, separator, number, walk->limit);
        else
                snprintf(text, size,
                         "%.128s%smisc.current says %" PRIu64 " TDs, and below it run %" PRIu64,
                         path, separator, number, below);
}

/* ---- the walk ---- */

static int walk_cgroup(struct walk *walk, const char *path, struct pod *pod, unsigned depth,
                       struct sum *ret);

/* Adds the children's sums to below. *ret_is_split: a child has its own number, or there is no
 * child. */
static int walk_children(struct walk *walk, const char *path, struct pod *pod, unsigned depth,
                         struct sum *below, bool *ret_is_split)
{
        const char *base = strcmp(path, "/") == 0 ? "" : path;
        _cleanup_(free) char *full = xasprintf("%s%s", walk->root, base);
        bool has_children = false;
        const struct dirent *entry;
        DIR *directory = opendir(full);
        int r = 0;

        *ret_is_split = false;
        if (!directory && is_gone(-errno))
                return 0;
        if (!directory)
                return error_errno(walk->err, -errno, "cannot open %s", full);
        /* A child that vanishes meanwhile is skipped, not an error: see is_gone(). */
        while (r >= 0 && (entry = readdir(directory))) {
                _cleanup_(free) char *child = NULL;
                struct sum sum = { 0 };

                if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
                        continue;
                has_children = true;
                child = xasprintf("%s/%s", base, entry->d_name);
                r = walk_cgroup(walk, child, pod, depth + 1, &sum);
                *ret_is_split |= sum.has_current;
                below->has_pods |= sum.has_pods;
                below->charged += sum.charged;
                below->refused += sum.refused;
        }
        closedir(directory);
        *ret_is_split |= !has_children;
        return r < 0 ? r : 0;
}

/* Reports the TDs that are charged here and not below. */
static void tell_own(struct walk *walk, const char *path, struct pod *pod, uint64_t own,
                     bool is_split, bool has_children_with_pods)
{
        bool is_leaked = own && is_abandoned(walk, path, is_split);

        if (!own)
                return;
        if (pod)
                pod->leaked += is_leaked ? own : 0;
        else
                add_place(walk,
                          has_children_with_pods && !is_split ? MISC_TREE_UNSPLIT
                                                              : MISC_TREE_ELSEWHERE,
                          path, "", is_leaked ? 0 : own, is_leaked ? own : 0);
}

/* The TDs below certainly run, so a smaller number is wrong. */
static uint64_t take_number(struct walk *walk, const char *path, uint64_t number, uint64_t below)
{
        if (number <= walk->limit && number >= below)
                return number;
        tell_impossible(walk, path, number, below);
        return below;
}

static int walk_refusals(struct walk *walk, const char *path, const struct sum *below,
                         struct sum *ret)
{
        int r = read_number(walk, path, "misc.events", misc_parse_events, &ret->refused);

        if (r < 0)
                return r;
        /* A cgroup's count includes those below. If it is missing or smaller, their sum counts. */
        if (r || ret->refused < below->refused)
                ret->refused = below->refused;
        if (ret->refused > below->refused)
                add_refusals(walk, path, ret->refused - below->refused);
        return 0;
}

static int walk_cgroup(struct walk *walk, const char *path, struct pod *pod, unsigned depth,
                       struct sum *ret)
{
        char uid[MISC_TREE_UID_SIZE];
        struct pod own_pod = { .uid = uid };
        bool is_pod = !pod && misc_tree_pod_uid(strrchr(path, '/') + 1, uid), is_split = true;
        struct sum below = { 0 };
        uint64_t number = 0;
        int r;

        if (depth > DEPTH_MAX || ++walk->n_cgroups > MISC_TREE_CGROUPS_MAX)
                return error_set(walk->err, -E2BIG, "%s: more cgroups than are looked at",
                                 walk->root);
        r = read_number(walk, path, "misc.current", misc_parse, &number);
        if (r < 0)
                return r;
        ret->has_current = r == 0;
        ret->has_pods = is_pod;
        if (is_pod)
                pod = &own_pod;
        /* Controllers are enabled top-down, so no cgroup below a pod without misc has it either. */
        if (!pod || (ret->has_current && number))
                r = walk_children(walk, path, pod, depth, &below, &is_split);
        if (r >= 0)
                r = walk_refusals(walk, path, &below, ret);
        if (r < 0)
                return r;
        ret->has_pods |= below.has_pods;
        ret->charged =
                ret->has_current ? take_number(walk, path, number, below.charged) : below.charged;
        tell_own(walk, path, pod, ret->charged - below.charged, is_split, below.has_pods);
        if (is_pod && ret->charged)
                add_place(walk, MISC_TREE_POD, path, uid, ret->charged - own_pod.leaked,
                          own_pod.leaked);
        return 0;
}

/* ---- */

static bool is_hierarchy(const char *root)
{
        _cleanup_(free) char *file = xasprintf("%s/misc.current", root);
        const struct dirent *entry;
        bool is_found = access(file, F_OK) == 0;
        DIR *directory = is_found ? NULL : opendir(root);

        while (directory && !is_found && (entry = readdir(directory))) {
                _cleanup_(free) char *below = NULL;

                if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
                        continue;
                below = xasprintf("%s/%s/misc.current", root, entry->d_name);
                is_found = access(below, F_OK) == 0;
        }
        if (directory)
                closedir(directory);
        return is_found;
}

/* The v1 hierarchies lie below the root, and one of them may have the misc controller, so look at
 * "misc" before its parent. NULL: there is none. */
static char *find_hierarchy(const char *cgroup_root)
{
        static const char *const places[] = { "/misc", "/unified", "" };

        for (size_t i = 0; i < array_size(places); ++i) {
                _cleanup_(free) char *root = xasprintf("%s%s", cgroup_root, places[i]);

                if (is_hierarchy(root))
                        return take_ptr(root);
        }
        return NULL;
}

static int walk_once(const char *root, uint64_t limit, struct misc_tree *ret, struct error *err)
{
        struct walk walk = { .root = root, .limit = limit, .tree = MISC_TREE_NULL, .err = err };
        struct sum sum = { 0 };
        int r;

        r = walk_cgroup(&walk, "/", NULL, 0, &sum);
        if (r >= 0 && sum.charged > limit)
                r = error_set(err, -ERANGE,
                              "%s: misc.current of its cgroups add up to %" PRIu64
                              " TDs, and the host runs %" PRIu64 " at most",
                              root, sum.charged, limit);
        if (r < 0) {
                misc_tree_deinit(&walk.tree);
                return r;
        }
        walk.tree.total = (unsigned)sum.charged;
        *ret = walk.tree;
        return 0;
}

int misc_tree_read(const char *cgroup_root, uint64_t limit, struct misc_tree *ret,
                   struct error *err)
{
        _cleanup_(free) char *root = find_hierarchy(cgroup_root);
        struct misc_tree tree = MISC_TREE_NULL;

        if (!root)
                return MISC_TREE_NOT_VISIBLE;
        for (unsigned i = 0; i < N_TRIES; ++i) {
                int r;

                misc_tree_deinit(&tree);
                r = walk_once(root, limit, &tree, err);
                /* Only sums that do not add up are worth another try. */
                if (r < 0 && (r != -ERANGE || i + 1 == N_TRIES))
                        return r;
                if (r == 0 && !*tree.impossible)
                        break;
        }
        *ret = tree;
        return 0;
}

void misc_tree_deinit(struct misc_tree *tree)
{
        for (size_t i = 0; i < tree->n_places; ++i)
                free(tree->places[i].path);
        for (size_t i = 0; i < tree->n_refusals; ++i)
                free(tree->refusals[i].path);
        free(tree->places);
        free(tree->refusals);
        *tree = (struct misc_tree)MISC_TREE_NULL;
}
