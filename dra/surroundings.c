/* SPDX-License-Identifier: Apache-2.0 */
#include "surroundings.h"

#include "base/directory.h"
#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "config.h"
#include "host/mount_table.h"

#include <fcntl.h>
#include <string.h>

#define DIRECTORIES_MAX 6

struct directory {
        char *path;
        uint64_t mount_id;
        char *root;     /* what that mount showed at the first look that found it; NULL: none has */
        char *moved_to; /* what it shows now, if that differs; NULL: it does not */
        bool is_gone;   /* at the last look: removed or renamed */
        uint64_t gone_ms;
        bool is_problem;
};

struct surroundings {
        struct directory directories[DIRECTORIES_MAX];
        size_t n_directories;
        char *problem; /* NULL: none */
};

static void add(struct surroundings *surroundings, char *path)
{
        surroundings->directories[surroundings->n_directories++] =
                (struct directory){ .path = path };
}

char *surroundings_other_cdi_dir(const struct config *config)
{
        return *config->host_root ? xasprintf("%s%s", config->host_root, config->cdi_dir) : NULL;
}

static void forget_mount(struct directory *directory)
{
        free(take_ptr(directory->root));
        free(take_ptr(directory->moved_to));
}

/* The root of one mount changes only with a rename. Another mount (one that has been propagated
 * here) is a new beginning. */
static void look_at_mount(struct directory *directory, const char *table, size_t n)
{
        char *root;
        uint64_t id;

        if (mount_table_id(directory->path, &id) < 0)
                return;
        if (id != directory->mount_id)
                forget_mount(directory);
        directory->mount_id = id;
        root = mount_table_root(table, n, id);
        free(take_ptr(directory->moved_to));
        if (!root)
                return;
        if (!directory->root)
                directory->root = root;
        else if (strcmp(directory->root, root) != 0)
                directory->moved_to = root;
        else
                free(root);
}

static void look_at_mounts(struct surroundings *surroundings)
{
        _cleanup_(free) char *table = NULL;
        size_t n;

        if (file_read(AT_FDCWD, MOUNT_TABLE_FILE, MOUNT_TABLE_MAX, &table, &n, NULL) < 0)
                return;
        for (size_t i = 0; i < surroundings->n_directories; ++i)
                look_at_mount(&surroundings->directories[i], table, n);
}

struct surroundings *surroundings_new(const struct config *config)
{
        struct surroundings *surroundings = xcalloc(1, sizeof(*surroundings));

        add(surroundings, xstrdup(config->state_dir));
        add(surroundings, xasprintf("%s/plugins_registry", config->kubelet_dir));
        add(surroundings, xasprintf("%s/pod-resources", config->kubelet_dir));
        add(surroundings, xstrdup(config->device_plugin_dir));
        add(surroundings, xstrdup(config->cdi_dir));
        if (*config->host_root)
                add(surroundings, xasprintf("%s/var/run", config->host_root));
        look_at_mounts(surroundings);
        return surroundings;
}

void surroundings_free(struct surroundings *surroundings)
{
        if (!surroundings)
                return;
        for (size_t i = 0; i < surroundings->n_directories; ++i) {
                free(surroundings->directories[i].path);
                forget_mount(&surroundings->directories[i]);
        }
        free(surroundings->problem);
        free(surroundings);
}

static void log_problem(const struct directory *directory)
{
        if (directory->moved_to)
                log_error("the host renamed a directory below this container's mount, which "
                          "follows it; /healthz fails until kubelet has restarted the container",
                          log_str("directory", directory->path),
                          log_str("renamed_to", directory->moved_to));
        else
                log_error("the host removed a directory below this container's mount, which shows "
                          "the removed one from now on; /healthz fails until kubelet has restarted "
                          "the container",
                          log_str("directory", directory->path));
}

static void look_at(struct directory *directory, uint64_t now_ms)
{
        bool is_removed = directory_is_removed(directory->path);
        bool was_problem = directory->is_problem, is_gone;

        /* The kernel marks the root of a removed directory, so that it differs as well. */
        if (is_removed)
                free(take_ptr(directory->moved_to));
        /* Also of the CDI directory, though the store may write through another mount: containerd's
         * watch of a removed directory ends, and it looks at the new one, only when nobody's mount
         * holds the old one any more. */
        is_gone = directory->moved_to || is_removed;
        if (is_gone && !directory->is_gone)
                directory->gone_ms = now_ms;
        directory->is_gone = is_gone;
        directory->is_problem = is_gone && now_ms - directory->gone_ms >= SURROUNDINGS_PATIENCE_MS;
        if (directory->is_problem && !was_problem)
                log_problem(directory);
}

static char *describe(const struct directory *directory)
{
        static const char remedy[] = "restart the container (kubelet does), or delete the pod";

        if (directory->moved_to)
                return xasprintf("%s was renamed on the host, where it is %s now below the root of "
                                 "its filesystem, and this container's mount follows it: %s",
                                 directory->path, directory->moved_to, remedy);
        return xasprintf("%s was removed on the host, and this container's mount still shows the "
                         "removed directory: %s",
                         directory->path, remedy);
}

void surroundings_look(struct surroundings *surroundings, uint64_t now_ms)
{
        const struct directory *first = NULL;

        look_at_mounts(surroundings);
        for (size_t i = 0; i < surroundings->n_directories; ++i) {
                look_at(&surroundings->directories[i], now_ms);
                if (surroundings->directories[i].is_problem && !first)
                        first = &surroundings->directories[i];
        }
        free(surroundings->problem);
        /* Name only the first: one restart of the container cures them all. */
        surroundings->problem = first ? describe(first) : NULL;
}

const char *surroundings_problem(const struct surroundings *surroundings)
{
        return surroundings->problem;
}
