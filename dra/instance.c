/* SPDX-License-Identifier: Apache-2.0 */
#include "instance.h"

#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"
#include "config.h"
#include "rpc/listener.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#define RETRY_MS                                                                         \
        50 /* while standing by only: a file lock offers nothing to wait on but a thread \
            */

struct instance {
        uv_timer_t timer;
        char *state_dir;
        int lock_fd;
        void (*on_active)(void *owner);
        void *owner;
};

static bool try_lock(const struct instance *instance)
{
        return flock(instance->lock_fd, LOCK_EX | LOCK_NB) == 0;
}

static void on_retry(uv_timer_t *timer)
{
        struct instance *instance = timer->data;

        if (!try_lock(instance))
                return;
        uv_timer_stop(timer);
        instance->on_active(instance->owner);
}

static int open_lock(const char *state_dir, int *ret_fd, struct error *err)
{
        __attribute__((cleanup(cleanup_close))) int directory_fd = -1;
        int r;

        r = file_open_directory(state_dir, 0700, &directory_fd, err);
        if (r < 0)
                return r;
        /* Read-only: a descriptor open for writing would keep an admin from remounting the disk. */
        r = openat(directory_fd, "lock", O_RDONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (r < 0)
                return error_errno(err, -errno, "cannot open %s/lock", state_dir);
        *ret_fd = r;
        return 0;
}

int instance_check(struct instance *instance, struct error *err)
{
        int fd = -1;
        struct stat lock;
        int r;

        if (fstat(instance->lock_fd, &lock) == 0 && lock.st_nlink)
                return 0;
        r = open_lock(instance->state_dir, &fd, err);
        if (r < 0)
                return r;
        close(instance->lock_fd);
        instance->lock_fd = fd;
        if (try_lock(instance))
                return 0;
        return error_set(
                err, -EBUSY,
                "%s/lock was removed while this instance held it, and another instance has "
                "taken its place",
                instance->state_dir);
}

int instance_start(uv_loop_t *loop, const char *state_dir, void (*on_active)(void *owner),
                   void *owner, struct instance **ret, struct error *err)
{
        struct instance *instance;
        int fd = -1, r;

        r = open_lock(state_dir, &fd, err);
        if (r < 0)
                return r;
        instance = xcalloc(1, sizeof(*instance));
        instance->state_dir = xstrdup(state_dir);
        instance->lock_fd = fd;
        instance->on_active = on_active;
        instance->owner = owner;
        uv_timer_init(loop, &instance->timer);
        instance->timer.data = instance;
        *ret = instance;
        if (try_lock(instance))
                return 0;
        uv_timer_start(&instance->timer, on_retry, RETRY_MS, RETRY_MS);
        return INSTANCE_STANDBY;
}

static void on_timer_closed(uv_handle_t *handle)
{
        free(handle->data);
}

void instance_free(struct instance *instance)
{
        if (!instance)
                return;
        close(instance->lock_fd);
        free(instance->state_dir);
        uv_close((uv_handle_t *)&instance->timer, on_timer_closed);
}

static int sweep(const char *path, const char *prefix, const char *suffix, struct error *err)
{
        __attribute__((cleanup(cleanup_free))) char *directory_path = xstrdup(path);
        const struct dirent *entry;
        DIR *directory;

        *strrchr(directory_path, '/') = '\0';
        directory = opendir(directory_path);
        if (!directory)
                return error_errno(err, -errno, "cannot read directory %s", directory_path);
        while ((entry = readdir(directory))) {
                size_t n = strlen(entry->d_name), n_suffix = strlen(suffix);
                __attribute__((cleanup(cleanup_free))) char *candidate = NULL;

                if (strncmp(entry->d_name, prefix, strlen(prefix)) != 0 || n < n_suffix ||
                    strcmp(entry->d_name + n - n_suffix, suffix) != 0)
                        continue;
                candidate = xasprintf("%s/%s", directory_path, entry->d_name);
                (void)rpc_listener_sweep_dead(candidate);
        }
        closedir(directory);
        return 0;
}

int instance_sweep_sockets(const struct config *config, struct error *err)
{
        int r;

        r = sweep(config->dra_socket, "dra", ".sock", err);
        if (!r)
                r = sweep(config->registration_socket, DRIVER_NAME, "-reg.sock", err);
        return r;
}
