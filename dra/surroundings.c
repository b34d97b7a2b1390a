/* SPDX-License-Identifier: Apache-2.0 */
#include "surroundings.h"

#include "base/directory.h"
#include "base/log.h"
#include "base/memory.h"
#include "config.h"

#include <string.h>

#define DIRECTORIES_MAX 6

struct directory {
        char *path;
        char *other_way; /* usable instead of path while it exists; NULL: none */
        bool is_removed; /* at the last look */
        uint64_t removed_ms;
        bool is_problem;
};

struct surroundings {
        struct directory directories[DIRECTORIES_MAX];
        size_t n_directories;
        char *problem; /* NULL: none */
};

static void add(struct surroundings *surroundings, char *path, char *other_way)
{
        surroundings->directories[surroundings->n_directories++] =
                (struct directory){ .path = path, .other_way = other_way };
}

char *surroundings_other_cdi_dir(const struct config *config)
{
        return *config->host_root ? xasprintf("%s%s", config->host_root, config->cdi_dir) : NULL;
}

struct surroundings *surroundings_new(const struct config *config)
{
        struct surroundings *surroundings = xcalloc(1, sizeof(*surroundings));

        add(surroundings, xstrdup(config->state_dir), NULL);
        add(surroundings, xasprintf("%s/plugins_registry", config->kubelet_dir), NULL);
        add(surroundings, xasprintf("%s/pod-resources", config->kubelet_dir), NULL);
        add(surroundings, xstrdup(config->device_plugin_dir), NULL);
        add(surroundings, xstrdup(config->cdi_dir), surroundings_other_cdi_dir(config));
        if (*config->host_root)
                add(surroundings, xasprintf("%s/var/run", config->host_root), NULL);
        return surroundings;
}

void surroundings_free(struct surroundings *surroundings)
{
        if (!surroundings)
                return;
        for (size_t i = 0; i < surroundings->n_directories; ++i) {
                free(surroundings->directories[i].path);
                free(surroundings->directories[i].other_way);
        }
        free(surroundings->problem);
        free(surroundings);
}

static void look_at(struct directory *directory, uint64_t now_ms)
{
        /* The CDI store can write through the other mount, so the directory is a problem only if
         * both are gone. */
        bool is_removed = directory_is_removed(directory->path) &&
                          !(directory->other_way && directory_is_there(directory->other_way));
        bool was_problem = directory->is_problem;

        if (is_removed && !directory->is_removed)
                directory->removed_ms = now_ms;
        directory->is_removed = is_removed;
        directory->is_problem =
                is_removed && now_ms - directory->removed_ms >= SURROUNDINGS_PATIENCE_MS;
        if (directory->is_problem && !was_problem)
                log_error("the host removed a directory below this container's mount, which shows "
                          "the removed one from now on; /healthz fails until kubelet has restarted "
                          "the container",
                          log_str("directory", directory->path));
}

void surroundings_look(struct surroundings *surroundings, uint64_t now_ms)
{
        const struct directory *first = NULL;

        for (size_t i = 0; i < surroundings->n_directories; ++i) {
                look_at(&surroundings->directories[i], now_ms);
                if (surroundings->directories[i].is_problem && !first)
                        first = &surroundings->directories[i];
        }
        free(surroundings->problem);
        /* Name only the first: one restart of the container cures them all. */
        surroundings->problem =
                first ? xasprintf("%s was removed on the host, and this container's mount still "
                                  "shows the removed directory: restart the container (kubelet "
                                  "does), or delete the pod",
                                  first->path)
                      : NULL;
}

const char *surroundings_problem(const struct surroundings *surroundings)
{
        return surroundings->problem;
}
